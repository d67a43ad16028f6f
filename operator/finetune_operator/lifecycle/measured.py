"""A provider whose every call is measured; providers themselves know nothing of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from finetune_operator.lifecycle.observer import AccountName, Observer, Pulse
from finetune_operator.lifecycle.scene import is_worker
from finetune_providers.base import (
    Capabilities,
    Conversation,
    DatasetFile,
    Deployment,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    MetricPoint,
    ModelRules,
    Offer,
    Provider,
    RunningMetrics,
)
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    NotReached,
    PermanentProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

OUTCOMES: Mapping[type[BaseException], str] = {
    QuotaExceeded: "quota",
    NotReached: "not_reached",
    TransientProviderError: "transient",
    JobNotFound: "not_found",
    PermanentProviderError: "refused",
    AmbiguousProviderError: "ambiguous",
    UnexpectedResponse: "unexpected",
    asyncio.CancelledError: "cancelled",
}
"""By an error's class, the first that fits; anything else is a `defect`."""


class Measure:
    """Times calls of one account and says how they ended."""

    def __init__(self, account: AccountName, observer: Observer, pulse: Pulse) -> None:
        """Measure for an account."""
        self._account = account
        self._observer = observer
        self._pulse = pulse

    @contextmanager
    def call(self, operation: str) -> Iterator[None]:
        """Measure what is done meanwhile."""
        if not is_worker():
            with self._timed(operation):
                yield
            return
        with self._pulse.waiting(), self._timed(operation):
            yield

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        begun, outcome = time.monotonic(), "ok"
        try:
            yield
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self._observer.called(self._account, operation, outcome, time.monotonic() - begun)

    def job_ended(self, job: JobSnapshot) -> None:
        """A job was seen to have ended."""
        if job.created_at is not None and job.finished_at is not None:
            seconds = max(0.0, (job.finished_at - job.created_at).total_seconds())
            self._observer.job_ended(self._account, job.state.value.lower(), seconds)


def outcome_of(error: BaseException) -> str:
    """How a call ended that raised an error, in one word of a few."""
    return next((word for kind, word in OUTCOMES.items() if isinstance(error, kind)), "defect")


class MeasuredProvider:
    """A `Provider` that is another one and has its calls measured."""

    def __init__(self, provider: Provider, measure: Measure) -> None:
        """Measure a provider."""
        self._provider = provider
        self._measure = measure

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    @property
    def offer(self) -> Offer:
        return self._provider.offer

    def model_rules(self, base_model: str) -> ModelRules | None:
        return self._provider.model_rules(base_model)

    def model_names(self) -> tuple[str, ...]:
        return self._provider.model_names()

    async def check(self, base_models: Collection[str]) -> None:
        with self._measure.call("check"):
            await self._provider.check(base_models)

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        with self._measure.call("check_data"):
            await self._provider.check_data(base_model, training=training, validation=validation)

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        with self._measure.call("upload"):
            return await self._provider.upload(dataset, base_model=base_model)

    async def delete_data(self, scope: str) -> None:
        with self._measure.call("delete_data"):
            await self._provider.delete_data(scope)

    async def submit(self, request: JobRequest) -> JobSnapshot:
        with self._measure.call("submit"):
            return await self._provider.submit(request)

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        with self._measure.call("find"):
            return await self._provider.find(key)

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        with self._measure.call("observe"):
            return await self._provider.observe(job_ids)

    async def running_series(self, job_id: str) -> tuple[MetricPoint, ...]:
        """The metrics of a running job; none where its provider is not asked for them."""
        if not isinstance(self._provider, RunningMetrics):
            return ()
        with self._measure.call("running_series"):
            return await self._provider.running_series(job_id)

    async def cancel(self, job_id: str) -> None:
        with self._measure.call("cancel"):
            await self._provider.cancel(job_id)

    async def deploy(self, model: str, *, name: str) -> Deployment:
        with self._measure.call("deploy"):
            return await self._provider.deploy(model, name=name)

    async def undeploy(self, name: str) -> None:
        with self._measure.call("undeploy"):
            await self._provider.undeploy(name)

    def inference(self, model: str) -> AbstractAsyncContextManager[InferenceSession]:
        return self._inference(model)

    @asynccontextmanager
    async def _inference(self, model: str) -> AsyncIterator[InferenceSession]:
        async with self._provider.inference(model) as session:
            yield _MeasuredSession(session, self._measure)

    async def delete_model(self, model: str) -> None:
        with self._measure.call("delete_model"):
            await self._provider.delete_model(model)

    async def aclose(self) -> None:
        with self._measure.call("aclose"):
            await self._provider.aclose()


class _MeasuredSession:
    """A session whose answers are measured."""

    def __init__(self, session: InferenceSession, measure: Measure) -> None:
        self._session = session
        self._measure = measure
        self.batch_size = session.batch_size
        self.concurrency = session.concurrency

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        with self._measure.call("answer"):
            return await self._session.answer(conversations, max_output_tokens=max_output_tokens)
