"""The search space as a manifest writes it: candidates and what their hyperparameters may be."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from finetune_operator.resources.common import (
    NULLS_ARE_NOT_GIVEN,
    NUMBER,
    WHOLE,
    CandidateName,
    Model,
    NameRef,
    ParameterName,
    field_error,
    first_repeated,
)
from finetune_operator.resources.patterns import BaseModelName

_BOUND = 1_000_000_000
WholeBound = Annotated[int, Field(strict=True, ge=-_BOUND, le=_BOUND), WHOLE]
RealBound = Annotated[float, Field(allow_inf_nan=False, ge=-_BOUND, le=_BOUND), NUMBER]
Choice = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]


class IntSpec(Model):
    """Whole numbers from min to max in steps."""

    min: WholeBound
    max: WholeBound
    step: Annotated[int, Field(strict=True, ge=1, le=_BOUND), WHOLE] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min must not be greater than max")
        return self


class UniformSpec(Model):
    """Real numbers from min to max; `steps` makes it finite, for grid search."""

    min: RealBound
    max: RealBound
    steps: Annotated[int, Field(strict=True, ge=2, le=1000), WHOLE] | None = None

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
            raise field_error("min", "must be greater than 0 on a logarithmic range")
        return self


class ParameterSpec(Model):
    """The values that one hyperparameter may take: exactly one of the four forms."""

    int: IntSpec | None = None
    uniform: UniformSpec | None = None
    log_uniform: LogUniformSpec | None = None
    values: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=32)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [form for form in (self.int, self.uniform, self.log_uniform, self.values) if form is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of int, uniform, logUniform or values")
        if first_repeated(self.values or ()) is not None:
            raise field_error("values", "must not repeat")
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
    base_models: Annotated[tuple[BaseModelName, ...], Field(min_length=1, max_length=16)]
    parameters: Annotated[
        dict[ParameterName, ParameterSpec], Field(min_length=1, max_length=16), NULLS_ARE_NOT_GIVEN
    ]

    @model_validator(mode="after")
    def _no_repeated_models(self) -> Self:
        again = first_repeated(self.base_models)
        if again is not None:
            raise field_error(f"baseModels[{again}]", "repeats a base model of the same candidate")
        return self
