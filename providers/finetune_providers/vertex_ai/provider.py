"""Vertex AI: supervised tuning of Gemini models, with datasets in Cloud Storage.

Sources: google-cloud-aiplatform 2.7 (`google.cloud.aiplatform_v1`), docs.cloud.google.com "Tune Gemini models by using
supervised fine-tuning" and "Tuning API", read 2026-11-23. Google's clients block, so each call is made in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from google.cloud import aiplatform_v1 as api

from finetune_providers.base import (
    Capabilities,
    DatasetFile,
    Deployment,
    DeploymentState,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    JobState,
    MetricPoint,
    Provider,
    ProviderConfig,
)
from finetune_providers.calls import CREATE_TIMEOUT_S, READ_TIMEOUT_S, Calls, RequestPacer, clean
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
)
from finetune_providers.hosted import FromCatalog, poll_interval_s
from finetune_providers.vertex_ai.account import Account
from finetune_providers.vertex_ai.bucket import Bucket
from finetune_providers.vertex_ai.errors import asked, explain
from finetune_providers.vertex_ai.metrics import METRICS, read_series
from finetune_providers.vertex_ai.models import Session, delete_made
from finetune_providers.vertex_ai.wire import (
    FREE_VALIDATION_EXAMPLES,
    KEY_LABEL,
    MOST_VALIDATION_EXAMPLES,
    STATES,
    VALIDATION_SHARE,
    Made,
    check_file,
    check_traits,
    checked_job,
    has_key,
    number_of,
    time_of,
    trained_tokens,
    tuning_job,
    what_it_made,
)

_LOG = logging.getLogger(__name__)

_PAGE = 100
_MOST_LOOKS = 5
_MOST_LOOKS_IN_AN_OUTAGE = 60


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
class _Metrics:
    """What is known of a job's metrics; not yet final, they are asked for again."""

    series: tuple[MetricPoint, ...] = ()
    trouble: str = ""
    tries: int = 0
    final: bool = False


