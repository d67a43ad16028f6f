"""Reading what this program once wrote, where by now something else may lie in its place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 16 * 2**20
"""Far more than any record of ours has; what is larger is no such record."""


def read_plain_file(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """The content of a file of bounded size. Blocking, but for no longer than the disk takes.

    Args:
        path: The file, which is not sought behind a symbolic link.
        most: Bytes that it may have.

    Raises:
        OSError: It is missing, cannot be read, is too large, or is a link, a folder or a pipe.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", str(path))
    return content
