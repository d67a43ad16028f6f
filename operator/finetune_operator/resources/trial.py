"""FinetuneTrial: one purchase."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PlainValidator, StringConstraints
from pydantic.dataclasses import dataclass

from finetune_operator.resources.common import (
    NULLS_ARE_NOT_GIVEN,
    WHOLE,
    CandidateName,
    Condition,
    Currency,
    Lenient,
    Model,
    Money,
    NameRef,
    Resource,
    Timestamp,
)
from finetune_operator.resources.patterns import RUN_KEY, BaseModelName, DataScope


class TrialPhase(enum.StrEnum):
    """Where a trial is in its life."""

    PENDING = "Pending"
    SUBMITTING = "Submitting"
    TRAINING = "Training"
    EVALUATING = "Evaluating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EARLY_STOPPED = "EarlyStopped"
    CANCELLED = "Cancelled"
    STALLED = "Stalled"

    @property
    def terminal(self) -> bool:
        """Whether a trial in it has ended for good."""
        return self in TERMINAL_PHASES


TERMINAL_PHASES = frozenset(
    {TrialPhase.SUCCEEDED, TrialPhase.FAILED, TrialPhase.EARLY_STOPPED, TrialPhase.CANCELLED}
)


def _number_or_text(value: object) -> int | float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number or a text")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, str) and len(value) > 256:
        raise ValueError("must be at most 256 characters long")
    return value


HyperparameterValue = Annotated[int | float | str, PlainValidator(_number_or_text)]
"""One value of a trial. A real number without a fraction comes back from the API server as an int."""


class TrialSpec(Model):
    """What is bought. Immutable: another purchase is another trial.

    `data_scope` names the trial's uploads, so that they are found again where a restore gave the sweep another UID;
    where it is not given they are named by the sweep's UID. `repeat_of` is the trial that is trained again. `currency`
    is that of all its money; an earlier version did not give it.
    """

    sweep_ref: NameRef
    index: Annotated[int, Field(strict=True, ge=0, le=999_999), WHOLE]
    candidate: CandidateName
    provider_ref: NameRef
    base_model: BaseModelName
    hyperparameters: Annotated[dict[str, HyperparameterValue], Field(max_length=32), NULLS_ARE_NOT_GIVEN]
    run_key: Annotated[str, StringConstraints(strict=True, min_length=8, max_length=40, pattern=RUN_KEY)]
    seed: Annotated[int, Field(strict=True, ge=0, le=2_147_483_647), WHOLE] = 0
    origin: Annotated[str, StringConstraints(strict=True, max_length=256)] = ""
    repeat_of: Annotated[int, Field(strict=True, ge=0, le=999_999), WHOLE] | None = None
    estimated_cost: Money | None = None
    currency: Currency | None = None
    data_scope: DataScope | None = None


class CreateJournal(Lenient):
    """What is known of the one create call; written before the call is made.

    `state` is Pending before the answer, then Succeeded, Failed (a clear refusal) or Unknown.
    """

    attempt: int = 1
    state: Literal["Pending", "Succeeded", "Failed", "Unknown"]
    key: str
    external_id: str | None = None
    message: str | None = None
    at: Timestamp | None = None


class ServingJournal(Lenient):
    """What is known of the deployment that lets the fine-tuned model answer; written before it is asked for.

    `state` is Pending until the deployment answers, then Active, Deleting once the model is evaluated, and Deleted when
    nothing is left of it. `at` is when it was first asked for; it may cost by the hour from then to `deleted_at`.
    """

    name: str
    state: Literal["Pending", "Active", "Deleting", "Deleted"]
    model: str | None = None
    at: Timestamp | None = None
    active_at: Timestamp | None = None
    deleted_at: Timestamp | None = None
    message: str | None = None


class CancelRequest(Lenient):
    """Why the sweep wants the trial to end early.

    `exceeded` is the highest `maxCost` that was exceeded, where it is to end for that.
    """

    reason: str
    message: str
    exceeded: Money | None = None


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore"))
class SeriesPoint:
    """Intermediate metrics at one step of training.

    No `Model`: a hundred of them make up most of what a trial takes in memory, and as models they take twice as much.
    """

    step: int
    values: dict[str, float]


class TrialStatus(Lenient):
    """What became of the purchase.

    `model_deleted` is not given until that was tried, and false where the provider would not delete the model.
    `waits_until` is when its job is asked for again, where a quota or an outage makes it wait.
    `answered_at` is when the evaluation began, or when the model later answered something new.
    """

    observed_generation: int = -1
    phase: TrialPhase | None = None
    reason: str | None = None
    message: str | None = None
    waits_until: Timestamp | None = None
    create: CreateJournal | None = None
    cancel: CancelRequest | None = None
    serving: ServingJournal | None = None
    job_state: str | None = None
    fine_tuned_model: str | None = None
    model_deleted: bool | None = None
    score: float | None = None
    score_text: str | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    series: tuple[SeriesPoint, ...] = ()
    trained_tokens: int | None = None
    answered_at: Timestamp | None = None
    cost: Money | None = None
    serving_cost: Money | None = None
    conditions: tuple[Condition, ...] = ()
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None


class FinetuneTrial(Resource):
    """One point of the search space, bought once."""

    kind: Literal["FinetuneTrial"] = "FinetuneTrial"
    spec: TrialSpec
    status: TrialStatus = TrialStatus()

    @property
    def phase(self) -> TrialPhase:
        """The phase; a trial without status has not begun."""
        return self.status.phase or TrialPhase.PENDING

    @property
    def terminal(self) -> bool:
        return self.phase.terminal
