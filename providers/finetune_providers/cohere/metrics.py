"""What training reported, read once of each job that succeeded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from cohere import AsyncClientV2

from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.calls import Calls
from finetune_providers.cohere.wire import items, options, point, present
from finetune_providers.errors import ProviderError, TransientProviderError
from finetune_providers.series import thinned

_PAGE = 50
_TRIES = 3


class Metrics:
    """Those of the jobs of one account."""

    def __init__(self, client: AsyncClientV2, calls: Calls) -> None:
        """Read with the SDK's client."""
        self._client, self._calls = client, calls
        self._series: dict[str, tuple[MetricPoint, ...]] = {}
        self._tries: defaultdict[str, int] = defaultdict(int)

    async def added_to(self, job: JobSnapshot) -> JobSnapshot:
        """A job that succeeded, with its metrics; not yet ended while they cannot be read, for some looks."""
        if job.state is not JobState.SUCCEEDED:
            return job
        if job.job_id not in self._series:
            try:
                self._series[job.job_id] = await self.of_job(job.job_id)
            except ProviderError as error:
                self._tries[job.job_id] += 1
                passes = isinstance(error, TransientProviderError)
                if passes and self._tries[job.job_id] < _TRIES:
                    native_state = f"{job.native_state}, its metrics are not read yet"
                    return replace(
                        job,
                        state=JobState.RUNNING,
                        native_state=native_state,
                        fine_tuned_model=None,
                        finished_at=None,
                    )
                self._series[job.job_id] = ()
        return replace(job, series=self._series[job.job_id])

    async def of_job(self, job_id: str) -> tuple[MetricPoint, ...]:
        """What training reported, in order of steps, at most 100 points."""
        points: dict[int, MetricPoint] = {}
        token: str | None = ""
        before: set[str | None] = set()
        while token not in before and token is not None:
            before.add(token)
            answer = await self._page(job_id, token)
            points.update({each.step: each for each in map(point, items(answer, "step_metrics"))})
            token = present(answer, "next_page_token", optional=True) or None
        return thinned([points[step] for step in sorted(points) if points[step].values])

    async def _page(self, job_id: str, token: str) -> Any:
        return await self._calls.read(
            lambda: self._client.finetuning.list_training_step_metrics(
                job_id, page_size=_PAGE, page_token=token or None, request_options=options()
            )
        )
