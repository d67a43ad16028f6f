"""What the operator asks of a provider."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from finetune_providers.base.datasets import Conversation, DatasetFile
from finetune_providers.base.deployments import Deployment
from finetune_providers.base.jobs import JobRequest, JobSnapshot, MetricPoint
from finetune_providers.base.models import ModelRules
from finetune_providers.base.offering import Capabilities, Offer


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
