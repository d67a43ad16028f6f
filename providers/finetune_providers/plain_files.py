"""Reading and writing what this program once wrote, where by now something else may lie in its place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

MOST_BYTES = 16 * 2**20
"""Far more than any record of ours has; what is larger is no such record."""

_CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_plain_file(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """The content of a file of bounded size. Blocking, but for no longer than the disk takes.

    Args:
        path: The file, which is not sought behind a symbolic link.
        most: Bytes that it may have.

    Raises:
        OSError: It is missing, cannot be read, is too large, or is a link, a folder or a pipe.
    """
    with _opened(path, os.O_RDONLY, "rb") as file:
        # Asked for the most that it may be, Python takes that much memory first, however small the file is.
        content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", str(path))
    return content


def read_end_of_plain_file(path: Path, *, most: int) -> bytes:
    """The last bytes of a file, `most` of them where it has so many. Blocking, as above.

    Raises:
        OSError: It is missing, cannot be read, or is a link, a folder or a pipe.
    """
    with _opened(path, os.O_RDONLY, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


def append_to_plain_file(path: Path) -> BinaryIO:
    """A file to append to; made where it is missing.

    Raises:
        OSError: It cannot be written, or is a link, a folder or a pipe.
    """
    return _opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, "ab")


def _opened(path: Path, flags: int, mode: str) -> BinaryIO:
    try:
        descriptor = os.open(path, flags | _CAREFUL, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "it is no plain file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    os.set_blocking(descriptor, True)  # who inherits it expects that
    return cast("BinaryIO", os.fdopen(descriptor, mode))
