"""The contract between the operator and a provider.

A provider turns the operator's canonical words (base model, hyperparameters, dataset) into one company's API.
It keeps no memory of its own that matters: everything it must know again after a restart is at the provider
and found by a job's id or by the key given at its creation. No call may block the event loop.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypedDict, runtime_checkable

ParameterValue = int | float | str


class Message(TypedDict):
    """One turn of a chat: `role` is system, user or assistant."""

    role: str
    content: str


Conversation = Sequence[Message]


class JobState(enum.StrEnum):
    """A fine-tuning job's state, the same for all providers. An unknown native state counts as RUNNING."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def terminal(self) -> bool:
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """What training reported at one step.

    Attributes:
        step: Optimizer steps taken so far; 0 is the base model before any training.
        values: By canonical name: trainingLoss, validationLoss, validationTokenAccuracy.
    """

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A fine-tuning job as its provider showed it at one moment.

    Attributes:
        job_id: The provider's own id of the job.
        key: The key given at creation, where the provider gives it back.
        state: Canonical state.
        native_state: The provider's own word for it.
        message: What the provider says about a failure, safe to show.
        fine_tuned_model: Id of the model, once there is one.
        progress: 0 to 1, where the provider tells.
        series: Intermediate metrics in order of steps, at most 100 points.
        trained_tokens: Tokens billed or processed, once known.
        created_at: When the job was made, timezone-aware.
        finished_at: When it ended, timezone-aware.
    """

    job_id: str
    key: str | None
    state: JobState
    native_state: str
    message: str = ""
    fine_tuned_model: str | None = None
    progress: float | None = None
    series: tuple[MetricPoint, ...] = ()
    trained_tokens: int | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A checked dataset in the canonical form: UTF-8 JSONL, one `{"messages": [...]}` a line.

    Attributes:
        path: Where the file lies on this machine.
        content_hash: SHA-256 of the file, hexadecimal: the name under which an upload is found again.
        examples: Number of lines.
        scope: What the upload belongs to, lower-case letters, digits and dashes, at most 40 characters: one
            sweep's uploads are deleted together (`delete_data`) and are never another sweep's.
    """

    path: Path
    content_hash: str
    examples: int
    scope: str = "shared"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One fine-tuning job to buy.

    Attributes:
        key: Unique key of this purchase; the same key must never buy two jobs where the provider can help it.
        base_model: Model to start from.
        hyperparameters: Canonical names, already checked against the model's rules.
        training: What `upload` returned for the training data.
        validation: What `upload` returned for the validation data, if there is any.
        seed: For providers that take one.
        labels: Sweep and trial names, for people who look at the provider's console.
    """

    key: str
    base_model: str
    hyperparameters: Mapping[str, ParameterValue]
    training: str
    validation: str | None = None
    seed: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """What a base model takes for one hyperparameter.

    Attributes:
        kind: "int", "float" or "string".
        minimum: Smallest value allowed; None means no bound.
        maximum: Largest value allowed; None means no bound.
        exclusive_minimum: Whether `minimum` itself is refused.
        allowed: The only values allowed, where they are listed.
        default: What the provider uses when the parameter is not given; None where it is unknown.
    """

    kind: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    allowed: tuple[ParameterValue, ...] = ()
    default: ParameterValue | None = None

    def describe(self) -> str:
        """What is allowed, as a person reads it: 'an int from 1 to 50', 'one of 4, 16'."""
        if self.allowed:
            return "one of " + ", ".join(str(value) for value in self.allowed)
        article = "an" if self.kind == "int" else "a"
        lower = (
            None
            if self.minimum is None
            else f"{'above' if self.exclusive_minimum else 'from'} {self.minimum:g}"
        )
        upper = (
            None
            if self.maximum is None
            else f"{'to' if self.minimum is not None else 'up to'} {self.maximum:g}"
        )
        return " ".join(part for part in (article, self.kind, lower, upper) if part)

    def permits(self, value: ParameterValue) -> bool:
        """Whether the value has the right type and lies in the range."""
        if self.allowed:
            return value in self.allowed
        if self.kind == "string":
            return isinstance(value, str)
        if isinstance(value, str | bool) or (isinstance(value, float) and not math.isfinite(value)):
            return False
        if self.kind == "int" and value != int(value):
            return False
        if self.minimum is not None and (
            value < self.minimum or (self.exclusive_minimum and value == self.minimum)
        ):
            return False
        return self.maximum is None or value <= self.maximum


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What one base model takes.

    Attributes:
        parameters: Rule by canonical name; a name that is absent is not taken at all.
        note: Anything a person should know, such as the day the model is withdrawn.
        traits: What else the provider's code must know of the model, such as its dataset schema.
        exclusive: Groups of parameters of which a job may have one at most.
    """

    parameters: Mapping[str, ParameterRule]
    note: str = ""
    traits: Mapping[str, str] = field(default_factory=dict)
    exclusive: tuple[tuple[str, ...], ...] = ()


