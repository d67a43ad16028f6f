"""Vertex AI: supervised tuning of Gemini models, with datasets in Cloud Storage.

Sources: google-cloud-aiplatform 2.7 (`google.cloud.aiplatform_v1`), docs.cloud.google.com "Tune Gemini models by using
supervised fine-tuning" and "Tuning API", read 2026-11-23. Google's clients block, so each call is made in a thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import requests
from google.cloud import aiplatform_v1 as api
from google.rpc import code_pb2

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
    Message,
    MetricPoint,
    ModelRules,
    Offer,
    ParameterValue,
    Provider,
    ProviderConfig,
)
from finetune_providers.calls import (
    CREATE_TIMEOUT_S,
    INFERENCE_TIMEOUT_S,
    READ_TIMEOUT_S,
    UPLOAD_TIMEOUT_S,
    Calls,
    clean,
)
from finetune_providers.catalog import load_catalog
from finetune_providers.conversations import (
    Converted,
    read_conversations,
    split_system,
    upload_name,
    write_converted,
)
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.vertex_ai_account import Account, explain, location_of
from finetune_providers.vertex_ai_metrics import METRICS, read_series

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

DIALECT = "gemini"
KEY_LABEL = "finetune_key"

MOST_BYTES = 10**9
MOST_EXAMPLES = 10_000_000
MOST_VALIDATION_EXAMPLES = 5_000
FREE_VALIDATION_EXAMPLES = 1_000
VALIDATION_SHARE = 0.3

_PAGE = 100
_LONGEST_DISPLAY_NAME = 128
_LONGEST_LABEL = 63
_DELETION_WAIT_S = 120.0
_ROLES = {"user": "user", "assistant": "model"}

STATES = {
    api.JobState.JOB_STATE_QUEUED: JobState.PENDING,
    api.JobState.JOB_STATE_PENDING: JobState.PENDING,
    api.JobState.JOB_STATE_RUNNING: JobState.RUNNING,
    api.JobState.JOB_STATE_UPDATING: JobState.RUNNING,
    api.JobState.JOB_STATE_PAUSED: JobState.RUNNING,
    api.JobState.JOB_STATE_CANCELLING: JobState.RUNNING,
    api.JobState.JOB_STATE_SUCCEEDED: JobState.SUCCEEDED,
    api.JobState.JOB_STATE_PARTIALLY_SUCCEEDED: JobState.SUCCEEDED,
    api.JobState.JOB_STATE_FAILED: JobState.FAILED,
    api.JobState.JOB_STATE_EXPIRED: JobState.FAILED,
    api.JobState.JOB_STATE_CANCELLED: JobState.CANCELLED,
}

ADAPTER_SIZES = {
    1: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_ONE,
    2: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_TWO,
    4: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_FOUR,
    8: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_EIGHT,
    16: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_SIXTEEN,
    32: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_THIRTY_TWO,
}


def create(config: ProviderConfig, *, credentials: Any = None) -> Provider:
    """Make the provider of a Vertex AI project; no I/O.

    Args:
        config: Needs `region`, `data_uri`, and `project` or a service account key that names one.
        credentials: `google.auth` credentials to use instead of those of the Secret.

    Raises:
        PermanentProviderError: Something is missing or malformed, with `field`.
    """
    return VertexAI(config, credentials=credentials)


@dataclass(frozen=True, slots=True)
class _Made:
    """What a job has made. `model` is "" where the job did not say."""

    base_model: str
    model: str
    endpoints: tuple[str, ...]


class VertexAI:
    """One project and location."""

    def __init__(
        self,
        config: ProviderConfig,
        *,
        credentials: Any = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """See `create`."""
        self._config = config
        self._catalog = load_catalog(config)
        self._bucket, self._prefix = _bucket_and_prefix(config.data_uri)
        self._account = Account(config, credentials=credentials)
        self._secrets = (*config.credentials.values(), *self._account.secrets)
        self._calls = Calls(explain, requests_per_minute=config.requests_per_minute, secrets=self._secrets)
        self._sleep = sleep
        self._filter_finds = False
        self._series: dict[str, tuple[tuple[MetricPoint, ...], str]] = {}
        self._made: dict[str, _Made] = {}

    def __repr__(self) -> str:
        return f"VertexAI({self._config.name!r}, {self._account.parent!r})"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            finds_by_key=True,
            idempotent_create=False,
            lookup_window_s=None,
            metrics=frozenset(METRICS.values()),
            poll_interval_s=float(cast("str", self._config.options.get("pollIntervalSeconds", 30))),
            deletes_models=True,
            appears_within_s=300.0,
        )

    @property
    def offer(self) -> Offer:
        return self._catalog.offer

    def model_rules(self, base_model: str) -> ModelRules | None:
        return self._catalog.rules(base_model)

    def model_names(self) -> tuple[str, ...]:
        return self._catalog.names()

    # -- checks ---------------------------------------------------------------------------------------------

    async def check(self, base_models: Collection[str]) -> None:
        for name in base_models:
            rules = self.model_rules(name)
            if rules is None:
                raise PermanentProviderError(
                    f"base model {name!r} is not known; known: {', '.join(self.model_names())}; "
                    "add it to spec.models of the FinetuneProvider if Vertex AI tunes it",
                    field="baseModels",
                )
            regions = rules.traits.get("regions", "").split()
            if regions and self._account.region not in regions:
                raise PermanentProviderError(
                    f"base model {name!r} is tuned in {' and '.join(regions)} only, not in "
                    f"{self._account.region}; change spec.region of the FinetuneProvider",
                    field="spec.region",
                )
        await self._page(page_size=1)

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        await self._calls.in_thread(_check_file, training, "training")
        if validation is None:
            return
        most = MOST_VALIDATION_EXAMPLES
        if validation.examples > FREE_VALIDATION_EXAMPLES:
            most = max(FREE_VALIDATION_EXAMPLES, min(most, int(VALIDATION_SHARE * training.examples)))
        if validation.examples > most:
            raise PermanentProviderError(
                f"{validation.examples} validation examples; Vertex AI takes {most} for {training.examples} training "
                f"examples: at most {MOST_VALIDATION_EXAMPLES}, and of more than {FREE_VALIDATION_EXAMPLES} no more "
                f"than {VALIDATION_SHARE:.0%} of the training examples; leave some out",
                field="validation",
            )
        await self._calls.in_thread(_check_file, validation, "validation")

    # -- datasets -------------------------------------------------------------------------------------------

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        name = self._prefix + upload_name(dataset, dialect=DIALECT)
        there = await self._read(
            lambda: (
                self._account.storage()
                .bucket(self._bucket)
                .get_blob(name, retry=None, timeout=READ_TIMEOUT_S)
            )
        )
        if there is None:
            await self._read(lambda: self._send(dataset, name), timeout_s=UPLOAD_TIMEOUT_S)
        return f"gs://{self._bucket}/{name}"

    def _send(self, dataset: DatasetFile, name: str) -> None:
        self._config.work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._config.work_dir, prefix="upload-") as folder:
            file = write_converted(dataset, Path(folder) / "data.jsonl", to_contents)
            self._account.storage().bucket(self._bucket).blob(name).upload_from_filename(
                str(file), content_type="application/jsonl", retry=None, timeout=UPLOAD_TIMEOUT_S
            )

    async def delete_data(self, scope: str) -> None:
        options = {"retry": None, "timeout": READ_TIMEOUT_S}

        def listed() -> list[Any]:
            client = self._account.storage()
            return list(client.list_blobs(self._bucket, prefix=f"{self._prefix}{scope}.", **options))

        for blob in await self._read(listed):
            with suppress(JobNotFound):
                await self._read(lambda blob=blob: blob.delete(**options))

    # -- jobs -----------------------------------------------------------------------------------------------

    async def submit(self, request: JobRequest) -> JobSnapshot:
        job = _tuning_job(request)

        def create() -> Any:
            client = self._account.buying()
            return client.create_tuning_job(
                parent=self._account.parent, tuning_job=job, retry=None, timeout=CREATE_TIMEOUT_S
            )

        async def call() -> Any:
            return _job_of(await self._calls.in_thread(_asked, create))

        return await self._snapshot(await self._calls.create(call))

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        """All jobs of the key.

        What the filter of `list` understands is not documented: until it has found a job once, "none" is believed
        only of the whole list.
        """
        found: list[Any] = []
        try:
            found = await self._with_key(key, filter=f'labels.{KEY_LABEL}="{key}"')
        except JobNotFound:
            raise
        except PermanentProviderError as error:
            if error.field:
                raise
            _LOG.info("the list of tuning jobs takes no filter: %s", error)
        self._filter_finds |= bool(found)
        if not found and not self._filter_finds:
            found = await self._with_key(key)
        return tuple([await self._snapshot(job) for job in found])

    async def _with_key(self, key: str, **query: str) -> list[Any]:
        return [job async for job in self._jobs(**query) if _has_key(job, key)]

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        wanted = {_number(job_id): job_id for job_id in job_ids}
        seen: dict[str, Any] = {}
        if wanted:
            async for job in self._jobs():
                if _number(job.name) in wanted:
                    seen[wanted[_number(job.name)]] = job
                if len(seen) == len(wanted):
                    break
        for job_id in wanted.values():
            if job_id not in seen:
                with suppress(JobNotFound):
                    seen[job_id] = await self._get(job_id)
        return {job_id: await self._snapshot(job) for job_id, job in seen.items()}

    async def cancel(self, job_id: str) -> None:
        name = self._name(job_id)
        try:
            await self._read(
                lambda: self._account.tuning().cancel_tuning_job(
                    name=name, retry=None, timeout=READ_TIMEOUT_S
                )
            )
        except JobNotFound as error:
            raise JobNotFound(f"there is no tuning job {job_id}: {error}") from None
        except PermanentProviderError:
            # One that has ended is refused, and shall stay as it is.
            state = STATES.get((await self._get(job_id)).state)
            if state is None or not state.terminal:
                raise

    async def _get(self, job_id: str) -> Any:
        name = self._name(job_id)
        return _job_of(
            await self._read(
                lambda: self._account.tuning().get_tuning_job(name=name, retry=None, timeout=READ_TIMEOUT_S)
            )
        )

    async def _jobs(self, **query: str) -> AsyncIterator[Any]:
        """All jobs, page by page, as plain protocol buffers."""
        token = ""
        while True:
            page = await self._page(page_size=_PAGE, page_token=token, **query)
            for job in page.tuning_jobs:
                yield _job_of(job)
            token = page.next_page_token
            if not token:
                return

    async def _page(self, **query: Any) -> Any:
        request = api.ListTuningJobsRequest(parent=self._account.parent, **query)
        return await self._read(
            lambda: next(
                iter(
                    self._account.tuning().list_tuning_jobs(request, retry=None, timeout=READ_TIMEOUT_S).pages
                )
            )
        )

    def _name(self, job_id: str) -> str:
        name = job_id if "/" in job_id else f"{self._account.parent}/tuningJobs/{job_id}"
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/tuningJobs/[^/]+", name):
            raise JobNotFound(f"{job_id!r} is no name of a tuning job")
        return name

    async def _snapshot(self, job: Any) -> JobSnapshot:
        state, word = await self._state(job)
        message = clean(job.error.message, self._secrets) if job.HasField("error") else ""
        made = _made(job)
        succeeded = state is JobState.SUCCEEDED
        if succeeded and not made.endpoints:
            state, succeeded = JobState.FAILED, False
            message = f"{word} without an endpoint that answers; {message}".rstrip("; ")
        for endpoint in made.endpoints:
            self._made[endpoint] = made
        series: tuple[MetricPoint, ...] = ()
        if succeeded:
            series, trouble = await self._metrics(job)
            message = message or trouble
        return JobSnapshot(
            job_id=job.name,
            key=job.labels.get(KEY_LABEL) or None,
            state=state,
            native_state=word,
            message=message,
            fine_tuned_model=made.endpoints[0] if succeeded else None,
            series=series,
            trained_tokens=_trained_tokens(job),
            created_at=_time(job, "create_time"),
            finished_at=(_time(job, "end_time") or _time(job, "update_time")) if state.terminal else None,
        )

    async def _state(self, job: Any) -> tuple[JobState, str]:
        known = STATES.get(job.state)
        if known is not None:
            return known, api.JobState(job.state).name
        # The installed package has no word for it: ask for the job as it is written.
        try:
            written = await self._read(
                lambda: self._account.plain_json(job.name, timeout_s=READ_TIMEOUT_S).get("state")
            )
        except (PermanentProviderError, UnexpectedResponse):
            written = None
        return JobState.RUNNING, str(written or f"state {job.state}")

    async def _metrics(self, job: Any) -> tuple[tuple[MetricPoint, ...], str]:
        """A finished job's series, and why there is none where they may not be read."""
        if job.name not in self._series:
            try:
                series = await read_series(
                    self._account, job.experiment, self._read, timeout_s=READ_TIMEOUT_S
                )
                self._series[job.name] = (series, "")
            except (PermanentProviderError, UnexpectedResponse) as error:
                self._series[job.name] = ((), f"its metrics could not be read: {error}")
        return self._series[job.name]

    # -- models ---------------------------------------------------------------------------------------------

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """Nothing to do: Vertex AI puts a tuned model behind an endpoint by itself."""
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        """Nothing to do; see `delete_model`."""

    @asynccontextmanager
    async def inference(self, model: str) -> AsyncIterator[InferenceSession]:
        base_model = model
        if "/" in model:
            made = await self._made_with(model)
            base_model, resource = made.base_model if made is not None else "", model
        else:
            resource = self._published(model)
        rules = self.model_rules(base_model)
        yield _Session(self._read, self._account, resource, rules.traits if rules is not None else {})

    def _published(self, model: str) -> str:
        rules = self.model_rules(model)
        region = self._account.region
        if rules is not None and rules.traits.get("served") == "multiRegion":
            region = "eu" if region.startswith("europe-") else "us"
        return f"projects/{self._account.project}/locations/{region}/publishers/google/models/{model}"

    async def _made_with(self, endpoint: str) -> _Made | None:
        """What the job of an endpoint has made; None where no job says that it made the endpoint."""
        if endpoint not in self._made:
            async for job in self._jobs():
                made = _made(job)
                if endpoint in made.endpoints:
                    self._made[endpoint] = made
                    break
        return self._made.get(endpoint)

    async def delete_model(self, model: str) -> None:
        """Take the model from its endpoint, and delete both."""
        made = await self._made_with(model)
        endpoints = made.endpoints if made is not None else (model,)
        models = {made.model} if made is not None and made.model else set()
        for endpoint in endpoints:
            models |= await self._empty(endpoint)
        for name in sorted({each.partition("@")[0] for each in models}):
            client = self._account.models(location_of(name))
            await self._gone(client.delete_model, name=name)
        for endpoint in endpoints:
            client = self._account.model_endpoints(location_of(endpoint))
            await self._gone(client.delete_endpoint, name=endpoint)

    async def _empty(self, endpoint: str) -> set[str]:
        """Undeploy an endpoint's models; returns their names."""
        client = self._account.model_endpoints(location_of(endpoint))
        try:
            found = await self._read(
                lambda: client.get_endpoint(name=endpoint, retry=None, timeout=READ_TIMEOUT_S)
            )
        except JobNotFound:
            return set()
        deployed = list(api.Endpoint.pb(found).deployed_models)
        for each in deployed:
            request = api.UndeployModelRequest(endpoint=endpoint, deployed_model_id=each.id)
            await self._gone(client.undeploy_model, request)
        return {each.model for each in deployed if each.model}

    async def _gone(self, delete: Callable[..., Any], *request: Any, **names: str) -> None:
        """Start a deletion and wait for its end; what is gone already is no error.

        Raises:
            TransientProviderError: It takes longer; the same call goes on with it.
        """
        with suppress(JobNotFound):
            started = await self._read(
                lambda: delete(*request, **names, retry=None, timeout=READ_TIMEOUT_S).operation
            )
            waited, pause = 0.0, 0.1
            operation: Mapping[str, Any] = {"done": False}
            while not operation.get("done"):
                if waited >= _DELETION_WAIT_S:
                    raise TransientProviderError(
                        f"operation {started.name} has not ended", retry_after_s=60.0
                    )
                await self._sleep(pause)
                waited, pause = waited + pause, min(2 * pause, 5.0)
                operation = await self._read(
                    lambda: self._account.plain_json(started.name, timeout_s=READ_TIMEOUT_S)
                )
            _check_operation(operation)

    async def aclose(self) -> None:
        self._calls.close()
        await asyncio.to_thread(self._account.close)

    async def _read(self, call: Callable[[], T], *, timeout_s: float = READ_TIMEOUT_S) -> T:
        """Make a blocking call that may be repeated."""
        return await self._calls.read(lambda: self._calls.in_thread(_asked, call), timeout_s=timeout_s)


