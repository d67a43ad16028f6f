"""What is left of a deleted object whose manifest cannot be read any more."""

from __future__ import annotations

from typing import ClassVar, Literal

from finetune_operator.resources.common import Resource


class Remains(Resource):
    """A deleted sweep or trial of which the metadata alone can be read, as after a downgrade of its CRD."""

    longest_name: ClassVar[int] = 253

    kind: Literal["FinetuneSweep", "FinetuneTrial"]
