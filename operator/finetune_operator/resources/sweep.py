"""FinetuneSweep: what a person asks for, and what became of it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from finetune_operator.resources.common import (
    NUMBER,
    WHOLE,
    Currency,
    Model,
    Money,
    NameRef,
    ObjectName,
    ParameterName,
    Resource,
    StrictBool,
    field_error,
    first_repeated,
)
from finetune_operator.resources.parameters import (
    Candidate,
    IntSpec,
    LogUniformSpec,
    ParameterSpec,
    UniformSpec,
)
from finetune_operator.resources.patterns import DURATION, MEANINGS, ConfigMapKey, Uri
from finetune_operator.resources.search_method import (
    Confirm,
    EarlyStopping,
    FirstPoint,
    MedianStopping,
    PlateauStopping,
    Search,
    WarmStart,
)
from finetune_operator.resources.sweep_status import (
    Baseline,
    BestTrial,
    SweepCost,
    SweepStatus,
    TrialCounts,
)

__all__ = [
    "GENERATED_METRICS",
    "METRICS",
    "REPORTED_METRICS",
    "Baseline",
    "BestTrial",
    "Budget",
    "Candidate",
    "ConfigMapKeyRef",
    "Confirm",
    "DataSource",
    "Datasets",
    "EarlyStopping",
    "EvaluationSource",
    "FinetuneSweep",
    "FirstPoint",
    "IntSpec",
    "Limits",
    "LogUniformSpec",
    "MedianStopping",
    "NameRef",
    "Objective",
    "Output",
    "ParameterName",
    "ParameterSpec",
    "PlateauStopping",
    "Search",
    "SweepCost",
    "SweepSpec",
    "SweepStatus",
    "TrialCounts",
    "UniformSpec",
    "WarmStart",
    "parse_duration",
]

GENERATED_METRICS = ("accuracy", "exactMatch", "macroF1", "rougeL", "tokenF1")
"""Metrics of the fine-tuned model's own answers on the evaluation set; more is better."""

REPORTED_METRICS = ("validationLoss", "validationTokenAccuracy")
"""Metrics that the trainer reports on the validation set."""

METRICS = GENERATED_METRICS + REPORTED_METRICS

Direction = Literal["Maximize", "Minimize"]
_DURATION_PARTS = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")


def parse_duration(text: str) -> timedelta:
    """A duration such as 48h, 90m or 1h30m.

    Raises:
        ValueError: It is not written so, or it is zero.
    """
    found = _DURATION_PARTS.fullmatch(text)
    if not text or found is None or not re.fullmatch(DURATION, text):
        raise ValueError(MEANINGS[DURATION])
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise ValueError("must be longer than zero")
    return duration


def _duration_text(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, StringConstraints(strict=True), AfterValidator(_duration_text)]


class Objective(Model):
    """What is measured, and which way is better."""

    metric: Literal[
        "accuracy", "exactMatch", "macroF1", "rougeL", "tokenF1", "validationLoss", "validationTokenAccuracy"
    ]
    direction: Direction | None = None
    goal: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1000), NUMBER] | None = None
    cost_weight: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1000), NUMBER] = 0.0
    best_by: Literal["Score", "ExpectedScore"] = "Score"

    @property
    def sense(self) -> Direction:
        """The direction, taken from the metric where the manifest leaves it out."""
        return "Minimize" if self.metric == "validationLoss" else "Maximize"

    @model_validator(mode="after")
    def _direction_fits_metric(self) -> Self:
        if self.direction is not None and self.direction != self.sense:
            raise field_error("direction", f"must be {self.sense} for metric {self.metric}")
        return self

    @model_validator(mode="after")
    def _goal_can_be_reached(self) -> Self:
        if self.goal is not None and self.goal > 1 and self.metric != "validationLoss":
            raise field_error("goal", f"must be from 0 to 1, as metric {self.metric} is")
        return self


class ConfigMapKeyRef(Model):
    """A key of a ConfigMap in the sweep's namespace."""

    name: ObjectName
    key: ConfigMapKey


class DataSource(Model):
    """Where a dataset lies: exactly one of uri and configMapRef."""

    uri: Uri | None = None
    config_map_ref: ConfigMapKeyRef | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.uri is None) == (self.config_map_ref is None):
            raise ValueError("give exactly one of uri and configMapRef")
        return self


