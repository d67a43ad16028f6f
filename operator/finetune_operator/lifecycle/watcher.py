"""One poll for all running jobs of a provider account."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from finetune_operator.lifecycle.running_metrics import MetricsReader
from finetune_operator.lifecycle.scene import only_about
from finetune_operator.lifecycle.store import Key
from finetune_providers.base import JobSnapshot, JobState, MetricPoint, Provider
from finetune_providers.errors import ProviderError, TransientProviderError

log = logging.getLogger(__name__)

MISSES_UNTIL_GONE = 3
LONGEST_WAIT_S = 300.0


@dataclass(slots=True)
class _Watched:
    trial: Key
    snapshot: JobSnapshot | None = None
    misses: int = 0
    strange_state: str = ""
    told: set[str] = field(default_factory=lambda: {""})
    live: bool = False
    shown: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be learnt of the job; its model may wait for its turn to answer."""
        return self.snapshot is not None and self.snapshot.state.terminal


class JobWatcher:
    """Polls a provider while jobs are watched, and tells whose job ended, vanished or is in a state nobody knows."""

    def __init__(
        self,
        provider: Provider,
        changed: Callable[[Key], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ended: Callable[[JobSnapshot], None] = lambda _: None,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Watch jobs; `changed` gets the trial whose job ended or vanished, `ended` the job; logs are `about`."""
        self._provider = provider
        self._changed = changed
        self._sleep = sleep
        self._ended = ended
        self._about = about or {}
        self._polled_at = 0.0
        self._jobs: dict[str, _Watched] = {}
        self._made: set[str] = set()
        self._of_trial: defaultdict[Key, set[str]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._closed = False
        self._metrics = MetricsReader(provider, self._take_metrics)

    def watch(self, job_id: str, trial: Key, *, live: bool = False) -> None:
        """Watch a job for a trial, from now until `unwatch`; `live` also tells of metrics while it runs."""
        if self._closed:
            self._changed(trial)  # its account was opened anew: there it is watched
            return
        if job_id not in self._jobs:
            self._jobs[job_id] = _Watched(trial, shown=job_id in self._made)
            self._made.discard(job_id)
        watched = self._jobs[job_id]
        watched.live = live
        self._of_trial[watched.trial].add(job_id)
        if self._task is None or self._task.done():
            self._polled_at = time.monotonic()
            self._task = asyncio.ensure_future(self._poll())

    def made(self, job_id: str) -> None:
        """A job was bought through the provider that is polled: it is one of this account's, shown or not."""
        self._made.add(job_id)

    def has_shown(self, job_id: str) -> bool:
        """Whether the provider that is polled has ever shown a watched job, or it was bought through it."""
        watched = self._jobs.get(job_id)
        return watched is not None and watched.shown

    def tells(self, job_id: str) -> bool:
        """Whether the job is watched, and its metrics are told while it runs."""
        watched = self._jobs.get(job_id)
        return watched is not None and watched.live

    def unwatch(self, job_id: str) -> None:
        """Stop watching a job."""
        watched = self._jobs.pop(job_id, None)
        if watched is not None:
            jobs = self._of_trial[watched.trial]
            jobs.discard(job_id)
            if not jobs:
                del self._of_trial[watched.trial]

    def latest(self, job_id: str) -> JobSnapshot | None:
        """The job as last seen; None before the first look."""
        watched = self._jobs.get(job_id)
        return None if watched is None else watched.snapshot

    def gone(self, job_id: str) -> bool:
        """Whether several polls in a row did not show the job."""
        watched = self._jobs.get(job_id)
        return watched is not None and watched.misses >= MISSES_UNTIL_GONE

    def take_strange_state(self, job_id: str) -> str:
        """A state that is not understood and was not asked for yet; empty where there is none."""
        watched = self._jobs.get(job_id)
        if watched is None or watched.strange_state in watched.told:
            return ""
        watched.told.add(watched.strange_state)
        return watched.strange_state

    def unwatch_trial(self, trial: Key) -> None:
        """Stop watching whatever is watched for a trial."""
        for job_id in tuple(self._of_trial.get(trial, ())):
            self.unwatch(job_id)

    def snapshots(self) -> dict[Key, JobSnapshot | None]:
        """The latest look at each watched job, by its trial."""
        return {watched.trial: watched.snapshot for watched in self._jobs.values()}

    @property
    def trials(self) -> tuple[Key, ...]:
        """The trials whose jobs are watched."""
        return tuple(watched.trial for watched in self._jobs.values())

    @property
    def poll_age_s(self) -> float | None:
        """Seconds since the jobs were seen last, or since polling began; None where there are none."""
        return time.monotonic() - self._polled_at if self._jobs else None

    async def close(self) -> None:
        """Stop polling, for good."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._metrics.close()  # last: a look begins to read

    async def _poll(self) -> None:
        only_about(**self._about)
        while self._jobs:
            await self._sleep(await self._look())

    async def _look(self) -> float:
        """Look at all jobs once; returns the seconds until the next look."""
        wanted = tuple(job_id for job_id, watched in self._jobs.items() if not watched.ended)
        interval = self._provider.capabilities.poll_interval_s
        if not wanted:
            self._polled_at = time.monotonic()
            return interval  # what is watched has ended, and waits for its model to be evaluated
        try:
            seen = await self._provider.observe(wanted)
        except ProviderError as error:
            log.warning("jobs could not be looked at: %s", error)
            asked = error.retry_after_s if isinstance(error, TransientProviderError) else None
            return max(self._backoff_s(interval), asked or 0.0)
        except Exception:  # nobody would begin anew, and every trial of the account would wait for ever
            log.exception("jobs could not be looked at: unexpected error")
            return self._backoff_s(interval)
        self._failures, self._polled_at = 0, time.monotonic()
        for job_id in wanted:
            watched = self._jobs.get(job_id)
            if watched is not None:
                self._note(watched, seen.get(job_id))
        self._metrics.start([each.job_id for each in seen.values() if self._tells_if_asked(each)])
        return interval

    def _tells_if_asked(self, seen: JobSnapshot) -> bool:
        """Whether somebody wants metrics of a job that runs, and the look at all jobs told none."""
        return seen.state is JobState.RUNNING and not seen.series and self.tells(seen.job_id)

    def _take_metrics(self, job_id: str, series: tuple[MetricPoint, ...]) -> None:
        """What a running job told when it was asked; it may have ended, or be watched no more, since then."""
        watched = self._jobs.get(job_id)
        if watched is None or watched.snapshot is None or watched.ended or not series:
            return
        news = watched.live and series[-1:] != watched.snapshot.series[-1:]
        watched.snapshot = replace(watched.snapshot, series=series)
        if news:
            self._changed(watched.trial)

    def _backoff_s(self, interval: float) -> float:
        self._failures += 1
        doubled = interval * 2.0 ** min(self._failures, 20)
        return min(doubled, LONGEST_WAIT_S) * random.uniform(0.75, 1.0)  # noqa: S311

    def _note(self, watched: _Watched, snapshot: JobSnapshot | None) -> None:
        if snapshot is None:
            watched.misses += 1
            if watched.misses == MISSES_UNTIL_GONE:
                self._changed(watched.trial)
            return
        watched.misses, watched.shown = 0, True
        before_series = () if watched.snapshot is None else watched.snapshot.series
        if not snapshot.series and not snapshot.state.terminal:
            snapshot = replace(snapshot, series=before_series)  # what was told stays told
        news = watched.live and len(snapshot.series) > 0 and snapshot.series[-1:] != before_series[-1:]
        ended = snapshot.state.terminal and not watched.ended
        watched.snapshot = snapshot
        known = self._provider.capabilities.native_states
        before = watched.strange_state
        watched.strange_state = snapshot.native_state if known and snapshot.native_state not in known else ""
        if ended:
            self._ended(snapshot)
        if ended or news or (watched.strange_state and watched.strange_state != before):
            self._changed(watched.trial)
