"""What can go wrong while a report is made."""

from __future__ import annotations

from finetune_operator.errors import SweepError


class ReportPackagesMissing(SweepError):
    """The packages that draw plots are not installed."""

    def __init__(self, package: str | None) -> None:
        super().__init__(
            f"a report as html or png needs a package that is not installed ({package}): "
            "pip install 'finetune-operator[report]'; the formats text and json need none"
        )
