"""Errors of a dataset's content."""

from __future__ import annotations

from finetune_operator.errors import InvalidManifest, Problem

MAX_LISTED = 10


class InvalidDataset(InvalidManifest):
    """A dataset was read and is not what it has to be; reading it again will not help.

    Attributes:
        problems: At most 10, such as `line 7: ...`, then one that counts the further ones. No message holds
            text of the dataset beyond a shortened key or role.
        field: Path of the field that names the dataset, such as `spec.dataset.training`.
    """

    def __init__(self, messages: tuple[str, ...], *, field: str, further: int = 0) -> None:
        listed = messages[:MAX_LISTED]
        rest = len(messages) - len(listed) + further
        if rest:
            listed = (*listed, f"and {rest} more problem{'s' if rest > 1 else ''} of this kind")
        super().__init__(tuple(Problem(field, message) for message in listed))
        self.field = field
