"""Starts waiting and vanished jobs while there are free slots.

All memory is in the job folders and their locks, so two processes over one folder, or a process and its successor,
never have more trainers alive than there are slots.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from finetune_providers.local_lora.jobs import (
    CANCELLED,
    FAILED,
    PAUSED,
    TRAINING,
    WAITING,
    JobFolder,
    JobStatus,
    is_job_id,
)
from finetune_providers.local_lora.locks import locked, try_lock
from finetune_providers.local_lora.processes import start_trainer
from finetune_providers.local_lora.records import DamagedJob

logger = logging.getLogger(__name__)
MAX_DEATHS = 3
MAX_DEATHS_WITH_US = 20
"""Of trainers that were found dead at a start: whatever ended the process before may have ended them, too."""


class Scheduler:
    """Keeps up to `slots` trainers alive over the folder `jobs`. Its methods block; call them in a thread."""

    def __init__(self, jobs: Path, slots: int, *, environment: Mapping[str, str]) -> None:
        self._jobs = jobs
        self._slots = slots
        self._environment = environment
        self._ended: set[str] = set()
        self._started: set[str] = set()
        self._turn = threading.Lock()
        self._closed = False

    def job(self, job_id: str) -> JobFolder | None:
        """The job's folder, or None where there is no such job."""
        folder = JobFolder(self._jobs / job_id)
        return folder if is_job_id(job_id) and folder.exists else None

    def unfinished(self) -> Iterator[JobFolder]:
        """Jobs without a final state; whether a job has one is remembered."""
        for name in sorted(os.listdir(self._jobs)):
            if name in self._ended:
                continue
            job = self.job(name)
            if job is None:
                continue
            if job.status().terminal and not job.alive:
                self._ended.add(name)
                continue
            yield job

    def tick(self) -> None:
        """Look at every unfinished job once and start those that can go on, oldest first."""
        with self._turn, locked(self._jobs / ".scheduler.lock"):
            free = self._slots
            idle: list[JobFolder] = []
            for job in self.unfinished():
                if job.alive:
                    free -= 1
                else:
                    idle.append(job)
            for job in sorted(idle, key=lambda job: job.request().created_at):
                free -= self._handle_idle(job, may_start=free > 0 and not self._closed)

    def close(self) -> None:
        """Start nothing any more; returns once a tick that is under way has ended."""
        self._closed = True
        with self._turn:
            return

    def settle(self, job: JobFolder) -> None:
        """Give a job whose trainer is gone the state that says so: cancelled, or paused until the next tick."""
        lock = try_lock(job.lock)
        if lock is None:
            return
        try:
            status = job.status()
            if status.terminal:
                return
            if job.cancel_requested:
                job.finish(CANCELLED)
            elif status.native_state == TRAINING:
                job.write(replace(status, native_state=PAUSED))
        finally:
            os.close(lock)

    def _handle_idle(self, job: JobFolder, *, may_start: bool) -> int:
        """Start an idle job or write that it has ended.

        Returns:
            Slots taken: 1 where a trainer was started, else 0.
        """
        lock = try_lock(job.lock)
        if lock is None:
            return 1
        try:
            status = job.status()
            if status.terminal:
                return 0
            if job.cancel_requested:
                job.finish(CANCELLED)
                return 0
            if status.native_state not in {WAITING, PAUSED}:
                status = self._count_death(job, status)
            if status.terminal or not may_start:
                return 0
            job.write(replace(status, native_state=TRAINING))
            try:
                start_trainer(job, lock, environment=self._environment)
                self._started.add(job.path.name)
            except OSError as error:
                # No memory or no process left on this machine: that passes, and the next tick tries again.
                logger.warning("no trainer started: job=%s %s", job.path.name, error)
                job.write(replace(status, native_state=WAITING))
            except DamagedJob as damaged:
                job.finish(FAILED, str(damaged))
                return 0
        finally:
            os.close(lock)
        return 1

    def _count_death(self, job: JobFolder, status: JobStatus) -> JobStatus:
        """The state after a trainer vanished without a result: waiting again, or failed where it keeps dying."""
        known = (status.deaths, status.deaths_with_us) if status.saved_step == status.deaths_at else (0, 0)
        seen = job.path.name in self._started
        deaths, with_us = known[0] + seen, known[1] + (not seen)
        status = replace(
            status,
            native_state=WAITING,
            deaths=deaths,
            deaths_with_us=with_us,
            deaths_at=status.saved_step,
        )
        job.write(status)
        logger.warning("trainer vanished: job=%s step=%d deaths=%d", job.path.name, status.step, deaths)
        if deaths >= MAX_DEATHS or with_us >= MAX_DEATHS_WITH_US:
            line = job.last_log_line() or "it wrote nothing to its log"
            job.finish(
                FAILED,
                f"the training process died {deaths + with_us} times without progress (last: {line}); "
                "a process killed by the system usually needs more memory, a smaller batchSize or maxLength",
            )
            return job.status()
        return status
