"""What is kept on this machine of jobs that were deleted at Cohere.

Deleting a fine-tuned model is Cohere's only way of cancelling a job, and whether a deleted one can still be seen
is not documented. So a job's last state is written here before it is deleted: the disk is asked for it where Cohere
says that there is no such job.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from datetime import datetime
from pathlib import Path

from finetune_providers.base import JobSnapshot, JobState
from finetune_providers.errors import TransientProviderError

_TIMES = ("created_at", "finished_at")
_TEXTS = ("job_id", "key", "native_state", "message", "fine_tuned_model")


class Tombstones:
    """Last states of deleted jobs, a file each. All methods block."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, which is made when there is something to keep."""
        self._folder = folder

    def write(self, job: JobSnapshot) -> None:
        """Keep a job's last state; once this returns, it outlives a crash of the machine.

        Raises:
            TransientProviderError: It could not be written.
        """
        record = {name: getattr(job, name) for name in _TEXTS}
        record["state"] = job.state.value
        for name in _TIMES:
            moment = getattr(job, name)
            record[name] = None if moment is None else moment.isoformat()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_durably(self._folder / f"{_short(job.key or '')}-{_short(job.job_id)}.json", record)
        except OSError as error:
            raise TransientProviderError(
                f"the job is not deleted, because {self._folder} cannot be written: {error.strerror}"
            ) from error

    def of_job(self, job_id: str) -> JobSnapshot | None:
        """The last state of a deleted job; None where it was not deleted from here."""
        return next((job for job in self._read(f"*-{_short(job_id)}.json") if job.job_id == job_id), None)

    def of_key(self, key: str) -> tuple[JobSnapshot, ...]:
        """The last states of the deleted jobs that were created with a key."""
        return tuple(job for job in self._read(f"{_short(key)}-*.json") if job.key == key)

    def _read(self, pattern: str) -> list[JobSnapshot]:
        """What can be read of the records; a folder that was half restored must not hide all other jobs."""
        found = (_parsed(path) for path in sorted(self._folder.glob(pattern)))
        return [job for job in found if job is not None]


def _parsed(path: Path) -> JobSnapshot | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return JobSnapshot(
            **{name: record[name] for name in _TEXTS},
            state=JobState(record["state"]),
            created_at=_moment(record["created_at"]),
            finished_at=_moment(record["finished_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


def _write_durably(path: Path, record: dict[str, str | None]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(record, file)
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


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