class VertexAI(FromCatalog):
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
        super().__init__(load_catalog(config))
        self._poll_interval_s = poll_interval_s(config.options)
        for name, rules in self._catalog.models.items():
            check_traits(name, rules.traits)
        self._account = Account(config, credentials=credentials)
        self._bucket = Bucket(self._account, config.data_uri)
        self._secrets = (*config.credentials.values(), *self._account.secrets)
        pacer = RequestPacer(config.requests_per_minute)
        self._calls = Calls(explain, secrets=self._secrets, pacer=pacer)
        # Threads of their own: a purchase that waited in vain for one would be in doubt.
        self._purchases = Calls(explain, secrets=self._secrets, pacer=pacer)
        self._sleep = sleep
        self._filter_finds = False
        self._series: dict[str, _Metrics] = {}
        self._made: dict[str, Made] = {}
        self._unserved: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"VertexAI({self._config.name!r}, {self._account.parent!r})"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            finds_by_key=True,
            idempotent_create=False,
            lookup_window_s=None,
            metrics=frozenset(METRICS.values()),
            poll_interval_s=self._poll_interval_s,
            deletes_models=True,
            native_states=frozenset(state.name for state in STATES),
            appears_within_s=300.0,
        )

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
        await self._page(pageSize=1)

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        await self._calls.in_thread(check_file, training, "training")
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
        await self._calls.in_thread(check_file, validation, "validation")

    # -- datasets -------------------------------------------------------------------------------------------

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        return await self._bucket.put(dataset, self._config.work_dir, self._read)

    async def delete_data(self, scope: str) -> None:
        await self._bucket.delete(f"{scope}.", self._read)

    # -- jobs -----------------------------------------------------------------------------------------------

    async def submit(self, request: JobRequest) -> JobSnapshot:
        job = tuning_job(request)
        try:
            # So that nothing but the purchase itself can take long or be in doubt.
            await self._purchases.read(lambda: self._purchases.in_thread(asked, self._account.log_in))
        except TransientProviderError as error:
            raise NotReached(str(error), retry_after_s=error.retry_after_s) from None

        def create() -> Any:
            return self._account.buy(
                f"{self._account.parent}/tuningJobs", api.TuningJob, body=job, timeout_s=CREATE_TIMEOUT_S
            )

        async def call() -> Any:
            return checked_job(await self._purchases.in_thread(asked, create))

        return await self._snapshot(await self._purchases.create(call))

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        """All jobs of the key.

        What the filter of `list` understands is not documented: until it has found a job once, "none" is believed
        only of the whole list.
        """
        found: list[Any] = []
        try:
            found = await self._with_key(key, filter=f'labels.{KEY_LABEL}="{key}"')
        except PermanentProviderError as error:
            # What is wrong with more than the filter is raised by the whole list again.
            _LOG.info("the list of tuning jobs takes no filter: %s", error)
        self._filter_finds |= bool(found)
        if not found and not self._filter_finds:
            found = await self._with_key(key)
        return tuple([replace(await self._snapshot(job), key=key) for job in found])

    async def _with_key(self, key: str, **query: str) -> list[Any]:
        return [job async for job in self._jobs(**query) if has_key(job, key)]

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        wanted = {number_of(job_id): job_id for job_id in job_ids}
        seen: dict[str, Any] = {}
        if wanted:
            async for job in self._jobs():
                if number_of(job.name) in wanted:
                    seen[wanted[number_of(job.name)]] = job
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
                lambda: self._account.ask("POST", f"{name}:cancel", body=api.CancelTuningJobRequest())
            )
        except JobNotFound as error:
            raise JobNotFound(f"there is no tuning job {job_id}: {error}") from None
        except PermanentProviderError:
            # One that has ended, or is ending so already, is refused and shall stay as it is.
            state = (await self._get(job_id)).state
            ends = state in STATES and STATES[state].terminal
            if not ends and state != api.JobState.JOB_STATE_CANCELLING:
                raise

    async def _get(self, job_id: str) -> Any:
        name = self._name(job_id)
        return checked_job(await self._read(lambda: self._account.ask("GET", name, api.TuningJob)))

    async def _jobs(self, **query: str) -> AsyncIterator[Any]:
        """All jobs, page by page."""
        token = ""
        while True:
            page = await self._page(pageSize=_PAGE, pageToken=token, **query)
            for job in page.tuning_jobs:
                yield checked_job(job)
            token = page.next_page_token
            if not token:
                return

    async def _page(self, **query: Any) -> Any:
        path = f"{self._account.parent}/tuningJobs"
        return await self._read(
            lambda: self._account.ask("GET", path, api.ListTuningJobsResponse, query=tuple(query.items()))
        )

    def _name(self, job_id: str) -> str:
        name = job_id if "/" in job_id else f"{self._account.parent}/tuningJobs/{job_id}"
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/tuningJobs/[^/]+", name):
            raise JobNotFound(f"{job_id!r} is no name of a tuning job")
        return name

    async def _snapshot(self, job: Any) -> JobSnapshot:
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
            written = (await self._read(lambda: self._account.ask("GET", job.name))).get("state")
        return JobState.RUNNING, str(written or "unknown")

    async def _metrics(self, job: Any) -> _Metrics:
        """A finished job's series; after some tries without an answer, none, and why."""
        known = self._series.get(job.name, _Metrics())
        if known.final:
            return known
        tries = known.tries + 1
        try:
            known = _Metrics(await read_series(self._account, job.experiment, self._read), final=True)
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
        traits = rules.traits if rules is not None else {}
        yield Session(self._account, resource, self._read, traits=traits)

    def _published(self, model: str) -> str:
        rules = self.model_rules(model)
        region = self._account.region
        if rules is not None and rules.traits.get("served") == "multiRegion":
            region = "eu" if region.startswith("europe-") else "us"
        return f"projects/{self._account.project}/locations/{region}/publishers/google/models/{model}"

    async def _made_with(self, endpoint: str) -> Made | None:
        """What the job of an endpoint has made; None where no job says that it made the endpoint."""
        if endpoint not in self._made:
            async for job in self._jobs():
                made = what_it_made(job)
                if endpoint in made.endpoints:
                    self._made[endpoint] = made
                    break
        return self._made.get(endpoint)

    async def delete_model(self, model: str) -> None:
        """Take the model from its endpoint, and delete both."""
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/endpoints/[^/]+", model):
            raise PermanentProviderError(
                f"{model!r} is no endpoint of Vertex AI; a fine-tuned model is named "
                "projects/<project>/locations/<location>/endpoints/<number>"
            )
        made = await self._made_with(model) or Made("", "", (model,))
        await delete_made(self._account, made, self._read, self._sleep)

    async def aclose(self) -> None:
        self._calls.close()
        self._purchases.close()
        await asyncio.to_thread(self._account.close)

    async def _read(self, call: Callable[[], Any], *, timeout_s: float = READ_TIMEOUT_S) -> Any:
        """Make a blocking call that may be repeated."""
        return await self._calls.read(lambda: self._calls.in_thread(asked, call), timeout_s=timeout_s)