class _Session:
    """A model that answers one conversation a call."""

    batch_size = 1
    concurrency = 4

    def __init__(
        self, read: Callable[..., Awaitable[Any]], account: Account, resource: str, traits: Mapping[str, str]
    ) -> None:
        self._read, self._account, self._resource, self._traits = read, account, resource, traits

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        return [await self._one(conversation, max_output_tokens) for conversation in conversations]

    async def _one(self, conversation: Conversation, max_output_tokens: int) -> str:
        converted = to_contents(list(conversation))
        request = api.GenerateContentRequest(
            model=self._resource,
            contents=converted["contents"],
            system_instruction=converted.get("systemInstruction"),
            generation_config=_generation(self._traits, max_output_tokens),
        )
        answer = await self._read(
            lambda: self._account.prediction(location_of(self._resource)).generate_content(
                request, retry=None, timeout=INFERENCE_TIMEOUT_S
            ),
            timeout_s=INFERENCE_TIMEOUT_S,
        )
        return _text(api.GenerateContentResponse.pb(answer))


def _generation(traits: Mapping[str, str], max_output_tokens: int) -> dict[str, Any]:
    """How to answer: greedily, and with as little thinking as the model allows, which is what tuning teaches.

    What a model thinks counts towards its output, so that its least budget is added.
    """
    spare = int(traits.get("thinkingTokens", 0))
    config: dict[str, Any] = {
        "temperature": 0.0,
        "candidate_count": 1,
        "max_output_tokens": max_output_tokens + spare,
    }
    if "thinkingBudget" in traits:
        config["thinking_config"] = {"thinking_budget": int(traits["thinkingBudget"])}
    elif "thinkingLevel" in traits:
        config["thinking_config"] = {"thinking_level": traits["thinkingLevel"]}
    return config


