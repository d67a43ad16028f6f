"""What is kept on this machine of jobs that were deleted at their provider.

Where deleting is a provider's only way of cancelling, nobody else may know the job afterwards. So its last state is
written here before it is deleted: the disk is asked for it where the provider says that there is no such job.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.errors import TransientProviderError
from finetune_providers.plain_files import read_plain_file

_TIMES = ("created_at", "finished_at")
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Tombstones:
    """Last states of deleted jobs, a file each. All methods block."""

    def __init__(self, folder: Path, *, named_by_key: bool) -> None:
        """Keep them in a folder, which is made when there is something to keep.

        Args:
            folder: Where.
            named_by_key: Files are named by a hash of the key and one of the job's id, so that `of_key` works; else
                by the job's id alone.
        """
        self._folder = folder
        self._named_by_key = named_by_key

    def write(self, job: JobSnapshot) -> None:
        """Keep a job's last state; once this returns, it outlives a crash of the machine.

        Raises:
            TransientProviderError: It could not be written.
        """
        name = _named(job.job_id)
        if self._named_by_key:
            name = f"{_short(job.key or '')}-{_short(job.job_id)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_durably(self._folder / f"{name}.json", asdict(job))
        except OSError as error:
            raise TransientProviderError(
                f"job {job.job_id} is not deleted, because {self._folder} cannot be written: {error.strerror}"
            ) from error

    def of_job(self, job_id: str) -> JobSnapshot | None:
        """The last state of a deleted job; None where it was not deleted from here.

        Raises:
            TransientProviderError: The disk does not say so.
        """
        pattern = f"*-{_short(job_id)}" if self._named_by_key else _named(job_id)
        return next((job for job in self._read(pattern)[1] if job.job_id == job_id), None)

    def of_key(self, key: str) -> tuple[JobSnapshot, ...]:
        """The last states of the deleted jobs that were created with a key.

        Raises:
            TransientProviderError: The disk does not say so.
        """
        pattern = f"{_short(key)}-*" if self._named_by_key else "*"
        names, jobs = self._read(pattern)
        if self._named_by_key and names and not jobs:
            # A job was deleted that has this key: it must not be taken for one that never was.
            raise TransientProviderError(
                f"{self._folder / names[0]} is not what was written there of a deleted job: bring it back from a "
                "copy, or see at the provider what became of the job and delete the file"
            )
        return tuple(job for job in jobs if job.key == key)

    def _read(self, pattern: str) -> tuple[list[str], list[JobSnapshot]]:
        """The records' files, and what can be read of them.

        A folder that was half restored must not hide all other jobs.
        """
        try:
            # Not `glob`, to which a folder that cannot be read is an empty one.
            names = fnmatch.filter(sorted(os.listdir(self._folder)), f"{pattern}.json")
            found = [_parsed(read_plain_file(self._folder / name)) for name in names]
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        except OSError as error:
            # What was deleted must not be taken for what never was: it would be bought again.
            raise TransientProviderError(
                f"it is not known which jobs were deleted, because {self._folder} cannot be read: {error.strerror}"
            ) from error
        return names, [job for job in found if job is not None]


def _parsed(written: bytes) -> JobSnapshot | None:
    try:
        return _job(json.loads(written))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _job(record: Mapping[str, Any]) -> JobSnapshot:
    times = {name: _moment(record[name]) for name in _TIMES}
    series = tuple(MetricPoint(**point) for point in record.get("series", ()))
    return JobSnapshot(**{**record, "state": JobState(record["state"]), "series": series, **times})


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _write_durably(path: Path, record: Mapping[str, Any]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file, default=datetime.isoformat)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    for folder in (path.parent, path.parent.parent):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _named(job_id: str) -> str:
    """A job's id as the name of a file; a hash of it where it may not be one."""
    return job_id if _FILE_NAME.fullmatch(job_id) else _short(job_id)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
