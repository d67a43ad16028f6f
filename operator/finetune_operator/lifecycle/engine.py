"""The loop that keeps resources moving: takes keys from a queue and lets the reconcilers look at them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from finetune_operator.errors import SweepError
from finetune_operator.evaluation import ANYWHERE, SourceRules
from finetune_operator.lifecycle import scene
from finetune_operator.lifecycle.accounts import Accounts, ProviderFactory
from finetune_operator.lifecycle.admission import Admissions
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.complaints import Complaints
from finetune_operator.lifecycle.context import RELEASE_WITHIN_S, Context, TrialProgress
from finetune_operator.lifecycle.housekeeping import clean_often
from finetune_operator.lifecycle.measured import Measure
from finetune_operator.lifecycle.observer import AccountName, Observer, Pulse, Vitals
from finetune_operator.lifecycle.provider_life import reconcile_provider
from finetune_operator.lifecycle.store import Conflict, Key, Store
from finetune_operator.lifecycle.sweep_life import reconcile_sweep
from finetune_operator.lifecycle.trial_life import reconcile_trial
from finetune_operator.lifecycle.uploads import Uploads
from finetune_operator.lifecycle.work_queue import WorkQueue
from finetune_providers import registry
from finetune_providers.base import JobSnapshot, JobState
from finetune_providers.errors import ProviderError, TransientProviderError

log = logging.getLogger(__name__)

WORKERS = 32
STOP_WITHIN_S = 25.0

Reconciler = Callable[[Context, Key], Awaitable[float | None]]
RECONCILERS: Mapping[str, Reconciler] = {
    "FinetuneSweep": reconcile_sweep,
    "FinetuneTrial": reconcile_trial,
    "FinetuneProvider": reconcile_provider,
}


def utc_now() -> datetime:
    """The time, timezone-aware."""
    return datetime.now(UTC)


class Engine:
    """Drives all sweeps of a store."""

    def __init__(  # noqa: PLR0913 (each may be left out)
        self,
        *,
        store: Store,
        work_dir: Path,
        make_provider: ProviderFactory = registry.create,
        load_provider: Callable[[str], None] = registry.load,
        dataset_rules: SourceRules = ANYWHERE,
        reference_grace_s: float = 0.0,
        release_within_s: float = RELEASE_WITHIN_S,
        now: Callable[[], datetime] = utc_now,
        observer: Observer | None = None,
    ) -> None:
        """Make an engine that is at rest.

        Args:
            store: Where the resources are.
            work_dir: Folder for datasets, answers and providers that work on this machine.
            make_provider: Makes providers from their configuration.
            load_provider: Imports what a type of provider needs; called in a thread before.
            dataset_rules: Where datasets may come from.
            reference_grace_s: For how long a new sweep may wait for what it refers to, in seconds.
            release_within_s: For how long a deleted trial waits for what cannot be ended at its provider, in seconds.
            now: The time, timezone-aware.
            observer: Is told what happens; None where nobody wants to know.
        """
        self._observer = observer or Observer()
        self._pulse = Pulse()
        self._queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        self._background = BackgroundWork()
        self._complaints = Complaints(store, time.monotonic)
        accounts = Accounts(
            store,
            work_dir,
            make_provider,
            changed=self.enqueue,
            load=load_provider,
            measure=None if observer is None else self._measure,
        )
        self._context = Context(
            store=store,
            accounts=accounts,
            admissions=Admissions(
                store,
                accounts,
                self._background,
                datasets_dir=work_dir / "datasets",
                enqueue=self.enqueue,
                rules=dataset_rules,
            ),
            background=self._background,
            uploads=Uploads(self._background, enqueue=self.enqueue),
            work_dir=work_dir,
            now=now,
            enqueue=self.enqueue,
            reference_grace_s=reference_grace_s,
            release_within_s=release_within_s,
        )
        self._seen: set[Key] = set()
        store.subscribe(self.enqueue)

    def enqueue(self, key: Key) -> None:
        """Have an object looked at."""
        self._queue.add(key)

    def progress(self) -> Mapping[Key, TrialProgress]:
        """Where the trials are that train or are evaluated right now."""
        training = {
            trial: _training_progress(snapshot)
            for account in self._context.accounts.watched()
            for trial, snapshot in account.watcher.snapshots().items()
        }
        return {**training, **self._context.evaluating}

    def vitals(self) -> Vitals:
        """How the engine is right now."""
        return Vitals(
            ready=len(self._queue),
            planned=self._queue.planned,
            looks=self._queue.working,
            due_for_s=self._queue.due_for_s,
            quiet_for_s=self._pulse.quiet_for_s,
            excused=self._pulse.excused,
            background=self._background.under_way(),
            accounts=self._context.accounts.vitals(self._context.now()),
        )

    def _measure(self, account: AccountName) -> Measure:
        return Measure(account, self._observer, self._pulse)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; a create call in flight is journaled before it returns."""
        workers = [asyncio.ensure_future(self._work()) for _ in range(WORKERS)]
        stopped = asyncio.ensure_future(stop.wait())
        cleaning = asyncio.ensure_future(clean_often(self._context))
        try:
            await asyncio.wait([stopped, *workers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            cleaning.cancel()
            await asyncio.gather(cleaning, return_exceptions=True)
            await self._stop(workers)
        for worker in workers:
            if not worker.cancelled() and worker.exception() is not None:
                worker.result()

    async def _stop(self, workers: list[asyncio.Task[None]]) -> None:
        self._queue.close()
        await self._background.close()
        _, late = await asyncio.wait(workers, timeout=STOP_WITHIN_S)
        for worker in late:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await self._context.accounts.close()

    async def _work(self) -> None:
        while (key := await self._queue.take()) is not None:
            self._pulse.beat()
            scene.look_at(key)
            begun = time.monotonic()
            outcome = "cut_off"
            try:
                outcome = await self._look(key)
            finally:
                self._queue.done(key)
                self._pulse.beat()
                self._observer.looked(key.kind, outcome, time.monotonic() - begun)

    async def _look(self, key: Key) -> str:
        """Look at an object; returns how that ended, in a word for measurements."""
        try:
            if key.kind == "FinetuneSweep" and key not in self._seen:
                await self._meet(key)
            after = await RECONCILERS[key.kind](self._context, key)
        except Conflict:
            self._queue.add_after(key, 0.05)
            return "conflict"
        except (SweepError, ProviderError, OSError) as error:
            asked = error.retry_after_s if isinstance(error, TransientProviderError) else None
            delay = self._queue.retry(key, at_least_s=asked or 0.0)
            log.warning("%s: %s; next try in %.1f s", key, error, delay)
            self._observer.retried(key.kind, type(error).__name__, delay)
            await self._complaints.failed(key, error, delay_s=delay)
            return "retry"
        except Exception:  # one object that breaks us must not hold up the others
            delay = self._queue.retry(key)
            log.exception("%s: unexpected error; next try in %.1f s", key, delay)
            return "defect"
        self._queue.succeeded(key)
        self._complaints.passed(key)
        if after is not None:
            self._queue.add_after(key, after)
        return "done"

    async def _meet(self, sweep: Key) -> None:
        """The first look at a sweep since the start: its trials go on that have not ended, or not been let go."""
        for trial in await self._context.store.list_trials(sweep):
            if not trial.terminal or trial.has_finalizer:
                self.enqueue(sweep.sibling("FinetuneTrial", trial.name))
        self._seen.add(sweep)


def _training_progress(snapshot: JobSnapshot | None) -> TrialProgress:
    if snapshot is None or snapshot.state is JobState.PENDING:
        return TrialProgress("Queued")
    return TrialProgress("Training", snapshot.progress, snapshot.native_state)