def _text(answer: Any) -> str:
    """The text of the first candidate; "" where the content was refused."""
    if answer.candidates:
        parts = answer.candidates[0].content.parts
        return "".join(part.text for part in parts if not part.thought)
    if answer.HasField("prompt_feedback"):
        return ""
    raise UnexpectedResponse("Vertex AI answered neither with a candidate nor with a reason for having none")


def to_contents(conversation: list[Message]) -> Converted:
    """A conversation in Gemini's form.

    Source: docs.cloud.google.com gemini-supervised-tuning-prepare, read 2026-11-23.
    """
    system, turns = split_system(conversation)
    converted: Converted = {}
    if system is not None:
        converted["systemInstruction"] = {"role": "system", "parts": [{"text": system}]}
    converted["contents"] = [
        {"role": _ROLES[turn["role"]], "parts": [{"text": turn["content"]}]} for turn in turns
    ]
    return converted


def _tuning_job(request: JobRequest) -> Any:
    """The job to ask for; the key is in a label and in the name that people see."""
    if _label(request.key) != request.key:
        raise PermanentProviderError(f"key {request.key!r} is no label of Google Cloud")
    trial = request.labels.get("trial", "")
    display = f"{trial[: _LONGEST_DISPLAY_NAME - 1 - len(request.key)]} {request.key}".strip()
    labels = {f"finetune_{_label(name)}": _label(value) for name, value in request.labels.items()}
    return api.TuningJob(
        base_model=request.base_model,
        tuned_model_display_name=display,
        labels={**labels, KEY_LABEL: request.key},
        supervised_tuning_spec=api.SupervisedTuningSpec(
            training_dataset_uri=request.training,
            validation_dataset_uri=request.validation or "",
            hyper_parameters=_hyperparameters(request.hyperparameters),
            export_last_checkpoint_only=True,  # each checkpoint would get an endpoint of its own
        ),
    )


