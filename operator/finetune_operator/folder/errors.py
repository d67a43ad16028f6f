"""What can be wrong with a state folder."""

from __future__ import annotations

from finetune_operator.errors import SweepError


class StateFolderError(SweepError):
    """The state folder cannot be used; the message names the file and says what to do."""


class StateFolderInUse(StateFolderError):
    """Another process works in the state folder.

    Attributes:
        pid: The other process, where it could be read.
    """

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid
