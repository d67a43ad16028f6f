"""A fine-tuning company: its servers' state, and the provider that talks to it.

The company outlives the operator, as a real one does: a test that ends an engine and starts another gives both
the same company. It records every purchase.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

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
    Offer,
    OfferState,
    ParameterRule,
    ProviderConfig,
)
from finetune_providers.errors import JobNotFound, PermanentProviderError, ProviderError

RULES = ModelRules(
    {
        "epochs": ParameterRule("int", minimum=1, maximum=50, default=3),
        "learningRate": ParameterRule("float", minimum=0, maximum=1, exclusive_minimum=True),
        "batchSize": ParameterRule("int", allowed=(4, 8, 16)),
    }
)

CAPABILITIES = Capabilities(
    finds_by_key=True,
    idempotent_create=False,
    lookup_window_s=None,
    metrics=frozenset({"validationLoss", "validationTokenAccuracy"}),
    poll_interval_s=0.01,
    deletes_models=True,
)


OFFER = Offer(OfferState.OFFERED, "tiny models are trained")


def even_quality(_: JobRequest) -> float:
    """Every model gets three of four answers right."""
    return 0.75


@dataclass
class Company:
    """The servers' state, and switches for what they do.

    Attributes:
        polls: Looks at a job until it has finished.
        quality: Share of right answers of the model that a job makes.
        hold: Jobs stay as they are while it is true.
        faults: Errors to raise instead of (`before`) or after (`after`) taking a create call, in turn.
        on_submit: Called when a create call arrives.
        on_upload: Called with each dataset that arrives.
        fails: Says why a job fails, or None.
        losses: Validation losses that a job reports at its end, step 0 first. Where there are live metrics it reports
            one more at each look while it runs.
        files: Uploads by their scope.
        deployments: Looks at each deployment that is there; it is active after `deploy_looks` of them.
        deployed: Every call of `deploy`, by name.
    """

    polls: int = 2
    quality: Callable[[JobRequest], float] = even_quality
    base_quality: float = 0.25
    hold: bool = False
    before: list[ProviderError] = field(default_factory=list)
    after: list[ProviderError] = field(default_factory=list)
    on_submit: Callable[[], object] = lambda: None
    on_upload: Callable[[DatasetFile], object] = lambda _: None
    fails: Callable[[JobRequest], str | None] = lambda _: None
    losses: Callable[[JobRequest], Sequence[float]] = lambda _: (2.0, 1.0)
    inference_fault: ProviderError | None = None
    upload_fault: ProviderError | None = None
    delete_fault: ProviderError | None = None
    data_fault: ProviderError | None = None
    delete_data_fault: ProviderError | None = None
    cancel_fault: ProviderError | None = None
    deploy_fault: ProviderError | None = None
    undeploy_fault: ProviderError | None = None
    deploy_looks: int = 0
    offer: Offer = OFFER
    capabilities: Capabilities = CAPABILITIES
    purchases: list[JobRequest] = field(default_factory=list)
    jobs: dict[str, JobSnapshot] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    deleted_models: list[str] = field(default_factory=list)
    observed: int = 0
    files: dict[str, set[str]] = field(default_factory=dict)
    deployments: dict[str, int] = field(default_factory=dict)
    deployed: list[str] = field(default_factory=list)
    _looks: dict[str, int] = field(default_factory=dict)

    def take(self, request: JobRequest) -> JobSnapshot:
        """Sell a job."""
        self.purchases.append(request)
        job = JobSnapshot(
            job_id=f"job-{len(self.purchases)}",
            key=request.key,
            state=JobState.PENDING,
            native_state="queued",
            created_at=datetime.now(UTC),
        )
        self.jobs[job.job_id] = job
        return job

    def request_of(self, job_id: str) -> JobRequest:
        """What was asked for when a job was bought."""
        return self.purchases[int(job_id.removeprefix("job-")) - 1]

    def look(self, job_id: str) -> JobSnapshot | None:
        """A job after time has passed."""
        job = self.jobs.get(job_id)
        if job is None or job.state.terminal or self.hold:
            return job
        looks = self._looks[job_id] = self._looks.get(job_id, 0) + 1
        job = replace(
            job,
            state=JobState.RUNNING,
            native_state="running",
            progress=min(1.0, looks / self.polls),
            series=self._series(job)[:looks] if self.capabilities.live_metrics else (),
        )
        if looks >= self.polls:
            job = self._ended(job)
        self.jobs[job_id] = job
        return job

    def _ended(self, job: JobSnapshot) -> JobSnapshot:
        request = self.request_of(job.job_id)
        reason = self.fails(request)
        if reason is not None:
            return replace(job, state=JobState.FAILED, native_state="failed", message=reason)
        return replace(
            job,
            state=JobState.SUCCEEDED,
            native_state="succeeded",
            fine_tuned_model=f"ft:{request.base_model}:{job.job_id}",
            series=self._series(job),
            trained_tokens=1000 * int(request.hyperparameters.get("epochs", 1)),
            finished_at=datetime.now(UTC),
        )

    def _series(self, job: JobSnapshot) -> tuple[MetricPoint, ...]:
        losses = self.losses(self.request_of(job.job_id))
        return tuple(MetricPoint(step * 10, {"validationLoss": loss}) for step, loss in enumerate(losses))


class CompanyProvider:
    """What speaks to the company; it keeps nothing itself."""

    def __init__(self, company: Company) -> None:
        self._company = company

    @property
    def capabilities(self) -> Capabilities:
        return self._company.capabilities

    @property
    def offer(self) -> Offer:
        return self._company.offer

    def model_rules(self, base_model: str) -> ModelRules | None:
        return None if base_model.startswith("unknown") else RULES

    def model_names(self) -> tuple[str, ...]:
        return ("tiny-1", "tiny-2")

    async def check(self, base_models: Collection[str]) -> None:
        broken = [model for model in base_models if model.startswith("broken")]
        if broken:
            raise PermanentProviderError(f"model {broken[0]} does not load", field="baseModels")

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        if self._company.data_fault is not None:
            raise self._company.data_fault

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        if self._company.upload_fault is not None:
            raise self._company.upload_fault
        self._company.on_upload(dataset)
        name = f"file-{dataset.content_hash[:8]}"
        self._company.files.setdefault(dataset.scope, set()).add(name)
        return name

    async def delete_data(self, scope: str) -> None:
        if self._company.delete_data_fault is not None:
            raise self._company.delete_data_fault
        self._company.files.pop(scope, None)

    async def submit(self, request: JobRequest) -> JobSnapshot:
        self._company.on_submit()
        if self._company.before:
            raise self._company.before.pop(0)
        job = self._company.take(request)
        if self._company.after:
            raise self._company.after.pop(0)
        return job

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        return tuple(job for job in self._company.jobs.values() if job.key == key)

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        self._company.observed += 1
        seen = {job_id: self._company.look(job_id) for job_id in job_ids}
        return {job_id: job for job_id, job in seen.items() if job is not None}

    async def cancel(self, job_id: str) -> None:
        if self._company.cancel_fault is not None:
            raise self._company.cancel_fault
        job = self._company.jobs.get(job_id)
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        self._company.cancelled.append(job_id)
        if not job.state.terminal:
            tokens = 10 if self._company.capabilities.live_metrics else None
            cancelled = replace(
                job, state=JobState.CANCELLED, native_state="cancelled", trained_tokens=tokens
            )
            self._company.jobs[job_id] = cancelled

    async def deploy(self, model: str, *, name: str) -> Deployment:
        if self._company.deploy_fault is not None:
            raise self._company.deploy_fault
        looks = self._company.deployments[name] = self._company.deployments.get(name, 0) + 1
        self._company.deployed.append(name)
        if looks <= self._company.deploy_looks:
            return Deployment(name, DeploymentState.CREATING, "")
        return Deployment(name, DeploymentState.ACTIVE, model)

    async def undeploy(self, name: str) -> None:
        if self._company.undeploy_fault is not None:
            raise self._company.undeploy_fault
        self._company.deployments.pop(name, None)

    @asynccontextmanager
    async def inference(self, model: str) -> AsyncIterator[InferenceSession]:
        if self._company.inference_fault is not None:
            raise self._company.inference_fault
        quality = self._company.base_quality
        if model.startswith("ft:"):
            quality = self._company.quality(self._company.request_of(model.rpartition(":")[2]))
        yield _Answers(quality)

    async def delete_model(self, model: str) -> None:
        if self._company.delete_fault is not None:
            raise self._company.delete_fault
        self._company.deleted_models.append(model)

    async def aclose(self) -> None:
        """Nothing is held."""


class _Answers:
    """Right for the first part of the questions, whose size is the model's quality."""

    batch_size = 1000
    concurrency = 1

    def __init__(self, quality: float) -> None:
        self._quality = quality

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        right = round(self._quality * len(conversations))
        return [
            each[-1]["content"].removeprefix("say ") if number < right else "wrong"
            for number, each in enumerate(conversations)
        ]


def factory(company: Company) -> Callable[[ProviderConfig], CompanyProvider]:
    """How an engine is given the company in place of a real one."""
    return lambda _config: CompanyProvider(company)
