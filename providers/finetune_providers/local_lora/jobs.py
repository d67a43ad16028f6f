"""A fine-tuning job as a folder: the only memory this provider has.

    jobs/<job id>/request.json   what was asked, written once before the folder gets its name
                  state.json     how far it is; written only by whoever holds `lock`
                  lock           held by the trainer for its life: "is it alive" is answered by the lock
                  process.json   pid and start time of the trainer, for signals
                  cancel         exists once somebody asked to stop the job for good
                  log.txt  checkpoint.pt  adapter/

Both sides use this module: the operator's process and the trainer. It must not import torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune_providers.base import JobRequest, JobSnapshot, JobState, MetricPoint, ParameterValue
from finetune_providers.local_lora.locks import is_locked
from finetune_providers.local_lora.options import LocalOptions
from finetune_providers.local_lora.records import DamagedJob, parsed
from finetune_providers.plain_files import read_end_of_plain_file

_JOB_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MAX_POINTS = 100
_LOG_END_BYTES = 64 * 1024

WAITING = "Waiting"
TRAINING = "Training"
PAUSED = "Paused"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
CANCELLED = "Cancelled"

_CANONICAL = {
    WAITING: JobState.PENDING,
    SUCCEEDED: JobState.SUCCEEDED,
    FAILED: JobState.FAILED,
    CANCELLED: JobState.CANCELLED,
}


def job_id_of(key: str) -> str:
    """The job's id: the key itself where it is a plain file name, else a slug of it with its hash."""
    if _JOB_ID.fullmatch(key):
        return key
    slug = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:60]
    return f"{slug or 'job'}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def is_job_id(text: str) -> bool:
    """Whether the text can be a job's id; one that could climb out of the folder cannot."""
    return _JOB_ID.fullmatch(text) is not None


