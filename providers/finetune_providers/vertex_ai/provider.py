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
from dataclasses import replace
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
    Provider,
    ProviderConfig,
)
from finetune_providers.calls import CREATE_TIMEOUT_S, READ_TIMEOUT_S, Calls, RequestPacer
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    TransientProviderError,
)
from finetune_providers.hosted import FromCatalog, poll_interval_s
from finetune_providers.vertex_ai.account import Account
from finetune_providers.vertex_ai.bucket import Bucket
from finetune_providers.vertex_ai.errors import asked, explain
from finetune_providers.vertex_ai.jobs import Jobs
from finetune_providers.vertex_ai.metrics import METRICS
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
    number_of,
    tuning_job,
)

_LOG = logging.getLogger(__name__)


def create(config: ProviderConfig, *, credentials: Any = None) -> Provider:
    """Make the provider of a Vertex AI project; no I/O.

    Args:
        config: Needs `region`, `data_uri`, and `project` or a service account key that names one.
        credentials: `google.auth` credentials to use instead of those of the Secret.

    Raises:
        PermanentProviderError: Something is missing or malformed, with `field`.
    """
    return VertexAI(config, credentials=credentials)


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
        secrets = (*config.credentials.values(), *self._account.secrets)
        pacer = RequestPacer(config.requests_per_minute)
        self._calls = Calls(explain, secrets=secrets, pacer=pacer)
        # Threads of their own: a purchase that waited in vain for one would be in doubt.
        self._purchases = Calls(explain, secrets=secrets, pacer=pacer)
        self._sleep = sleep
        self._filter_finds = False
        self._jobs = Jobs(self._account, self._read, secrets)

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
        await self._jobs.page(pageSize=1)

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

        return await self._jobs.snapshot(await self._purchases.create(call))

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        """All jobs of the key.

        What the filter of `list` understands is not documented: until it has found a job once, "none" is believed
        only of the whole list.
        """
        found: list[Any] = []
        try:
            found = await self._jobs.with_key(key, filter=f'labels.{KEY_LABEL}="{key}"')
        except PermanentProviderError as error:
            # What is wrong with more than the filter is raised by the whole list again.
            _LOG.info("the list of tuning jobs takes no filter: %s", error)
        self._filter_finds |= bool(found)
        if not found and not self._filter_finds:
            found = await self._jobs.with_key(key)
        return tuple([replace(await self._jobs.snapshot(job), key=key) for job in found])

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        wanted = {number_of(job_id): job_id for job_id in job_ids}
        seen: dict[str, Any] = {}
        if wanted:
            async for job in self._jobs.all():
                if number_of(job.name) in wanted:
                    seen[wanted[number_of(job.name)]] = job
                if len(seen) == len(wanted):
                    break
        for job_id in wanted.values():
            if job_id not in seen:
                with suppress(JobNotFound):
                    seen[job_id] = await self._jobs.get(job_id)
        return {job_id: await self._jobs.snapshot(job) for job_id, job in seen.items()}

    async def cancel(self, job_id: str) -> None:
        name = self._jobs.name(job_id)
        try:
            await self._read(
                lambda: self._account.ask("POST", f"{name}:cancel", body=api.CancelTuningJobRequest())
            )
        except JobNotFound as error:
            raise JobNotFound(f"there is no tuning job {job_id}: {error}") from None
        except PermanentProviderError:
            # One that has ended, or is ending so already, is refused and shall stay as it is.
            state = (await self._jobs.get(job_id)).state
            ends = state in STATES and STATES[state].terminal
            if not ends and state != api.JobState.JOB_STATE_CANCELLING:
                raise

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
            made = await self._jobs.made_with(model)
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

    async def delete_model(self, model: str) -> None:
        """Take the model from its endpoint, and delete both."""
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/endpoints/[^/]+", model):
            raise PermanentProviderError(
                f"{model!r} is no endpoint of Vertex AI; a fine-tuned model is named "
                "projects/<project>/locations/<location>/endpoints/<number>"
            )
        made = await self._jobs.made_with(model) or Made("", "", (model,))
        await delete_made(self._account, made, self._read, self._sleep)

    async def aclose(self) -> None:
        self._calls.close()
        self._purchases.close()
        await asyncio.to_thread(self._account.close)

    async def _read(self, call: Callable[[], Any], *, timeout_s: float = READ_TIMEOUT_S) -> Any:
        """Make a blocking call that may be repeated."""
        return await self._calls.read(lambda: self._calls.in_thread(asked, call), timeout_s=timeout_s)
