"""The process that trains one trial: `python -m finetune_providers.local_lora.trainer JOB_FOLDER LOCK_FD`.

It inherits the job's lock, open, and so holds it for as long as it lives. All it knows it reads from the job's
folder, and all it finds out it writes there; nobody talks to it but by signals.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from finetune_providers.local_lora.chat import TrainingError
from finetune_providers.local_lora.jobs import (
    CANCELLED,
    FAILED,
    MAX_POINTS,
    PAUSED,
    SUCCEEDED,
    JobFolder,
    now,
)

if TYPE_CHECKING:
    from finetune_providers.local_lora.training import Training

logger = logging.getLogger("trainer")
_REPORT_S = 1.0
_CHECKPOINT_S = 30.0


class Interrupted(Exception):
    """Somebody asked this process to stop."""


class Reporter:
    """Writes state and checkpoints at intervals, and notices when the trainer is to stop.

    Args:
        job: The job, whose lock this process holds.
    """

    def __init__(self, job: JobFolder) -> None:
        self._job = job
        self._status = job.status()
        self._reported = self._saved = time.monotonic()
        self._stopping = False
        self.training: Training | None = None

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of SIGTERM; training stops at the next beat."""
        self._stopping = True

    def beat(self) -> None:
        """Called after each piece of work.

        Raises:
            Interrupted: The trainer is to stop; the checkpoint is written.
        """
        time_now = time.monotonic()
        if time_now - self._reported >= _REPORT_S:
            if self._job.cancel_requested:
                raise Interrupted
            self.report()
        if self._stopping:
            if not self._job.cancel_requested:
                self.checkpoint()
            raise Interrupted
        if time_now - self._saved >= _CHECKPOINT_S:
            self.checkpoint()

    def report(self, **changes: Any) -> None:
        """Write the state as it is now, with further changes."""
        if self.training is not None:
            position = self.training.position
            changes["step"] = position.step
            changes["progress"] = position.step / self.training.total_steps
            changes["series"] = position.series[:1] + position.series[1:][-(MAX_POINTS - 1) :]
        self._status = replace(self._status, **changes)
        self._job.write(self._status)
        self._reported = time.monotonic()

    def checkpoint(self) -> None:
        """Save the training, if it has begun, and say so in the state."""
        if self.training is None:
            return
        self.training.save(self._job.checkpoint)
        self._saved = time.monotonic()
        self.report(saved_step=self.training.position.step)


def train_job(job: JobFolder, reporter: Reporter) -> None:
    """Train from the last checkpoint to the end and write the adapter.

    Raises:
        TrainingError: With one line that says why it cannot go on.
        Interrupted: It was asked to stop.
    """
    from finetune_providers.local_lora.adapters import save_adapter
    from finetune_providers.local_lora.setup import prepare

    request = job.request()
    training, model = prepare(request, cache=job.path.parents[1] / "hidden-states", beat=reporter.beat)
    training.restore(job.checkpoint)
    reporter.training = training
    reporter.report()
    training.train(beat=reporter.beat, epoch_done=reporter.checkpoint)
    save_adapter(model, job.adapter, base_model=request.base_model)
    reporter.report(
        native_state=SUCCEEDED,
        model=job.adapter.as_uri(),
        trained_tokens=training.trained_tokens,
        finished_at=now(),
    )
    job.remove_checkpoint()
    logger.info("done")


def explain(error: BaseException) -> str:
    """One line for a person; the traceback is in the log."""
    if isinstance(error, TrainingError):
        return str(error)
    first = next(iter(str(error).strip().splitlines()), "")[:300]
    if isinstance(error, MemoryError) or "out of memory" in first.lower() or "can't allocate memory" in first:
        return "out of memory: lower batchSize, maxLength or the number of trials at once"
    return f"training failed: {type(error).__name__}: {first}"


def main(arguments: list[str]) -> None:
    """Train the job of the folder; end with its state written, whatever happens."""
    job = JobFolder(Path(arguments[0]))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)

    def record_failure(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        job.finish(FAILED, explain(error))

    if (status := job.status()).terminal:
        logger.error("nothing to train: %s %s", status.native_state, status.message)
        return
    sys.excepthook = record_failure
    reporter = Reporter(job)
    signal.signal(signal.SIGTERM, reporter.stop)
    try:
        train_job(job, reporter)
    except Interrupted:
        if job.cancel_requested:
            job.finish(CANCELLED)
        else:
            job.write(replace(job.status(), native_state=PAUSED))
        logger.info("stopped as asked")


if __name__ == "__main__":
    main(sys.argv[1:])
