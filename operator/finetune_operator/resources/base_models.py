"""What a FinetuneProvider says of base models that the providers' catalog does not know, or knows otherwise."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from finetune_operator.resources.common import (
    NULLS_ARE_NOT_GIVEN,
    Model,
    ParameterName,
    field_error,
    first_repeated,
)
from finetune_operator.resources.parameters import Choice, RealBound
from finetune_operator.resources.patterns import BaseModelName, OptionName

_INT = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


class ParameterEntry(Model):
    """What a base model takes for one hyperparameter."""

    type: Literal["int", "float", "string"] = "float"
    min: RealBound | None = None
    above: RealBound | None = None
    max: RealBound | None = None
    values: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=32)] | None = None
    default: Choice | None = None

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.min is not None and self.above is not None:
            raise ValueError("give min or above, not both")
        if self.max is None:
            return self
        if self.min is not None and self.min > self.max:
            raise ValueError("min must not be greater than max")
        if self.above is not None and self.above >= self.max:
            raise ValueError("above must be less than max")
        return self

    @model_validator(mode="after")
    def _bounds_mean_something(self) -> Self:
        bounded = any(bound is not None for bound in (self.min, self.above, self.max))
        if bounded and (self.type == "string" or self.values is not None):
            raise ValueError("min, above and max are for numbers without values")
        return self

    @model_validator(mode="after")
    def _texts_are_of_the_type(self) -> Self:
        if not all(self._is_of_the_type(text) for text in self.values or ()):
            raise field_error(
                "values", f"must be {'whole ' * (self.type == 'int')}numbers for type {self.type}"
            )
        if self.default is not None and not self._is_of_the_type(self.default):
            kind = "whole number" if self.type == "int" else "number"
            raise field_error("default", f"must be a {kind} for type {self.type}")
        again = first_repeated(self.values or ())
        if again is not None:
            raise field_error(f"values[{again}]", "repeats a value")
        return self

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if self.default is None:
            return self
        if self.values is not None and self.default not in self.values:
            raise field_error("default", "must be one of values")
        if self.type != "string" and not self._is_within_bounds(float(self.default)):
            raise field_error("default", "must lie within min or above, and max")
        return self

    def _is_of_the_type(self, text: str) -> bool:
        form = {"int": _INT, "float": _FLOAT}.get(self.type)
        return form is None or form.fullmatch(text) is not None

    def _is_within_bounds(self, number: float) -> bool:
        return (
            (self.min is None or number >= self.min)
            and (self.above is None or number > self.above)
            and (self.max is None or number <= self.max)
        )


class BaseModelEntry(Model):
    """One base model: like another one, with parameters of its own, or both."""

    name: BaseModelName
    like: BaseModelName | None = None
    note: Annotated[str, StringConstraints(strict=True, max_length=512)] | None = None
    parameters: (
        Annotated[
            dict[ParameterName, ParameterEntry], Field(min_length=1, max_length=16), NULLS_ARE_NOT_GIVEN
        ]
        | None
    ) = None
    traits: (
        Annotated[
            dict[OptionName, Annotated[str, StringConstraints(strict=True, max_length=256)]],
            Field(max_length=16),
            NULLS_ARE_NOT_GIVEN,
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _takes_something(self) -> Self:
        if self.like is None and self.parameters is None:
            raise ValueError("give like, parameters or both: what the model takes is not known otherwise")
        return self

    @property
    def catalog_entry(self) -> dict[str, object]:
        """As the providers' catalog reads it: without its name, with plain values."""
        entry = self.to_dict()
        del entry["name"]
        return entry