class OfferState(enum.StrEnum):
    """Whether a provider still sells fine-tuning."""

    OFFERED = "Offered"
    CLOSING = "Closing"
    CLOSED = "Closed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether, and for whom, a provider still takes fine-tuning jobs.

    Attributes:
        state: In one word.
        message: For people: for whom, until when, and where that is written.
    """

    state: OfferState = OfferState.UNKNOWN
    message: str = ""


class DeploymentState(enum.StrEnum):
    """A deployment's state; an unknown native state counts as CREATING."""

    CREATING = "Creating"
    ACTIVE = "Active"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A fine-tuned model that was put on machines so that it can answer; it may cost by the hour.

    Attributes:
        name: The name given at its creation.
        state: Canonical state.
        model: What `inference` takes, once it is active.
        native_state: The provider's own word for its state.
        message: What the provider says about a failure, safe to show.
    """

    name: str
    state: DeploymentState
    model: str
    native_state: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider offers, as far as the operator's decisions depend on it.

    Attributes:
        finds_by_key: `find` can see a job by the key of its creation.
        idempotent_create: Submitting the same key again returns the first job and buys nothing.
        lookup_window_s: Seconds after a create call from which an empty `find` proves that no job exists;
            None where it never does.
        metrics: Names that may appear in a job's series.
        poll_interval_s: How long to wait between two `observe` calls, in seconds.
        deletes_models: `delete_model` works.
        appears_within_s: Seconds for which a job may be missing from `find` after a create call in doubt: for
            so long it is looked for before anybody is asked. Of interest where `lookup_window_s` is None.
        needs_deployment: A fine-tuned model answers only through `deploy`.
        native_states: The provider's own words for a job's state that are understood; a person is told of any other.
            Empty where there can be no other.
        live_metrics: Names that may be told of a job while it runs, by its snapshot or by `RunningMetrics`. Empty where
            nothing is told before the end.
    """

    finds_by_key: bool
    idempotent_create: bool
    lookup_window_s: float | None
    metrics: frozenset[str]
    poll_interval_s: float
    deletes_models: bool
    appears_within_s: float = 0.0
    needs_deployment: bool = False
    native_states: frozenset[str] = frozenset()
    live_metrics: frozenset[str] = frozenset()


@runtime_checkable
class RunningMetrics(Protocol):
    """A provider that tells a running job's metrics only when it is asked for each job."""

    async def running_series(self, job_id: str) -> tuple[MetricPoint, ...]:
        """The metrics of a job so far, in order of steps, at most 100 points; empty where there are none yet.

        Raises:
            ProviderError: They could not be read now.
        """
        ...


class InferenceSession(Protocol):
    """A model that answers. Obtained from `Provider.inference` and closed by it.

    Attributes:
        batch_size: Conversations that one `answer` call should be given.
        concurrency: `answer` calls that may be in flight at once.
    """

    batch_size: int
    concurrency: int

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        """Answer each conversation greedily (temperature 0).

        Returns:
            The assistant's texts, in the order of the conversations.

        Raises:
            TransientProviderError: Try the same call again later.
            PermanentProviderError: The model cannot answer.
        """
        ...