class EvaluationSource(DataSource):
    """The held-out examples that the fine-tuned model answers."""

    max_examples: Annotated[int, Field(strict=True, ge=1, le=100_000), WHOLE] = 200
    max_output_tokens: Annotated[int, Field(strict=True, ge=1, le=8192), WHOLE] = 128


class Datasets(Model):
    """The sweep's three datasets."""

    training: DataSource
    validation: DataSource | None = None
    evaluation: EvaluationSource | None = None


class Budget(Model):
    """The most that the sweep may cost."""

    max_cost: Money
    currency: Currency = "USD"
    at_limit: Literal["StopNew", "CancelRunning"] = "StopNew"


class Limits(Model):
    """Where the sweep ends. All of it may be changed while it runs."""

    max_trials: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE]
    parallel_trials: Annotated[int, Field(strict=True, ge=1, le=100), WHOLE] = 1
    max_failed_trials: Annotated[int, Field(strict=True, ge=0, le=1000), WHOLE] = 3
    max_duration: Duration | None = None
    budget: Budget | None = None

    @property
    def currency(self) -> str:
        """In which money the sweep is counted."""
        return "USD" if self.budget is None else self.budget.currency


class Output(Model):
    """What applications read."""

    config_map: ObjectName


class SweepSpec(Model):
    """One sweep as a person wrote it."""

    objective: Objective
    dataset: Datasets
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=16)]
    search: Search = Search()
    warm_start: WarmStart | None = None
    early_stopping: EarlyStopping | None = None
    confirm: Confirm | None = None
    limits: Limits
    suspend: StrictBool = False
    deletion_policy: Literal["Cancel", "Orphan"] = "Cancel"
    keep_models: Literal["Best", "All"] = "All"
    keep_data: StrictBool = False
    output: Output | None = None

    @model_validator(mode="after")
    def _grid_is_finite(self) -> Self:
        if self.search.method != "Grid":
            return self
        for place, candidate in enumerate(self.candidates):
            for name, parameter in candidate.parameters.items():
                if parameter.needs_steps:
                    form = "uniform" if parameter.uniform else "logUniform"
                    raise field_error(
                        f"candidates[{place}].parameters.{name}.{form}.steps",
                        "search.method Grid needs steps on every uniform and logUniform range",
                    )
        return self

    @model_validator(mode="after")
    def _candidates_are_distinct(self) -> Self:
        again = first_repeated([candidate.name for candidate in self.candidates])
        if again is not None:
            raise field_error(f"candidates[{again}].name", "is the name of another candidate already")
        places: dict[tuple[str, str], int] = {}
        for place, candidate in enumerate(self.candidates):
            for model in candidate.base_models:
                first = places.setdefault((candidate.provider_ref.name, model), place)
                if first != place:
                    raise field_error(
                        f"candidates[{place}].baseModels",
                        f"a base model of a provider may stand in one candidate only: {model} is in "
                        f"{self.candidates[first].name} already",
                    )
        return self

    @model_validator(mode="after")
    def _metric_has_its_dataset(self) -> Self:
        metric = self.objective.metric
        if metric in GENERATED_METRICS and self.dataset.evaluation is None:
            raise field_error("dataset.evaluation", f"is needed by metric {metric}")
        if metric in REPORTED_METRICS and self.dataset.validation is None:
            raise field_error("dataset.validation", f"is needed by metric {metric}")
        return self

    @model_validator(mode="after")
    def _repeats_fit_into_the_limit(self) -> Self:
        confirm = self.confirm
        if confirm is not None and confirm.top * confirm.repeats >= self.limits.max_trials:
            message = "top times repeats must be less than limits.maxTrials, which counts the repeats, too"
            raise field_error("confirm", message)
        return self


class FinetuneSweep(Resource):
    """A search for the best fine-tuned model."""

    longest_name: ClassVar[int] = 52

    kind: Literal["FinetuneSweep"] = "FinetuneSweep"
    spec: SweepSpec
    status: SweepStatus = SweepStatus()

    @model_validator(mode="after")
    def _learns_from_others(self) -> Self:
        references = () if self.spec.warm_start is None else self.spec.warm_start.sweep_refs
        own = next((index for index, each in enumerate(references) if each.name == self.name), None)
        if own is not None:
            message = "is this sweep itself, which would wait for its own end; name earlier sweeps"
            raise field_error(f"spec.warmStart.sweepRefs[{own}].name", message)
        return self
