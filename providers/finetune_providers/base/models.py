"""What a base model takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

ParameterValue = int | float | str


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