def _hyperparameters(values: Mapping[str, ParameterValue]) -> Any:
    native = api.SupervisedHyperParameters()
    for name, value in values.items():
        try:
            if name == "epochs":
                native.epoch_count = int(value)
            elif name == "learningRateMultiplier":
                native.learning_rate_multiplier = float(value)
            elif name == "loraRank":
                native.adapter_size = ADAPTER_SIZES[int(value)]
            else:
                raise PermanentProviderError(
                    f"Vertex AI takes no {name}; it takes epochs, learningRateMultiplier and loraRank",
                    field=f"parameters.{name}",
                )
        except (KeyError, ValueError):
            raise PermanentProviderError(
                f"{name} cannot be {value!r}"
                + (f"; it is one of {', '.join(map(str, ADAPTER_SIZES))}" if name == "loraRank" else ""),
                field=f"parameters.{name}",
            ) from None
    return native


def _label(text: str) -> str:
    """A text as Google Cloud takes it for a label."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LONGEST_LABEL]


def _asked(call: Callable[[], T]) -> T:
    """Make a call of Google's packages, which stumble over an answer of another shape than they expect."""
    try:
        return call()
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        if isinstance(error, requests.RequestException) or explain(error) is not None:
            raise
        raise UnexpectedResponse(f"Vertex AI answered what it should not: {type(error).__name__}") from None


