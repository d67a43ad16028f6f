"""The story of a sweep, one event a line."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from finetune_operator.folder.files import follows_no_link
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
            with open(self._path, "ab+", opener=follows_no_link) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise OSError(errno.EINVAL, "it is no plain file")
                file.write(_end_of_torn_line(file) + line.encode())
        except OSError as error:
            _logger.warning("%s could not be written: %s", self._path, error.strerror)


def _end_of_torn_line(file: BinaryIO) -> bytes:
    """A newline, where a crash cut the last line off."""
    if os.fstat(file.fileno()).st_size == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"
