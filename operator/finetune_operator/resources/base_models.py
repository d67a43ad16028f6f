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

_NUMBERS = {
    "int": (re.compile(r"[+-]?[0-9]{1,18}"), "whole numbers"),
    "float": (re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?"), "numbers"),
}
"""By type: how a text is written that is of this type, and what such texts are called."""


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
        if first_repeated(self.values or ()) is not None:
            raise field_error("values", "must not repeat")
        texts = {"values": self.values or (), "default": () if self.default is None else (self.default,)}
        for field, given in texts.items():
            if self.type != "string" and not all(_NUMBERS[self.type][0].fullmatch(text) for text in given):
                raise field_error(field, f"must be {_NUMBERS[self.type][1]} for type {self.type}")
        return self


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
