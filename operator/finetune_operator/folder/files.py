"""Files that survive a crash: after one at any moment, each holds its old or its new content, no mixture."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import Self

from finetune_operator.folder.errors import StateFolderError, StateFolderInUse

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# File systems allow 255 bytes; the suffixes of the file and of its temporary copy come on top.
_LONGEST_NAME = 200
_TEMPORARY = ".tmp"


def file_name(name: str) -> str:
    """The file of an object; the name cannot lead out of the folder, wherever it comes from.

    Raises:
        StateFolderError: It is not a Kubernetes name, or too long for a file.
    """
    if _NAME.fullmatch(name) is None:
        raise StateFolderError(f"{name!r} is not a name: lower-case letters, digits, '-' and '.' are allowed")
    if len(name) > _LONGEST_NAME:
        raise StateFolderError(
            f"the name {name!r} is too long for a file: at most {_LONGEST_NAME} characters"
        )
    return f"{name}.yaml"


def make_folder(path: Path) -> None:
    """Make a folder, with the ones above it, to last."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content in one step and return when it is on the disk.

    Raises:
        OSError: The old content is still there, or the new one is, perhaps not yet to last.
    """
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    try:
        with open(temporary, "w", encoding="utf-8", opener=follows_no_link) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def follows_no_link(path: str | Path, flags: int) -> int:
    """Open a file for `open`, unless a link leads elsewhere: nothing is written outside the folder."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def remove_file(path: Path) -> None:
    """Remove a file to last; one that is gone already is no error."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a crash left behind. Only for who holds the folder's lock."""
    for leftover in folder.glob(f".*{_TEMPORARY}"):
        leftover.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    """A new or replaced entry lasts only once its folder is on the disk as well."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderLock:
    """Held by the one process that works in a state folder.

    The kernel frees it when the process ends, however it ends. Programs that the process starts do not
    inherit it, so a trainer that outlives a crash does not keep the folder locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, state: Path) -> Self:
        """Lock a folder.

        Raises:
            StateFolderInUse: Another process has it.
            StateFolderError: The lock's file cannot be used.
        """
        path = state / ".lock"
        try:
            descriptor = follows_no_link(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise StateFolderError(
                f"{path} cannot be used ({error.strerror}): move it away, or take another folder with --state"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            who = f"process {holder}" if holder is not None else "another process"
            message = f"{state} is in use by {who}: wait until it ends, or take another folder with --state"
            raise StateFolderInUse(message, pid=holder) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let others have the folder. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip()
    return int(text) if text.isdigit() else None
