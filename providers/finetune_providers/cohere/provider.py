"""The provider `Cohere`: fine-tuned chat models over the company's own SDK.

A job and the model that it makes are one object there: its name is the job's key, deleting it is the only way of
cancelling it. Cohere ended the service on 2025-09-15; what stands here follows its SDK 7.3.1 and its archived pages.
Source: docs.cohere.com reference of /v1/finetuning, /v1/datasets and /v2/chat, read 2026-11-23.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
from cohere import AsyncClientV2
from cohere.finetuning import BaseModel, FinetunedModel, Hyperparameters, Settings

from finetune_providers.base import (
    Capabilities,
    DatasetFile,
    Deployment,
    DeploymentState,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    JobState,
    ModelRules,
    ProviderConfig,
)
from finetune_providers.bounded import ASKED_ENCODING, httpx_hook
from finetune_providers.calls import CREATE_TIMEOUT_S, READ_TIMEOUT_S, Calls
from finetune_providers.catalog import load_catalog
from finetune_providers.cohere.chat import ChatSession
from finetune_providers.cohere.datasets import MIN_TRAINING_EXAMPLES, Datasets, check_dataset
from finetune_providers.cohere.finetuned_models import FinetunedModels
from finetune_providers.cohere.metrics import Metrics
from finetune_providers.cohere.wire import (
    API_KEY,
    METRICS,
    NATIVE_STATES,
    SUFFIX,
    explain,
    native_parameters,
    options,
    present,
    snapshot,
    timeout,
)
from finetune_providers.errors import JobNotFound, PermanentProviderError
from finetune_providers.hosted import FromCatalog, poll_interval_s
from finetune_providers.tombstones import Tombstones

BASE_URL = "https://api.cohere.com"


def create(
    config: ProviderConfig, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> CohereProvider:
    """Make the provider for one account. No I/O.

    Args:
        config: The account; its Secret has the key CO_API_KEY.
        sleep: Waits between two looks at a dataset that Cohere is checking.

    Raises:
        PermanentProviderError: The configuration is wrong.
    """
    key = config.credentials.get(API_KEY, "").strip()
    if not key:
        raise PermanentProviderError(
            f"Cohere needs an API key: name a Secret with the key {API_KEY}",
            field="spec.credentialsSecretRef",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise PermanentProviderError(
            f"{API_KEY} in the Secret holds a space, a line break or a letter that no API key has; write it again",
            field="spec.credentialsSecretRef",
        )
    return CohereProvider(config, key, sleep=sleep)


class CohereProvider(FromCatalog):
    """Fine-tuning at Cohere; see `finetune_providers.base.Provider` for the promises."""

    def __init__(
        self, config: ProviderConfig, key: str, *, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        super().__init__(load_catalog(config))
        # A client of our own: the SDK's follows redirects, which would send a create call a second time.
        self._http = httpx.AsyncClient(
            timeout=timeout(READ_TIMEOUT_S),
            follow_redirects=False,
            headers={"Accept-Encoding": ASKED_ENCODING},
            event_hooks={"response": [httpx_hook(httpx.AsyncByteStream)]},
        )
        self._client = AsyncClientV2(
            api_key=key,
            base_url=config.endpoint or BASE_URL,  # never from the environment of this process
            client_name="finetune-operator",
            max_retries=0,
            httpx_client=self._http,
            log_warning_experimental_features=False,
        )
        self._calls = Calls(explain, requests_per_minute=config.requests_per_minute, secrets=[key])
        self._tombstones = Tombstones(config.work_dir / "deleted-jobs", named_by_key=True)
        self._poll_interval_s = poll_interval_s(config.options)
        self._datasets = Datasets(
            self._client,
            self._calls,
            folder=config.work_dir / "converted",
            poll_interval_s=self._poll_interval_s,
            sleep=sleep,
        )
        self._models = FinetunedModels(self._client, self._calls)
        self._metrics = Metrics(self._client, self._calls)

    # -- what it offers -------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            finds_by_key=True,
            idempotent_create=False,
            lookup_window_s=None,
            metrics=frozenset(METRICS.values()),
            poll_interval_s=self._poll_interval_s,
            deletes_models=True,
            native_states=NATIVE_STATES,
            appears_within_s=300.0,
        )

    async def check(self, base_models: Collection[str]) -> None:
        for name in base_models:
            self._rules(name)
        await self._models.page("", size=1)

    def _rules(self, base_model: str) -> ModelRules:
        rules = self._catalog.rules(base_model)
        if rules is None:
            raise PermanentProviderError(
                f"base model {base_model!r} is not known at Cohere; known: {', '.join(self._catalog.names())}. If "
                "Cohere fine-tunes it, add it to spec.models of the FinetuneProvider",
                field="baseModels",
            )
        return rules

    # -- datasets -------------------------------------------------------------------------------------------

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """Check the sizes, and that there are two different conversations to train on and to set aside.

        Source: docs.cohere.com chat-starting-the-training and datasets, archived.
        """
        await self._calls.in_thread(check_dataset, training, "training", least=MIN_TRAINING_EXAMPLES)
        if validation is not None:
            # It is never trained on, but made a dataset of its own, of which Cohere wants as much.
            await self._calls.in_thread(check_dataset, validation, "validation", least=MIN_TRAINING_EXAMPLES)

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        return await self._datasets.upload(dataset)

    async def delete_data(self, scope: str) -> None:
        await self._datasets.delete(scope)

    # -- jobs -----------------------------------------------------------------------------------------------

    async def submit(self, request: JobRequest) -> JobSnapshot:
        """Make one create call. The validation data is not given to it: Cohere evaluates on data of its own choice."""
        rules = self._rules(request.base_model)
        wanted = FinetunedModel(
            name=request.key,
            settings=Settings(
                base_model=BaseModel(
                    base_type=rules.traits.get("baseType", "BASE_TYPE_CHAT"),
                    name=rules.traits.get("name", request.base_model),
                ),
                dataset_id=request.training,
                hyperparameters=Hyperparameters(**native_parameters(request.hyperparameters)),
            ),
        )

        async def call() -> JobSnapshot:
            answer = await self._client.finetuning.create_finetuned_model(
                request=wanted, request_options=options(CREATE_TIMEOUT_S)
            )
            return snapshot(present(answer, "finetuned_model"))

        return await self._calls.create(call)

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        found: dict[str, JobSnapshot] = {}
        async for page in self._models.pages():
            for native in page.models:
                if native.name == key:
                    job = await self._told(native)
                    found[job.job_id] = job
        for job in await self._calls.in_thread(self._tombstones.of_key, key):
            found.setdefault(job.job_id, job)
        return tuple(found.values())

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        wanted = set(job_ids)
        natives = await self._models.listed(wanted)
        jobs = {job_id: await self._told(native) for job_id, native in natives.items()}
        for job_id in wanted - jobs.keys():  # a list may lag: only a 404 says that there is no such job
            job = await self._job(job_id)
            if job is not None:
                jobs[job_id] = job
        return {job_id: await self._metrics.added_to(job) for job_id, job in jobs.items()}

    async def _job(self, job_id: str) -> JobSnapshot | None:
        native = await self._models.get(job_id)
        if native is not None:
            return await self._told(native)
        return await self._calls.in_thread(self._tombstones.of_job, job_id)

    async def _told(self, native: Any) -> JobSnapshot:
        """A job as it is shown; one that is shown as deleted as it was before, where that is known."""
        job = snapshot(native)
        if job.native_state != "STATUS_DELETED":
            return job
        return await self._calls.in_thread(self._tombstones.of_job, job.job_id) or job

    async def cancel(self, job_id: str) -> None:
        """Delete the job; what it was is kept on this machine first.

        A job that ends between the look at it and its deletion is deleted with its model.
        """
        native = await self._models.get(job_id)
        if native is None:
            if await self._calls.in_thread(self._tombstones.of_job, job_id) is None:
                raise JobNotFound(f"there is no fine-tuned model {job_id} at Cohere")
            return
        job = snapshot(native)
        if not job.state.terminal:
            await self._delete(job)

    async def _delete(self, job: JobSnapshot) -> None:
        if not job.state.terminal:
            job = replace(
                job,
                state=JobState.CANCELLED,
                native_state="STATUS_DELETED",
                message="cancelled, which is to say deleted",
                finished_at=datetime.now(UTC),
            )
        await self._calls.in_thread(self._tombstones.write, job)
        await self._models.delete(job.job_id)

    # -- models ---------------------------------------------------------------------------------------------

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """Nothing is to be done: a fine-tuned model answers by its id."""
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        """Nothing was deployed."""

    def inference(self, model: str) -> AbstractAsyncContextManager[InferenceSession]:
        @asynccontextmanager
        async def session() -> AsyncIterator[InferenceSession]:
            yield ChatSession(self._client, self._calls, self._models, model=model)

        return session()

    async def delete_model(self, model: str) -> None:
        native = await self._models.get(model.removesuffix(SUFFIX))
        if native is not None and native.status != "STATUS_DELETED":
            await self._delete(snapshot(native))

    async def aclose(self) -> None:
        await self._http.aclose()
        self._calls.close()