def _job_of(job: Any) -> Any:
    """A job as a plain protocol buffer, where an unknown state is a number and no warning."""
    plain = api.TuningJob.pb(job)
    if not plain.name:
        raise UnexpectedResponse("Vertex AI answered with a tuning job without a name")
    return plain


def _number(job_id: str) -> str:
    # Google names the project by its number where we name it by its id.
    return job_id.rpartition("/")[2]


def _has_key(job: Any, key: str) -> bool:
    return bool(job.labels.get(KEY_LABEL) == key or job.tuned_model_display_name.split()[-1:] == [key])


def _made(job: Any) -> _Made:
    tuned = job.tuned_model
    endpoints = [tuned.endpoint, *(each.endpoint for each in tuned.checkpoints)]
    return _Made(
        job.base_model.rpartition("/")[2], tuned.model, tuple(dict.fromkeys(filter(None, endpoints)))
    )


def _trained_tokens(job: Any) -> int | None:
    """Tokens billed: those of the dataset, once an epoch.

    The count is the dataset's alone: in a job of 10 epochs it is the sum of `user_input_token_distribution` and
    `user_output_token_distribution`.
    """
    tokens = job.tuning_data_stats.supervised_tuning_data_stats.total_billable_token_count
    epochs = job.supervised_tuning_spec.hyper_parameters.epoch_count
    return int(tokens * epochs) if tokens and epochs else None


