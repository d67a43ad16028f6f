"""A fine-tuning job: what is bought, and how its provider shows it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from finetune_providers.base.models import ParameterValue


class JobState(enum.StrEnum):
    """A fine-tuning job's state, the same for all providers. An unknown native state counts as RUNNING."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a job in it has ended for good."""
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
