"""FinetuneSweep: what a person asks for, and what became of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from finetune_operator.resources.common import (
    CandidateName,
    Condition,
    Currency,
    Lenient,
    Model,
    Money,
    NameRef,
    Number,
    ObjectName,
    Resource,
    StrictInt,
    Timestamp,
)

GENERATED_METRICS = ("accuracy", "exactMatch", "macroF1", "rougeL", "tokenF1")
"""Metrics of the fine-tuned model's own answers on the evaluation set; more is better."""

REPORTED_METRICS = ("validationLoss", "validationTokenAccuracy")
"""Metrics that the trainer reports on the validation set."""

METRICS = GENERATED_METRICS + REPORTED_METRICS

Direction = Literal["Maximize", "Minimize"]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9]{0,62}$")]
_DURATION = re.compile(r"^(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?$")


def parse_duration(text: str) -> timedelta:
    """A duration such as 48h, 90m or 1h30m.

    Raises:
        ValueError: It is not written so, or it is zero.
    """
    found = _DURATION.match(text)
    if not text or found is None:
        raise ValueError("must be a duration such as 48h, 90m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise ValueError("must be longer than zero")
    return duration


def _duration_text(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_duration_text)]


class Objective(Model):
    """What is measured, and which way is better."""

    metric: Literal[
        "accuracy", "exactMatch", "macroF1", "rougeL", "tokenF1", "validationLoss", "validationTokenAccuracy"
    ]
    direction: Direction | None = None
    goal: Number | None = None

    @property
    def sense(self) -> Direction:
        """The direction, taken from the metric where the manifest leaves it out."""
        return "Minimize" if self.metric == "validationLoss" else "Maximize"

    @model_validator(mode="after")
    def _direction_fits_metric(self) -> Self:
        if self.direction is not None and self.direction != self.sense:
            raise ValueError(f"direction of metric {self.metric} is {self.sense}")
        return self


class ConfigMapKeyRef(Model):
    """A key of a ConfigMap in the sweep's namespace."""

    name: ObjectName
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class DataSource(Model):
    """Where a dataset lies: exactly one of uri and configMapRef."""

    uri: Annotated[str, StringConstraints(max_length=2048, pattern=r"^[a-z][a-z0-9+.-]*://.+$")] | None = None
    config_map_ref: ConfigMapKeyRef | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.uri is None) == (self.config_map_ref is None):
            raise ValueError("give exactly one of uri and configMapRef")
        return self


class EvaluationSource(DataSource):
    """The held-out examples that the fine-tuned model answers."""

    max_examples: Annotated[StrictInt, Field(ge=1, le=100_000)] = 200
    max_output_tokens: Annotated[StrictInt, Field(ge=1, le=8192)] = 128


class Datasets(Model):
    """The sweep's three datasets."""

    training: DataSource
    validation: DataSource | None = None
    evaluation: EvaluationSource | None = None


