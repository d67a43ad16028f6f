"""Metrics of running jobs, which some providers tell only of one job at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from finetune_providers.base import MetricPoint, Provider, RunningMetrics
from finetune_providers.errors import ProviderError, TransientProviderError

log = logging.getLogger(__name__)

Taker = Callable[[str, tuple[MetricPoint, ...]], None]
"""Gets a job's id and its metrics."""


class MetricsReader:
    """Reads in rounds, beside the looks at jobs: those wait for no metrics, however slow or broken these are."""

    def __init__(self, provider: Provider, take: Taker) -> None:
        """Read from `provider` where it tells metrics of running jobs, and hand what was read to `take`."""
        self._provider = provider if isinstance(provider, RunningMetrics) else None
        self._take = take
        self._asked: dict[str, float] = {}
        self._not_before = 0.0
        self._round: asyncio.Task[None] | None = None

    def start(self, job_ids: Collection[str]) -> None:
        """Begin a round over these jobs; nothing while one goes on, or while the provider asked to be left alone."""
        if self._provider is None or time.monotonic() < self._not_before:
            return
        if self._round is None or self._round.done():
            self._asked = {each: self._asked.get(each, 0.0) for each in job_ids}
            if job_ids:
                self._round = asyncio.ensure_future(self._read(self._provider))

    async def close(self) -> None:
        """End the round that goes on."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    async def _read(self, provider: RunningMetrics) -> None:
        # Who was asked longest ago is first: a round that is cut short, or one job's failures, hold up nobody for ever.
        for job_id in sorted(self._asked, key=self._asked.__getitem__):
            self._asked[job_id] = time.monotonic()
            try:
                series = await provider.running_series(job_id)
            except TransientProviderError as error:
                log.warning(
                    "metrics of job %s could not be read, and no further ones are for now: %s", job_id, error
                )
                self._not_before = time.monotonic() + (error.retry_after_s or 0.0)
                return
            except ProviderError as error:
                log.warning("metrics of job %s could not be read: %s", job_id, error)
            except Exception:  # no job's metrics are worth that none of the others is read any more
                log.exception("metrics of job %s could not be read: unexpected error", job_id)
            else:
                self._take(job_id, series)
