"""What training reported, read once of each job that succeeded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse
from finetune_providers.openai_protocol.listing import Lists, of_job
from finetune_providers.openai_protocol.parsing import is_newest_first, series_of

_PAGE = 100
_EVENTS = 2000
"""Of each job are enough, where the list begins with the newest."""
_MOST_EVENT_PAGES = 1000
_SERIES_KEPT = 1000
_SERIES_PATIENCE = 5
_MODEL_PATIENCE = 20
"""Looks, half a minute apart, for which a job that succeeded may have no model yet."""


class Metrics:
    """Those of the jobs of one account."""

    def __init__(self, lists: Lists) -> None:
        """Read them from lists."""
        self._lists = lists
        self._series: dict[str, tuple[MetricPoint, ...]] = {}
        self._misses: dict[str, int] = {}

    def forget_others(self, job_ids: Collection[str]) -> None:
        """Keep the metrics of some jobs alone."""
        for job_id in self._series.keys() - job_ids:
            self._series.pop(job_id, None)  # its trial has ended; a hundred points take 25 kB

    async def added_to(self, job: JobSnapshot) -> JobSnapshot:
        """A job that succeeded together with its metrics.

        It counts as running while its model has no name or its metrics cannot be read, so that one job's trouble is
        not every job's; where that lasts, it is shown as it is.
        """
        if job.state is not JobState.SUCCEEDED:
            return job
        unfinished = replace(job, state=JobState.RUNNING, fine_tuned_model=None, finished_at=None)
        if job.fine_tuned_model is None and self._is_young_miss(f"{job.job_id} model", _MODEL_PATIENCE):
            return unfinished
        if job.job_id not in self._series:
            series = await self._read(job.job_id)
            if series is None:
                return unfinished
            self._misses.pop(job.job_id, None)
            self._series[job.job_id] = series
            if len(self._series) > _SERIES_KEPT:
                self._series.pop(next(iter(self._series)))
        return replace(job, series=self._series[job.job_id])

    async def of_running(self, job_id: str) -> tuple[MetricPoint, ...]:
        """The training loss of a running job, from its newest events.

        Validation metrics are left out: an event has those of a few examples, and a finished job those of all, from
        its checkpoints. The two cannot be compared.
        """
        events: list[Any] = []
        async for page in self._lists.pages(of_job(job_id, "events"), most=_MOST_EVENT_PAGES, limit=_PAGE):
            events += page
            if len(events) >= _EVENTS and is_newest_first(events):
                break
        return tuple(
            MetricPoint(point.step, {"trainingLoss": point.values["trainingLoss"]})
            for point in series_of(events, ())
            if "trainingLoss" in point.values
        )

    async def _read(self, job_id: str) -> tuple[MetricPoint, ...] | None:
        """A job's metrics; None while they cannot be read. What a service does not have or show is left out."""
        told: list[list[Any]] = []
        missed = False
        for what in ("events", "checkpoints"):
            told.append([])
            try:
                async for page in self._lists.pages(
                    of_job(job_id, what), most=_MOST_EVENT_PAGES, limit=_PAGE
                ):
                    told[-1] += page
                    if len(told[-1]) >= _EVENTS and is_newest_first(told[-1]):
                        break
            except PermanentProviderError:
                continue
            except (TransientProviderError, UnexpectedResponse):
                missed = True
        if missed and self._is_young_miss(job_id, _SERIES_PATIENCE):
            return None
        return series_of(*told)

    def _is_young_miss(self, what: str, patience: int) -> bool:
        """Count what was not there once more; whether it may still come."""
        self._misses[what] = self._misses.get(what, 0) + 1
        return self._misses[what] < patience