class IntSpec(Model):
    """Whole numbers from min to max in steps."""

    min: StrictInt
    max: StrictInt
    step: Annotated[StrictInt, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min must not be greater than max")
        return self


class UniformSpec(Model):
    """Real numbers from min to max; `steps` makes it finite, for grid search."""

    min: Number
    max: Number
    steps: Annotated[StrictInt, Field(ge=2, le=1000)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min < self.max:
            raise ValueError("min must be less than max")
        return self


class LogUniformSpec(UniformSpec):
    """Positive numbers, spread evenly over their logarithm."""

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.min <= 0:
            raise ValueError("min must be greater than 0 on a logarithmic range")
        return self


class ParameterSpec(Model):
    """The values that one hyperparameter may take: exactly one of the four forms."""

    int: IntSpec | None = None
    uniform: UniformSpec | None = None
    log_uniform: LogUniformSpec | None = None
    values: (
        Annotated[
            tuple[Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)], ...],
            Field(min_length=1, max_length=64),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [form for form in (self.int, self.uniform, self.log_uniform, self.values) if form is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of int, uniform, logUniform or values")
        if self.values is not None and len(set(self.values)) != len(self.values):
            raise ValueError("values must not repeat")
        return self

    @property
    def needs_steps(self) -> bool:
        """Whether grid search cannot enumerate it."""
        real = self.uniform or self.log_uniform
        return real is not None and real.steps is None


class Candidate(Model):
    """One branch of the search space: base models at one provider, with their own hyperparameters."""

    name: CandidateName
    provider_ref: NameRef
    base_models: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=128)], ...],
        Field(min_length=1, max_length=16),
    ]
    parameters: Annotated[dict[ParameterName, ParameterSpec], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _no_repeated_models(self) -> Self:
        if len(set(self.base_models)) != len(self.base_models):
            raise ValueError("baseModels must not repeat")
        return self


class Search(Model):
    """How the next point is chosen."""

    method: Literal["Grid", "Random", "Bayesian"] = "Bayesian"
    seed: Annotated[StrictInt, Field(ge=0, le=2_147_483_647)] = 0
    initial_trials: Annotated[StrictInt, Field(ge=1, le=100)] | None = None


class Budget(Model):
    """The most that the sweep may cost."""

    max_cost: Money
    currency: Currency = "USD"


class Limits(Model):
    """Where the sweep ends. All of it may be changed while it runs."""

    max_trials: Annotated[StrictInt, Field(ge=1, le=1000)]
    parallel_trials: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    max_failed_trials: Annotated[StrictInt, Field(ge=0, le=1000)] = 3
    max_duration: Duration | None = None
    budget: Budget | None = None


class Output(Model):
    """What applications read."""

    config_map: ObjectName


class SweepSpec(Model):
    """One sweep as a person wrote it."""

    objective: Objective
    dataset: Datasets
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=16)]
    search: Search = Search()
    limits: Limits
    suspend: bool = False
    deletion_policy: Literal["Cancel", "Orphan"] = "Cancel"
    keep_models: Literal["Best", "All"] = "All"
    output: Output | None = None

    @model_validator(mode="after")
    def _grid_is_finite(self) -> Self:
        endless = any(
            spec.needs_steps for candidate in self.candidates for spec in candidate.parameters.values()
        )
        if self.search.method == "Grid" and endless:
            raise ValueError(
                "candidates: search.method Grid needs steps on every uniform and logUniform range"
            )
        return self

    @model_validator(mode="after")
    def _candidates_are_distinct(self) -> Self:
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError("candidates: names must be unique")
        pairs = [(each.provider_ref.name, model) for each in self.candidates for model in each.base_models]
        if len(set(pairs)) != len(pairs):
            raise ValueError("candidates: a base model of a provider may stand in one candidate only")
        return self

    @model_validator(mode="after")
    def _metric_has_its_dataset(self) -> Self:
        metric = self.objective.metric
        if metric in GENERATED_METRICS and self.dataset.evaluation is None:
            raise ValueError(f"dataset: metric {metric} needs dataset.evaluation")
        if metric in REPORTED_METRICS and self.dataset.validation is None:
            raise ValueError(f"dataset: metric {metric} needs dataset.validation")
        return self


class TrialCounts(Lenient):
    """Trials by what became of them; `done` counts all that ended."""

    total: int = 0
    pending: int = 0
    running: int = 0
    done: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    stalled: int = 0


class BestTrial(Lenient):
    """The best trial so far."""

    trial: str
    candidate: str
    provider: str
    base_model: str
    fine_tuned_model: str | None = None
    score: float
    base_score: float | None = None
    hyperparameters: dict[str, int | float | str] = Field(default_factory=dict)


class Baseline(Lenient):
    """What a base model scores without fine-tuning; measured once."""

    provider: str
    base_model: str
    score: float | None = None
    message: str | None = None


class SweepCost(Lenient):
    """Money of the sweep: reserved for trials that run, spent on those that ended."""

    reserved: Money | None = None
    spent: Money | None = None
    currency: str = "USD"


class SweepStatus(Lenient):
    """What the operator knows of the sweep; everything in it can be derived again from the trials."""

    observed_generation: int = -1
    phase: Literal["Pending", "Searching", "Suspended", "Finishing", "Succeeded", "Failed"] | None = None
    conditions: tuple[Condition, ...] = ()
    trials: TrialCounts = TrialCounts()
    best: BestTrial | None = None
    best_score: str | None = None
    baselines: tuple[Baseline, ...] = ()
    cost: SweepCost | None = None
    spent: str | None = None
    space_size: str | None = None
    last_index: int = -1
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None

    @property
    def finished(self) -> bool:
        return self.phase in {"Succeeded", "Failed"}

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, if it is there."""
        return next((each for each in self.conditions if each.type == kind), None)


class FinetuneSweep(Resource):
    """A search for the best fine-tuned model."""

    kind: Literal["FinetuneSweep"] = "FinetuneSweep"
    spec: SweepSpec
    status: SweepStatus = SweepStatus()
