"""The provider `Cohere`: fine-tuned chat models over the company's own SDK.

A job and the model that it makes are one object there: its name is the job's key, deleting it is the only way of
cancelling it. Cohere ended the service on 2025-09-15; what stands here follows its SDK 7.3.1 and its archived pages.
Source: docs.cohere.com reference of /v1/finetuning, /v1/datasets and /v2/chat, read 2026-11-23.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
from cohere import AsyncClientV2
from cohere.finetuning import BaseModel, FinetunedModel, Hyperparameters, Settings

from finetune_providers.base import (
    Capabilities,
    Conversation,
    DatasetFile,
    Deployment,
    DeploymentState,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    JobState,
    MetricPoint,
    ModelRules,
    ProviderConfig,
)
from finetune_providers.bounded import ASKED_ENCODING, httpx_hook
from finetune_providers.calls import CREATE_TIMEOUT_S, INFERENCE_TIMEOUT_S, READ_TIMEOUT_S, Calls
from finetune_providers.catalog import load_catalog
from finetune_providers.cohere.datasets import MIN_TRAINING_EXAMPLES, Datasets, check_dataset
from finetune_providers.cohere.wire import (
    API_KEY,
    ASLEEP,
    METRICS,
    NATIVE_STATES,
    SUFFIX,
    answer_text,
    explain,
    items,
    native_parameters,
    options,
    point,
    present,
    snapshot,
    thinned,
    timeout,
)
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.hosted import FromCatalog, poll_interval_s
from finetune_providers.tombstones import Tombstones

BASE_URL = "https://api.cohere.com"

_PAGE = 50
_METRIC_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of the list of fine-tuned models; `total` is how many there are on all pages, where that is said."""

    models: Sequence[Any]
    token: str | None
    total: int | None


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
        self._series: dict[str, tuple[MetricPoint, ...]] = {}
        self._series_tries: defaultdict[str, int] = defaultdict(int)

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
        await self._page("", size=1)

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
        page = _Page((), "", None)
        while page.token is not None:
            page = await self._page(page.token)
            for native in page.models:
                if native.name == key:
                    job = await self._told(native)
                    found[job.job_id] = job
        for job in await self._calls.in_thread(self._tombstones.of_key, key):
            found.setdefault(job.job_id, job)
        return tuple(found.values())

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        wanted = set(job_ids)
        natives = await self._listed(wanted)
        jobs = {job_id: await self._told(native) for job_id, native in natives.items()}
        for job_id in wanted - jobs.keys():  # a list may lag: only a 404 says that there is no such job
            job = await self._job(job_id)
            if job is not None:
                jobs[job_id] = job
        return {job_id: await self._with_series(job) for job_id, job in jobs.items()}

    async def _listed(self, wanted: Set[str]) -> Mapping[str, Any]:
        """What the list shows of some jobs, as far as that takes fewer calls than asking for each of them."""
        found: dict[str, Any] = {}
        page, seen = _Page((), "", None), 0
        while len(found) < len(wanted) and page.token is not None:
            page = await self._page(page.token)
            shown = {native.id: native for native in page.models if isinstance(native.id, str)}
            found.update({job_id: shown[job_id] for job_id in shown.keys() & wanted})
            seen += len(page.models)
            if page.total is not None and page.models:
                pages_left = math.ceil((page.total - seen) / len(page.models))
                if len(wanted) - len(found) <= pages_left:
                    break
        return found

    async def _job(self, job_id: str) -> JobSnapshot | None:
        native = await self._model(job_id)
        if native is not None:
            return await self._told(native)
        return await self._calls.in_thread(self._tombstones.of_job, job_id)

    async def _told(self, native: Any) -> JobSnapshot:
        """A job as it is shown; one that is shown as deleted as it was before, where that is known."""
        job = snapshot(native)
        if job.native_state != "STATUS_DELETED":
            return job
        return await self._calls.in_thread(self._tombstones.of_job, job.job_id) or job

    async def _page(self, token: str, *, size: int = _PAGE) -> _Page:
        """Fine-tuned models, the newest first; the first page has the token "".

        Raises:
            PermanentProviderError: There is no such list: the service is gone.
        """
        try:
            answer = await self._calls.read(
                lambda: self._client.finetuning.list_finetuned_models(
                    page_size=size,
                    page_token=token or None,
                    order_by="created_at desc",
                    request_options=options(),
                )
            )
        except JobNotFound as error:
            raise PermanentProviderError(
                f"Cohere has no list of fine-tuned models any more: it ended the service on 2025-09-15 ({error})"
            ) from error
        models = items(answer, "finetuned_models")
        following = present(answer, "next_page_token", optional=True) or None
        if following is not None and (not isinstance(following, str) or following == token):
            raise UnexpectedResponse("Cohere's list of fine-tuned models has no end")
        total = answer.total_size
        return _Page(models, following, total if isinstance(total, int) else None)

    async def _model(self, job_id: str) -> Any | None:
        """A fine-tuned model as Cohere shows it; None where it says that there is none."""
        try:
            answer = await self._calls.read(
                lambda: self._client.finetuning.get_finetuned_model(job_id, request_options=options())
            )
        except JobNotFound:
            return None
        return present(answer, "finetuned_model")

    async def _with_series(self, job: JobSnapshot) -> JobSnapshot:
        """A job that succeeded, with its metrics; not yet ended while they cannot be read, for some looks."""
        if job.state is not JobState.SUCCEEDED:
            return job
        if job.job_id not in self._series:
            try:
                self._series[job.job_id] = await self._metrics(job.job_id)
            except ProviderError as error:
                self._series_tries[job.job_id] += 1
                passes = isinstance(error, TransientProviderError)
                if passes and self._series_tries[job.job_id] < _METRIC_TRIES:
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

    async def _metrics(self, job_id: str) -> tuple[MetricPoint, ...]:
        points: dict[int, MetricPoint] = {}
        token: str | None = ""
        while token is not None:
            answer = await self._step_metrics(job_id, token)
            points.update({each.step: each for each in map(point, items(answer, "step_metrics"))})
            following = present(answer, "next_page_token", optional=True) or None
            token = following if following != token else None
        return thinned([points[step] for step in sorted(points) if points[step].values])

    async def _step_metrics(self, job_id: str, token: str) -> Any:
        return await self._calls.read(
            lambda: self._client.finetuning.list_training_step_metrics(
                job_id, page_size=_PAGE, page_token=token or None, request_options=options()
            )
        )

    async def cancel(self, job_id: str) -> None:
        """Delete the job; what it was is kept on this machine first.

        A job that ends between the look at it and its deletion is deleted with its model.
        """
        native = await self._model(job_id)
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
        try:
            await self._calls.read(
                lambda: self._client.finetuning.delete_finetuned_model(job.job_id, request_options=options())
            )
        except JobNotFound:
            return

    # -- models ---------------------------------------------------------------------------------------------

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """Nothing is to be done: a fine-tuned model answers by its id."""
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        """Nothing was deployed."""

    def inference(self, model: str) -> AbstractAsyncContextManager[InferenceSession]:
        @asynccontextmanager
        async def session() -> AsyncIterator[InferenceSession]:
            yield _Session(self, model)

        return session()

    async def chat(self, model: str, conversation: Conversation, *, max_output_tokens: int) -> str:
        """One answer of a model.

        Raises:
            TransientProviderError: Among others while the model is being woken up.
        """
        try:
            answer = await self._calls.read(
                lambda: self._client.chat(
                    model=model,
                    messages=[dict(message) for message in conversation],
                    max_tokens=max_output_tokens,
                    temperature=0.0,
                    request_options=options(INFERENCE_TIMEOUT_S),
                ),
                timeout_s=INFERENCE_TIMEOUT_S,
            )
        except PermanentProviderError as error:
            native = await self._model(model.removesuffix(SUFFIX)) if model.endswith(SUFFIX) else None
            if native is not None and native.status in ASLEEP:
                raise TransientProviderError(f"{model} is {native.status}: {error}") from error
            raise
        return answer_text(answer)

    async def delete_model(self, model: str) -> None:
        native = await self._model(model.removesuffix(SUFFIX))
        if native is not None and native.status != "STATUS_DELETED":
            await self._delete(snapshot(native))

    async def aclose(self) -> None:
        await self._http.aclose()
        self._calls.close()


class _Session:
    """A model that answers one conversation a call."""

    batch_size = 1
    concurrency = 4

    def __init__(self, provider: CohereProvider, model: str) -> None:
        self._provider, self._model = provider, model

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        return [
            await self._provider.chat(self._model, each, max_output_tokens=max_output_tokens)
            for each in conversations
        ]
