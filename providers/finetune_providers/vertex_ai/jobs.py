"""Tuning jobs as Vertex AI shows them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from google.cloud import aiplatform_v1 as api

from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
)
from finetune_providers.paging import PageTokens
from finetune_providers.redaction import clean
from finetune_providers.vertex_ai.account import Account, Ask
from finetune_providers.vertex_ai.metrics import read_series
from finetune_providers.vertex_ai.wire import (
    KEY_LABEL,
    STATES,
    Made,
    checked_job,
    has_key,
    time_of,
    trained_tokens,
    what_it_made,
)

_PAGE = 100
_MOST_LOOKS = 5
_MOST_LOOKS_IN_AN_OUTAGE = 60


@dataclass(frozen=True, slots=True)
class _Metrics:
    """What is known of a job's metrics; not yet final, they are asked for again."""

    series: tuple[MetricPoint, ...] = ()
    trouble: str = ""
    tries: int = 0
    final: bool = False


class Jobs:
    """Those of one project and location."""

    def __init__(self, account: Account, ask: Ask, secrets: tuple[str, ...]) -> None:
        """Make each call with `ask`; no message of a job shows one of the secrets."""
        self._account, self._ask, self._secrets = account, ask, secrets
        self._series: dict[str, _Metrics] = {}
        self._made: dict[str, Made] = {}
        self._unserved: dict[str, int] = {}

    async def get(self, job_id: str) -> Any:
        """One job.

        Raises:
            JobNotFound: There is none.
        """
        name = self.name(job_id)
        return checked_job(await self._ask(lambda: self._account.ask("GET", name, api.TuningJob)))

    async def all(self, **query: str) -> AsyncIterator[Any]:
        """All jobs, page by page; an UnexpectedResponse where the list has no end."""
        token, tokens = "", PageTokens("Vertex AI's list of tuning jobs")
        while True:
            page = await self.page(pageSize=_PAGE, pageToken=token, **query)
            for job in page.tuning_jobs:
                yield checked_job(job)
            token = tokens.follow(page.next_page_token)
            if not token:
                return

    async def page(self, **query: Any) -> Any:
        """One page of the list of jobs."""
        path = f"{self._account.parent}/tuningJobs"
        return await self._ask(
            lambda: self._account.ask("GET", path, api.ListTuningJobsResponse, query=tuple(query.items()))
        )

    def name(self, job_id: str) -> str:
        """The resource name of a job.

        Raises:
            JobNotFound: There can be no such job.
        """
        name = job_id if "/" in job_id else f"{self._account.parent}/tuningJobs/{job_id}"
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/tuningJobs/[^/]+", name):
            raise JobNotFound(f"{job_id!r} is no name of a tuning job")
        return name

    async def with_key(self, key: str, **query: str) -> list[Any]:
        """The jobs of a key that a list shows."""
        return [job async for job in self.all(**query) if has_key(job, key)]

    async def made_with(self, endpoint: str) -> Made | None:
        """What the job of an endpoint has made; None where no job says that it made the endpoint."""
        if endpoint not in self._made:
            async for job in self.all():
                made = what_it_made(job)
                if endpoint in made.endpoints:
                    self._made[endpoint] = made
                    break
        return self._made.get(endpoint)

    async def snapshot(self, job: Any) -> JobSnapshot:
        """A job in our words, with its metrics where it has succeeded; it counts as running while those are missing."""
        state, word = await self._state(job)
        message = clean(job.error.message, self._secrets) if job.HasField("error") else ""
        made = what_it_made(job)
        for endpoint in made.endpoints:
            self._made[endpoint] = made
        metrics = _Metrics()
        if state is JobState.SUCCEEDED and not made.endpoints:
            state, message = self._without_endpoint(job, word, message)
        elif state is JobState.SUCCEEDED:
            metrics = await self._metrics(job)
            state = JobState.SUCCEEDED if metrics.final else JobState.RUNNING
            message = message or metrics.trouble
        return JobSnapshot(
            job_id=job.name,
            key=job.labels.get(KEY_LABEL) or None,
            state=state,
            native_state=word,
            message=message,
            fine_tuned_model=made.endpoints[0] if state is JobState.SUCCEEDED else None,
            series=metrics.series,
            trained_tokens=trained_tokens(job),
            created_at=time_of(job, "create_time"),
            finished_at=(time_of(job, "end_time") or time_of(job, "update_time")) if state.terminal else None,
        )

    def _without_endpoint(self, job: Any, word: str, message: str) -> tuple[JobState, str]:
        """What a job is that has succeeded and names no endpoint: it may be late, at last it has failed."""
        self._unserved[job.name] = self._unserved.get(job.name, 0) + 1
        if self._unserved[job.name] < _MOST_LOOKS:
            return JobState.RUNNING, message
        model = job.tuned_model.model and f"its model is {job.tuned_model.model}"
        told = [f"{word} without an endpoint that answers", model, message]
        return JobState.FAILED, "; ".join(filter(None, told))

    async def _state(self, job: Any) -> tuple[JobState, str]:
        known = STATES.get(job.state)
        if known is not None:
            return known, api.JobState(job.state).name
        # The installed package does not know its word: ask for the job as it is written.
        written: object = None
        with suppress(ProviderError):
            written = (await self._ask(lambda: self._account.ask("GET", job.name))).get("state")
        return JobState.RUNNING, str(written or "unknown")

    async def _metrics(self, job: Any) -> _Metrics:
        """A finished job's series; after some tries without an answer, none, and why."""
        known = self._series.get(job.name, _Metrics())
        if known.final:
            return known
        tries = known.tries + 1
        try:
            known = _Metrics(await read_series(self._account, job.experiment, self._ask), final=True)
        except ProviderError as error:
            refused = isinstance(error, PermanentProviderError) and not isinstance(error, JobNotFound)
            outage = isinstance(error, TransientProviderError)
            known = _Metrics(
                trouble=f"its metrics could not be read: {error}",
                tries=tries,
                final=refused or tries >= (_MOST_LOOKS_IN_AN_OUTAGE if outage else _MOST_LOOKS),
            )
        self._series[job.name] = known
        return known