def now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file atomically: a reader sees the old or the new content, also after a crash."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What a trainer is asked to do; hyperparameters are complete but for `loraLayers`."""

    key: str
    base_model: str
    hyperparameters: Mapping[str, ParameterValue]
    training: str
    validation: str | None
    seed: int
    labels: Mapping[str, str]
    options: LocalOptions
    created_at: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is.

    Attributes:
        native_state: One of the words above.
        message: Why it failed.
        progress: 0 to 1.
        step: Optimizer steps taken.
        series: Pairs of step and metrics, ordered.
        trained_tokens: Input tokens processed, once it has succeeded.
        model: URI of the adapter's folder.
        finished_at: ISO 8601.
        saved_step: Step of the last checkpoint.
        deaths: Processes that vanished in a row without a new checkpoint.
        deaths_with_us: Those beside them that were found dead by a process which had not started them.
        deaths_at: `saved_step` when the last one vanished.
    """

    native_state: str = WAITING
    message: str = ""
    progress: float = 0.0
    step: int = 0
    series: tuple[tuple[int, Mapping[str, float]], ...] = ()
    trained_tokens: int | None = None
    model: str | None = None
    finished_at: str | None = None
    saved_step: int = 0
    deaths: int = 0
    deaths_with_us: int = 0
    deaths_at: int = -1

    @property
    def terminal(self) -> bool:
        return self.native_state in {SUCCEEDED, FAILED, CANCELLED}


@dataclass(frozen=True, slots=True)
class JobFolder:
    """One job's folder and the files in it."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def exists(self) -> bool:
        return self.path.is_dir()  # it got its name when all was in it

    @property
    def alive(self) -> bool:
        """Whether a trainer, or somebody who is about to start or end it, holds the job."""
        return is_locked(self.lock)

    @property
    def cancel_requested(self) -> bool:
        return os.path.lexists(self.path / "cancel")

    def request_cancel(self) -> None:
        """Ask to stop the job for good. Whatever bears the name says so, a link too, and nothing is written to it."""
        with suppress(FileExistsError):
            (self.path / "cancel").touch(exist_ok=False)

    def request(self) -> TrainingRequest:
        """What was asked.

        Raises:
            DamagedJob: The file is not what was written.
            TransientProviderError: The disk does not give it now.
        """
        return parsed(self.path / "request.json", _request)

    def status(self) -> JobStatus:
        """How far the job is; one whose files are damaged counts as failed.

        Raises:
            TransientProviderError: The disk does not give the file now.
        """
        try:
            status = parsed(self.path / "state.json", _status)
            self.request()
        except DamagedJob as damaged:
            return JobStatus(FAILED, message=str(damaged))
        return status

    def write(self, status: JobStatus) -> None:
        """Write the state; the caller holds the lock."""
        write_json(self.path / "state.json", asdict(status))

    def finish(self, native_state: str, message: str = "", **changes: Any) -> None:
        """Write a final state; the caller holds the lock. The checkpoint goes: nobody will go on from it."""
        status = self.status()
        self.write(replace(status, native_state=native_state, message=message, finished_at=now(), **changes))
        self.remove_checkpoint()

    def remove_checkpoint(self) -> None:
        """Remove the last checkpoint, and a half-written one that a killed trainer left."""
        for path in (self.checkpoint, self.checkpoint.with_suffix(".new")):
            path.unlink(missing_ok=True)

    def last_log_line(self) -> str:
        """The log's last line that says something, shortened; "" where there is none, or no log of ours."""
        try:
            content = read_end_of_plain_file(self.log, most=_LOG_END_BYTES)
        except OSError:
            return ""
        lines = content.decode("utf-8", errors="replace").splitlines()
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def snapshot(self) -> JobSnapshot:
        status = self.status()
        try:
            request = self.request()
        except DamagedJob:
            return JobSnapshot(self.path.name, None, JobState.FAILED, FAILED, message=status.message)
        return JobSnapshot(
            job_id=self.path.name,
            key=request.key,
            state=_CANONICAL.get(status.native_state, JobState.RUNNING),
            native_state=status.native_state,
            message=status.message,
            fine_tuned_model=status.model,
            progress=status.progress,
            series=tuple(MetricPoint(step, values) for step, values in status.series),
            trained_tokens=status.trained_tokens,
            created_at=datetime.fromisoformat(request.created_at),
            finished_at=datetime.fromisoformat(status.finished_at) if status.finished_at else None,
        )


def _request(raw: Mapping[str, Any]) -> TrainingRequest:
    request = TrainingRequest(**{**raw, "options": LocalOptions(**raw["options"])})
    datetime.fromisoformat(request.created_at)
    return request


def _status(raw: Mapping[str, Any]) -> JobStatus:
    series = tuple((int(step), dict(values)) for step, values in raw["series"])
    return JobStatus(**{**raw, "series": series})


def create_job(
    jobs: Path, request: JobRequest, *, options: LocalOptions, defaults: Mapping[str, Any]
) -> JobFolder:
    """Make the job's folder, or return the one that the same key made before.

    The folder is filled under another name and then renamed, which fails where the name is taken: however many
    callers there are and wherever one of them dies, there is one job with a complete request, or none.

    Raises:
        OSError: The folder cannot be written; no job exists.
    """
    folder = JobFolder(jobs / job_id_of(request.key))
    if folder.exists:
        return folder
    draft = Path(tempfile.mkdtemp(dir=jobs, prefix=".new-"))
    try:
        given = {name: value for name, value in request.hyperparameters.items() if name != "baseModel"}
        training_request = TrainingRequest(
            key=request.key,
            base_model=request.base_model,
            hyperparameters={**defaults, **given},
            training=request.training,
            validation=request.validation,
            seed=request.seed,
            labels=dict(request.labels),
            options=options,
            created_at=now(),
        )
        write_json(draft / "request.json", asdict(training_request))
        write_json(draft / "state.json", asdict(JobStatus()))
        draft.chmod(0o755)
        draft.rename(folder.path)
    except OSError:
        if not folder.exists:
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
