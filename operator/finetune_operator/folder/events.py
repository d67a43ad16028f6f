"""The story of a sweep, one event a line."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from finetune_operator.resources import FinetuneSweep, FinetuneTrial

_logger = logging.getLogger(__name__)


class EventLog:
    """Appends to a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(
        self,
        resource: FinetuneSweep | FinetuneTrial,
        reason: str,
        message: str,
        *,
        warning: bool,
        at: datetime,
    ) -> None:
        """Add an event. What cannot be written is logged and forgotten: nothing depends on events."""
        event = {
            "time": at.astimezone(UTC).isoformat(timespec="seconds"),
            "type": "Warning" if warning else "Normal",
            "kind": resource.kind,
            "name": resource.name,
            "reason": reason,
            "message": message,
        }
        line = json.dumps(event) + "\n"
        try:
            with self._path.open("ab+") as file:
                file.write(_end_of_torn_line(self._path) + line.encode())
        except OSError as error:
            _logger.warning("%s could not be written: %s", self._path, error.strerror)


def _end_of_torn_line(path: Path) -> bytes:
    """A newline, where a crash cut the last line off."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"
