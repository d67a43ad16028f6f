"""How a sweep searches: where it starts, how it goes on, when it stops before its limits."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from finetune_operator.resources.common import (
    NULLS_ARE_NOT_GIVEN,
    NUMBER,
    WHOLE,
    CandidateName,
    Model,
    NameRef,
    field_error,
    first_repeated,
)
from finetune_operator.resources.patterns import BaseModelName
from finetune_operator.resources.trial import HyperparameterValue


class FirstPoint(Model):
    """A point that is tried before anything else."""

    candidate: CandidateName
    base_model: BaseModelName | None = None
    parameters: Annotated[dict[str, HyperparameterValue], Field(max_length=16), NULLS_ARE_NOT_GIVEN] = Field(
        default_factory=dict
    )


class Search(Model):
    """How the next point is chosen."""

    method: Literal["Grid", "Random", "Bayesian"] = "Bayesian"
    seed: Annotated[int, Field(strict=True, ge=0, le=2_147_483_647), WHOLE] = 0
    initial_trials: Annotated[int, Field(strict=True, ge=1, le=100), WHOLE] | None = None
    first_points: Annotated[tuple[FirstPoint, ...], Field(min_length=1, max_length=20)] | None = None


class WarmStart(Model):
    """Earlier sweeps to learn from."""

    sweep_refs: Annotated[tuple[NameRef, ...], Field(min_length=1, max_length=5)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        again = first_repeated([each.name for each in self.sweep_refs])
        if again is not None:
            raise field_error(f"sweepRefs[{again}].name", "is named already")
        return self


class MedianStopping(Model):
    """Cancels a job that does worse than the median of earlier trials at the same point of their training."""

    min_trials: Annotated[int, Field(strict=True, ge=1, le=100), WHOLE] = 4
    min_steps: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000), WHOLE] = 50


class PlateauStopping(Model):
    """Ends the search when the best score has not become better for some trials."""

    trials: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE]
    min_improvement: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1000), NUMBER] = 0.0


class EarlyStopping(Model):
    """When to stop before the limits are reached. May be changed while the sweep runs."""

    median: MedianStopping | None = None
    plateau: PlateauStopping | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.median is None and self.plateau is None:
            raise ValueError("give median, plateau or both")
        return self


class Confirm(Model):
    """Repeats of the best trials before the best is named. May be changed while the sweep runs."""

    top: Annotated[int, Field(strict=True, ge=1, le=20), WHOLE] = 3
    repeats: Annotated[int, Field(strict=True, ge=1, le=10), WHOLE] = 2
