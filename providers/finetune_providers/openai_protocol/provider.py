"""The part of a provider that is the same at OpenAI and at Azure."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from finetune_providers.base import (
    Capabilities,
    DatasetFile,
    Deployment,
    DeploymentState,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    MetricPoint,
)
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
)
from finetune_providers.hosted import FromCatalog
from finetune_providers.openai_protocol.account import Account
from finetune_providers.openai_protocol.chat import ChatSession
from finetune_providers.openai_protocol.errors import CREDENTIALS
from finetune_providers.openai_protocol.files import Files
from finetune_providers.openai_protocol.listing import JOBS, Lists
from finetune_providers.openai_protocol.metrics import Metrics
from finetune_providers.openai_protocol.parameters import native_hyperparameters
from finetune_providers.openai_protocol.parsing import snapshot_of, text

_PAGE = 100
_OBSERVED_PAGES = 10
_SEED_RANGE = 2**31


class OpenAIProtocol(FromCatalog, ABC):
    """A provider over the fine-tuning API; what the companies do differently is in the methods that they replace."""

    answers_within_s = 600.0
    """OpenAI says of a new model that it may take several minutes until its name is known."""

    def __init__(self, account: Account) -> None:
        """Work with an account."""
        super().__init__(account.catalog)
        self._account = account
        self._client = account.client
        self._calls = account.calls
        self._lists = Lists(account.client, account.calls)
        self._files = Files(account, self._lists, ready=self._ready)
        self._metrics = Metrics(self._lists)
        self._silent_since: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<{self._account.company} provider>"

    @property
    def capabilities(self) -> Capabilities:
        return self._account.capabilities

    # -- what differs ---------------------------------------------------------------------------------------

    @abstractmethod
    def _key_of(self, job: object) -> str | None:
        """The key that a job was created with."""

    @abstractmethod
    def _marks(self, request: JobRequest) -> dict[str, Any]:
        """Arguments of the create call by which the job is found again."""

    @abstractmethod
    def _filter(self, key: str) -> dict[str, Any]:
        """Arguments of the list call that leave out other jobs, where there are any."""

    async def _ready(self, file: object) -> str:
        """The id of a file, once jobs can take it."""
        return text(file, "id")

    # -- checks ---------------------------------------------------------------------------------------------

    async def check(self, base_models: Collection[str]) -> None:
        """See `Provider.check`; the call is the list of jobs, which needs the permission that fine-tuning needs."""
        for name in sorted(base_models):
            if self.model_rules(name) is None:
                raise PermanentProviderError(
                    f"base model {name!r} is not known to fine-tune at {self._account.company}; known: "
                    f"{', '.join(self.model_names())}. Where it does, add it to spec.models of the FinetuneProvider",
                    field="baseModels",
                )
        await self._lists.page(JOBS, limit=1)

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """See `Provider.check_data`."""
        limits = self._account.limits
        await self._calls.in_thread(limits.check, training, field="training")
        if validation is not None:
            await self._calls.in_thread(limits.check, validation, field="validation")

    # -- data -----------------------------------------------------------------------------------------------

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        """See `Provider.upload`; a file's name says what is in it."""
        return await self._files.upload(dataset)

    async def delete_data(self, scope: str) -> None:
        """See `Provider.delete_data`."""
        await self._files.delete(scope)

    # -- jobs -----------------------------------------------------------------------------------------------

    async def submit(self, request: JobRequest) -> JobSnapshot:
        """See `Provider.submit`."""
        wanted = native_hyperparameters(request.hyperparameters)
        arguments = {
            "model": request.base_model,
            "training_file": request.training,
            "method": {"type": "supervised", "supervised": {"hyperparameters": wanted}},
            "seed": request.seed % _SEED_RANGE,
            **self._marks(request),
        }
        if request.validation is not None:
            arguments["validation_file"] = request.validation

        async def create() -> JobSnapshot:
            return self._snapshot(await self._client.fine_tuning.jobs.create(**arguments))

        try:
            return await self._calls.create(create)
        except JobNotFound as error:  # it is the model or a file that was not found
            raise PermanentProviderError(str(error), field=error.field) from None

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        """See `Provider.find`; every job that the list shows is compared here, whatever the server filters."""
        only = self._filter(key)
        try:
            return await self._found(key, only)
        except PermanentProviderError as error:
            if not only or isinstance(error, JobNotFound) or error.field == CREDENTIALS:
                raise
        return await self._found(key, {})  # a service that does not know the filter, and says so

    async def _found(self, key: str, only: Mapping[str, Any]) -> tuple[JobSnapshot, ...]:
        found = []
        async for page in self._lists.pages(JOBS, limit=_PAGE, **only):
            found += [self._snapshot(job) for job in page if self._key_of(job) == key]
        return tuple(found)

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        """See `Provider.observe`; the list begins with the newest jobs, and older ones are asked one by one."""
        missing = set(job_ids)
        self._metrics.forget_others(missing)
        seen: dict[str, JobSnapshot] = {}
        if not missing:
            return seen
        async for page in self._lists.pages(JOBS, most=_OBSERVED_PAGES, limit=_PAGE):
            for job in page:
                if getattr(job, "id", None) in missing:
                    snapshot = self._snapshot(job)
                    seen[snapshot.job_id] = snapshot
                    missing.discard(snapshot.job_id)
            if not missing:
                break
        for job_id in sorted(missing):
            single = await self._job(job_id)
            if single is not None:
                seen[job_id] = single
        return {job_id: await self._metrics.added_to(job) for job_id, job in seen.items()}

    async def cancel(self, job_id: str) -> None:
        """See `Provider.cancel`; the companies refuse to cancel a job that has ended."""
        try:
            await self._calls.read(lambda: self._client.fine_tuning.jobs.cancel(job_id))
        except JobNotFound:
            raise JobNotFound(f"{self._account.company} has no fine-tuning job {job_id}") from None
        except PermanentProviderError:
            job = await self._job(job_id)
            if job is None:
                raise JobNotFound(f"{self._account.company} has no fine-tuning job {job_id}") from None
            if not job.state.terminal:
                raise

    async def _job(self, job_id: str) -> JobSnapshot | None:
        try:
            job = await self._calls.read(lambda: self._client.fine_tuning.jobs.retrieve(job_id))
        except JobNotFound:
            return None
        return self._snapshot(job)

    def _snapshot(self, job: object) -> JobSnapshot:
        return snapshot_of(job, key=self._key_of(job))

    async def running_series(self, job_id: str) -> tuple[MetricPoint, ...]:
        """See `RunningMetrics.running_series`."""
        return await self._metrics.of_running(job_id)

    # -- models ---------------------------------------------------------------------------------------------

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """See `Provider.deploy`; a model that answers by itself is active at once."""
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        """See `Provider.undeploy`."""

    def inference(self, model: str) -> AbstractAsyncContextManager[InferenceSession]:
        """See `Provider.inference`."""
        return self._session(model)

    @asynccontextmanager
    async def _session(self, model: str) -> AsyncIterator[InferenceSession]:
        yield ChatSession(self._account.chat, self._calls, model, missing=self._missing)

    def _missing(self, model: str, error: JobNotFound | None) -> ProviderError | None:
        """What it means that a model is not known; without an error: it has answered."""
        if error is None:
            self._silent_since.pop(model, None)
            return None
        if self.model_rules(model) is not None:
            return error  # base models are not new
        since = self._silent_since.setdefault(model, time.monotonic())
        if time.monotonic() - since >= self.answers_within_s:
            return error
        return TransientProviderError(
            f"{error}; what is new may need some minutes until it answers", retry_after_s=10.0
        )

    async def delete_model(self, model: str) -> None:
        """See `Provider.delete_model`."""
        await self._unless_gone(lambda: self._client.models.delete(model))

    async def aclose(self) -> None:
        """See `Provider.aclose`."""
        await self._client.close()
        if self._account.chat is not self._client:
            await self._account.chat.close()
        self._calls.close()

    # -- calls ----------------------------------------------------------------------------------------------

    async def _unless_gone(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await self._calls.read(call)
        except JobNotFound:
            return