class Provider(Protocol):
    """One provider account. Every method may be called again after a crash."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def offer(self) -> Offer:
        """Whether the provider still takes jobs, as far as is published. No I/O."""
        ...

    def model_rules(self, base_model: str) -> ModelRules | None:
        """What the base model takes, or None where the provider does not fine-tune it. No I/O."""
        ...

    def model_names(self) -> tuple[str, ...]:
        """The base models with rules, for messages; empty where any name may do. No I/O."""
        ...

    async def check(self, base_models: Collection[str]) -> None:
        """Check, without buying anything, that credentials work and the models can be fine-tuned.

        Raises:
            PermanentProviderError: With what to change.
            TransientProviderError: The check could not be made now.
        """
        ...

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """Check datasets against the provider's limits, without sending anything.

        Raises:
            PermanentProviderError: With `field` "training" or "validation", what is allowed and what to do.
        """
        ...

    async def upload(self, dataset: DatasetFile, *, base_model: str) -> str:
        """Make a dataset available to jobs, converted to what the base model takes.

        The same content is uploaded once a scope: an upload that is there is found again, also after a crash.

        Returns:
            The reference that `JobRequest.training` takes.

        Raises:
            PermanentProviderError: The provider refuses the dataset.
        """
        ...

    async def delete_data(self, scope: str) -> None:
        """Delete all uploads of a scope; none there is no error."""
        ...

    async def submit(self, request: JobRequest) -> JobSnapshot:
        """Make exactly one create call, without retries.

        Raises:
            PermanentProviderError: Refused; nothing was bought.
            QuotaExceeded: Refused for now; nothing was bought.
            AmbiguousProviderError: Time-out, reset or 5xx: the job may exist.
        """
        ...

    async def find(self, key: str) -> tuple[JobSnapshot, ...]:
        """All jobs that were created with the key."""
        ...

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        """Snapshots of the jobs, in as few calls as the provider allows; a missing id has no entry."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Ask the provider to stop the job and free what it uses; a finished job is left as it is.

        Raises:
            JobNotFound: There is no such job.
        """
        ...

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """See to it that the deployment of this name is there, and say how it is; called again until it is active.

        Args:
            model: Id of a fine-tuned model.
            name: Unique key of the deployment: lower-case letters, digits and dashes, at most 48 characters.

        Raises:
            QuotaExceeded: Refused for now; nothing was made.
            PermanentProviderError: Refused.
            TransientProviderError: It is not known; the same call is safe.
        """
        ...

    async def undeploy(self, name: str) -> None:
        """Delete the deployment of this name; one that is gone already is no error."""
        ...

    def inference(self, model: str) -> AbstractAsyncContextManager[InferenceSession]:
        """A session that answers with a base model, a fine-tuned model, or what `Deployment.model` names."""
        ...

    async def delete_model(self, model: str) -> None:
        """Delete a fine-tuned model; one that is gone already is no error."""
        ...

    async def aclose(self) -> None:
        """Release what this process holds. Work that lives in this machine is paused, not lost."""
        ...


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """How to reach a provider account.

    Attributes:
        name: Name of the FinetuneProvider resource.
        type: Which provider, such as "Local".
        options: The type's own block of the resource (`spec.local` for Local), as written.
        credentials: The Secret's keys and values; never shown.
        work_dir: A folder of this account's own, for what the provider keeps on this machine.
        max_concurrent_jobs: Jobs that may be active at once.
        requests_per_minute: API calls that may be made in a minute, all of the account's together.
        endpoint: Base URL of the API instead of the provider's own, without a slash at its end.
        endpoints: Base URLs of further services, by `storage`, `inference`, `management` and `login`.
        region: Where the provider works, such as us-east-1.
        project: Project, where the provider has such a thing.
        data_uri: Where datasets are put, such as gs://bucket/folder, without a slash at its end.
        models: Base models that the catalog does not know, or other rules for those that it does, by name; in
            the form of `catalog.model_from_manifest`.
        lends_identity: Whether addresses that the resource names may be shown this machine's own identity, which
            an account without credentials works with. Who writes the resource may not be who owns the machine.
    """

    name: str
    type: str
    work_dir: Path
    options: Mapping[str, object] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_concurrent_jobs: int | None = None
    requests_per_minute: int | None = None
    endpoint: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    project: str | None = None
    data_uri: str | None = None
    models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    lends_identity: bool = True