def _time(job: Any, field: str) -> datetime | None:
    if not job.HasField(field):
        return None
    return cast("datetime", getattr(job, field).ToDatetime(tzinfo=UTC))


def _check_operation(operation: Mapping[str, Any]) -> None:
    """Raise what a long-running operation has failed with."""
    error = operation.get("error") or {}
    code, message = error.get("code", code_pb2.OK), str(error.get("message", "it failed"))
    if code in {code_pb2.OK, code_pb2.NOT_FOUND}:
        return
    passing = {
        code_pb2.UNAVAILABLE,
        code_pb2.ABORTED,
        code_pb2.INTERNAL,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.RESOURCE_EXHAUSTED,
    }
    raise (TransientProviderError if code in passing else PermanentProviderError)(message)


def _bucket_and_prefix(uri: str | None) -> tuple[str, str]:
    found = re.fullmatch(r"gs://([a-z0-9][a-z0-9._-]+)((?:/[^/]+)*)/?", uri or "")
    if found is None:
        raise PermanentProviderError(
            f"{'the place for datasets is missing' if not uri else f'{uri!r} is no folder of Cloud Storage'}; "
            "write gs://bucket/folder, in the region of the jobs",
            field="spec.dataUri",
        )
    return found[1], f"{found[2][1:]}/" if found[2] else ""


def _check_file(dataset: DatasetFile, field: str) -> None:
    """Hold a dataset against what Gemini can be taught. Blocking."""
    if dataset.examples > MOST_EXAMPLES:
        raise PermanentProviderError(
            f"{dataset.examples} examples; Vertex AI takes at most {MOST_EXAMPLES}; leave some out",
            field=field,
        )
    size = 0
    for line, conversation in enumerate(read_conversations(dataset), start=1):
        trouble = _trouble(conversation)
        if trouble:
            raise PermanentProviderError(f"line {line}: {trouble}", field=field)
        size += len(json.dumps(to_contents(conversation), ensure_ascii=False).encode()) + 1
        if size > MOST_BYTES:
            raise PermanentProviderError(
                f"line {line}: the file becomes larger than {MOST_BYTES} bytes, which is the most that Vertex AI "
                "takes; leave some examples out",
                field=field,
            )


def _trouble(conversation: list[Message]) -> str:
    _, turns = split_system(conversation)
    for number, message in enumerate(conversation, start=1):
        if not message["content"].strip():
            return (
                f"message {number} is empty; Gemini takes none without text; write one or leave the line out"
            )
    if any(turn["role"] not in _ROLES for turn in turns):
        return (
            "Gemini takes a system message as the first one only, then user and assistant; move or merge it"
        )
    if not turns or turns[0]["role"] != "user" or turns[-1]["role"] != "assistant":
        return "Gemini learns from a user's message first and the assistant's last; add what is missing"
    return ""
