"""The provider `Bedrock`: model customization jobs of Amazon Bedrock, with datasets in S3.

A job is bought with its key as its name and as its clientRequestToken: AWS ignores a repeated token, refuses a second
job of the same name, and gives a job by its name.

Sources: botocore's service models `bedrock` 2023-04-20 and `bedrock-runtime` 2023-09-30 (boto3 1.44.5), and
docs.aws.amazon.com/bedrock/latest/userguide, read 2026-11-24.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from finetune_providers.base import (
    Capabilities,
    DatasetFile,
    Deployment,
    InferenceSession,
    JobRequest,
    JobSnapshot,
    JobState,
    ModelRules,
    ProviderConfig,
)
from finetune_providers.bedrock.aws import CONTROL, STORAGE, Answer, Aws, Clients, items_of, text_of
from finetune_providers.bedrock.bucket import Bucket
from finetune_providers.bedrock.data import check_datasets, converter, dialect_of
from finetune_providers.bedrock.errors import SECRET_FIELD, Conflict, OutOfDate
from finetune_providers.bedrock.jobs import NATIVE_STATES, Jobs, is_bought_with
from finetune_providers.bedrock.models import Deployments, Session
from finetune_providers.bedrock.requests import create_parameters
from finetune_providers.bedrock.settings import Settings, settings_of
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.hosted import FromCatalog


def create(
    config: ProviderConfig, *, clients: Clients | None = None, clock: Callable[[], float] = time.monotonic
) -> BedrockProvider:
    """Make the provider for one account; `clock` gives monotonic seconds. No I/O.

    Raises:
        PermanentProviderError: The resource lacks something, or has it in the wrong form.
    """
    return BedrockProvider(config, settings_of(config), clients or Clients(config), clock=clock)


class BedrockProvider(FromCatalog):
    """Amazon Bedrock; see `finetune_providers.base.Provider` for the promises."""

    def __init__(
        self, config: ProviderConfig, settings: Settings, clients: Clients, *, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        super().__init__(load_catalog(config))
        secrets = tuple(config.credentials.values())
        self._aws = Aws(clients, config)
        self._bucket = Bucket(self._aws, settings, config.work_dir)
        self._jobs = Jobs(self._aws, secrets)
        self._deployments = Deployments(
            self._aws,
            self._catalog,
            provisioned=settings.provisioned,
            secrets=secrets,
            clock=clock,
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            finds_by_key=True,
            idempotent_create=True,
            lookup_window_s=None,
            metrics=frozenset({"trainingLoss", "validationLoss"}),
            poll_interval_s=self._settings.poll_interval_s,
            deletes_models=True,
            native_states=NATIVE_STATES,
            appears_within_s=300.0,
            needs_deployment=True,
        )

    def _rules(self, base_model: str) -> ModelRules:
        rules = self._catalog.rules(base_model)
        if rules is None:
            raise PermanentProviderError(
                f"base model {base_model!r} is not known; known: {', '.join(self._catalog.names())}; add it to "
                "spec.models of the FinetuneProvider",
                field="baseModels",
            )
        return rules

    async def check(self, base_models: Collection[str]) -> None:
        """Ask Bedrock what it fine-tunes in the region, and S3 for the bucket."""
        try:
            await self._check(base_models)
        except OutOfDate as error:
            raise PermanentProviderError(str(error), field=SECRET_FIELD) from None

    async def _check(self, base_models: Collection[str]) -> None:
        for name in base_models:
            self._check_serving(name, self._rules(name))
        answer = await self._aws.read(CONTROL, "list_foundation_models", byCustomizationType="FINE_TUNING")
        offered = {text_of(model, "modelId") for model in items_of(answer, "modelSummaries")}
        for name in base_models:
            if name not in offered and not name.startswith("arn:"):
                raise PermanentProviderError(
                    f"Bedrock does not fine-tune {name} for this account in {self._settings.region}; it does "
                    f"{', '.join(sorted(offered)) or 'nothing there'}; change spec.region or the base model",
                    field="baseModels",
                )
        try:
            await self._aws.read(STORAGE, "head_bucket", Bucket=self._settings.bucket)
        except JobNotFound:
            raise PermanentProviderError(
                f"there is no bucket {self._settings.bucket}", field="spec.dataUri"
            ) from None

    def _check_serving(self, base_model: str, rules: ModelRules) -> None:
        if rules.traits.get("serving") == "provisioned" and not self._settings.provisioned:
            raise PermanentProviderError(
                f"a fine-tuned {base_model} answers only through Provisioned Throughput, which is billed by the "
                'hour; set spec.options.provisionedThroughput of the FinetuneProvider to "Allow" to have it '
                'bought for the time of each evaluation, or to "Never" where the objective is validationLoss',
                field="baseModels",
            )

    # -- data ---------------------------------------------------------------------------------------------------

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        rules = self._rules(base_model)
        await self._aws.calls.in_thread(
            check_datasets, base_model, rules, training=training, validation=validation
        )

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        rules = self._rules(base_model)
        return await self._bucket.put(dataset, converter(base_model, rules), dialect=dialect_of(rules))

    async def delete_data(self, scope: str) -> None:
        await self._bucket.delete(scope)

    # -- jobs ---------------------------------------------------------------------------------------------------

    async def submit(self, request: JobRequest) -> JobSnapshot:
        parameters = create_parameters(request, self._rules(request.base_model), self._settings)
        try:
            answer = await self._aws.create(CONTROL, "create_model_customization_job", **parameters)
        except Conflict as refusal:
            return await self._first_of(request.key, refusal)
        try:
            job_id = text_of(answer, "jobArn")
        except UnexpectedResponse as error:
            raise AmbiguousProviderError(str(error)) from None
        return JobSnapshot(job_id, request.key, JobState.PENDING, "InProgress")

    async def _first_of(self, key: str, refusal: Conflict) -> JobSnapshot:
        """The job that a name belongs to, where a create call was refused because the name is taken."""
        try:
            found = await self.find(key)
            hidden = not found and "job name" in str(refusal) and await self._jobs.named(key) is None
        except ProviderError as error:
            raise AmbiguousProviderError(f"{refusal}; its job could not be looked up: {error}") from None
        if hidden:
            raise AmbiguousProviderError(f"{refusal}; its job is not to be seen yet")
        if not found:
            raise refusal
        return found[0]

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        job = await self._jobs.named(key)
        if job is None:
            return ()
        if is_bought_with(key, job):
            return (self._jobs.snapshot(job, arn="outputModelArn"),)
        # Nothing is written of what AWS shows where it has several jobs of a name: ours may be behind this one.
        behind = [
            text_of(summary, "jobArn")
            async for page in self._jobs.pages(nameContains=key)
            for summary in items_of(page, "modelCustomizationJobSummaries")
            if summary.get("jobName") == key and summary.get("jobArn") != job.get("jobArn")
        ]
        found = [await self._jobs.named(arn) for arn in behind]
        ours = [each for each in found if each is not None and is_bought_with(key, each)]
        return tuple(self._jobs.snapshot(each, arn="outputModelArn") for each in ours)

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        wanted: set[str] = set(job_ids)
        seen: dict[str, JobSnapshot] = {}
        if not wanted:
            return seen
        pages = 0
        async for page in self._jobs.pages():
            for summary in items_of(page, "modelCustomizationJobSummaries"):
                if text_of(summary, "jobArn") in wanted:
                    snapshot = self._jobs.snapshot(summary, arn="customModelArn")
                    seen[snapshot.job_id] = snapshot
            pages += 1
            # A list may lag or be long: beyond as many pages as there are jobs, asking for each is no worse.
            if wanted == seen.keys() or pages == len(wanted):
                break
        for job_id in sorted(wanted):
            if job_id not in seen or seen[job_id].state.terminal:  # a list knows neither messages nor metrics
                job = await self._jobs.named(job_id)
                if job is not None:
                    seen[job_id] = await self._with_series(job)
        return seen

    async def _with_series(self, job: Answer) -> JobSnapshot:
        snapshot = self._jobs.snapshot(job, arn="outputModelArn")
        if snapshot.state is not JobState.SUCCEEDED:
            return snapshot
        text_of(job, "outputModelArn")
        return replace(snapshot, series=await self._bucket.series(snapshot.job_id, job))

    async def cancel(self, job_id: str) -> None:
        try:
            await self._aws.read(CONTROL, "stop_model_customization_job", jobIdentifier=job_id)
        except JobNotFound:
            raise JobNotFound(f"there is no job {job_id}") from None
        except PermanentProviderError as error:
            job = await self._jobs.named(job_id)
            if job is None:
                raise JobNotFound(f"there is no job {job_id}") from None
            # What has ended cannot be stopped, and is left as it is.
            if text_of(job, "status") not in {"Stopping", "Stopped", "Completed", "Failed"}:
                if isinstance(error, Conflict):
                    raise TransientProviderError(f"{job_id} cannot be stopped now: {error}") from None
                raise

    # -- models -------------------------------------------------------------------------------------------------

    async def deploy(self, model: str, *, name: str) -> Deployment:
        return await self._deployments.deploy(model, name)

    async def undeploy(self, name: str) -> None:
        await self._deployments.undeploy(name)

    @asynccontextmanager
    async def inference(self, model: str) -> AsyncIterator[InferenceSession]:
        if ":custom-model/" in model:
            raise PermanentProviderError(f"{model} answers only through a deployment of it")
        rules = self._catalog.rules(model)
        yield Session(self._aws, model if rules is None else rules.traits.get("inference", model))

    async def delete_model(self, model: str) -> None:
        try:
            await self._aws.read(CONTROL, "delete_custom_model", modelIdentifier=model)
        except JobNotFound:
            return
        except Conflict as error:
            raise TransientProviderError(f"{model} cannot be deleted now: {error}") from None

    async def aclose(self) -> None:
        self._aws.calls.close()
        self._aws.clients.close()
