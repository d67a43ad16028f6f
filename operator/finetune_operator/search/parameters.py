"""The kinds of hyperparameters: each knows its values and its encoding in the unit interval.

Every kind offers the same members. `size` is the number of values, None for a continuous one. A finite kind
numbers its values from 0 (`value_at`, `index_of`). `encode` gives the value's place in [0, 1]: one number, or
one indicator for each category. `decode` gives the nearest value: `decode(encode(value)) == value` for each
value that the search proposes. `drawn` turns a uniform random number below 1 into a value.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from finetune_operator.search.errors import InvalidSpace
from finetune_operator.search.value_list import Values
from finetune_operator.search.values import (
    IDENTITY_DIGITS,
    PROPOSED_DIGITS,
    ParameterValue,
    identity,
    is_finite_number,
    round_significant,
)

_LARGEST_INT = 10**12
_LARGEST_REAL = 1e100
_MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers from `min` up to `max` in steps of `step`, evenly spread, or by ratio if `log`."""

    min: int
    max: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("min", "max", "step"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_INT:
                raise InvalidSpace(f".int.{name}", f"{value!r} is not a whole number of at most 12 digits")
        if self.min > self.max:
            raise InvalidSpace(".int.min", f"{self.min} is above the maximum, {self.max}")
        if self.step < 1:
            raise InvalidSpace(".int.step", f"{self.step} is below 1")
        if self.log and self.min < 1:
            raise InvalidSpace(".int.min", f"{self.min} is below 1, which a logarithmic range does not reach")

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.max - self.min) // self.step + 1

    def value_at(self, index: int) -> int:
        """The value with this index, counted from the smallest."""
        return self.min + index * self.step

    def index_of(self, value: ParameterValue) -> int:
        """The index of a value that the range contains."""
        if not self.contains(value):
            raise ValueError(f"{value!r} is not in {self}")
        return (int(value) - self.min) // self.step

    def contains(self, value: object) -> bool:
        """Whether `value` is one of the whole numbers; `4.0` is `4`."""
        if not is_finite_number(value):
            return False
        whole = identity(value)
        return (
            isinstance(whole, int) and self.min <= whole <= self.max and (whole - self.min) % self.step == 0
        )

    def encode(self, value: ParameterValue) -> tuple[float, ...]:
        """Place of `value` between the smallest (0) and the largest (1)."""
        index = self.index_of(value)
        if self.size == 1:
            return (0.5,)
        if self.log:
            return (math.log(int(value) / self.min) / math.log(self._last / self.min),)
        return (index / (self.size - 1),)

    def decode(self, unit: Sequence[float]) -> int:
        """The value nearest to that place."""
        place = min(1.0, max(0.0, unit[0]))
        if self.log:
            place = (self.min * (self._last / self.min) ** place - self.min) / max(1, self._last - self.min)
        return self.value_at(min(self.size - 1, max(0, round(place * (self.size - 1)))))

    def drawn(self, place: float) -> int:
        """The value that a random number in [0, 1) draws: evenly, or evenly by ratio if `log`."""
        if not self.log:
            return self.value_at(int(place * self.size))
        above_last = self.value_at(self.size)
        number = self.min * (above_last / self.min) ** place
        return self.value_at(min(self.size - 1, int((number - self.min) / self.step)))

    def grid_values(self) -> Sequence[int]:
        """All values in order, without building a list of them."""
        return range(self.min, self._last + 1, self.step)

    @property
    def _last(self) -> int:
        return self.value_at(self.size - 1)


@dataclass(frozen=True, slots=True)
class _RealRange(ABC):
    """Real numbers between two bounds; `steps` of them, bounds included, or all of them if None."""

    min: float
    max: float
    steps: int | None = None
    _digits: int = field(init=False, repr=False, compare=False)

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for name in ("min", "max"):
            value = getattr(self, name)
            if not is_finite_number(value) or abs(value) > _LARGEST_REAL:
                raise InvalidSpace(f".{self.kind}.{name}", f"{value!r} is not a number between ±1e100")
            object.__setattr__(self, name, float(value))
        if self.min >= self.max:
            raise InvalidSpace(f".{self.kind}.min", f"{self.min:g} is not below the maximum, {self.max:g}")
        if self.steps is not None and not 2 <= self.steps <= _MOST_STEPS:
            raise InvalidSpace(f".{self.kind}.steps", f"{self.steps} is not between 2 and {_MOST_STEPS}")
        # A range that is narrow against its values needs more digits for its values to differ.
        narrowness = max(abs(self.min), abs(self.max)) / (self.max - self.min)
        digits = PROPOSED_DIGITS + max(0, math.ceil(math.log10(narrowness) - 0.5))
        if digits > IDENTITY_DIGITS:
            message = f"{self.min!r} to {self.max!r} is too narrow to tell values apart; list them as values"
            raise InvalidSpace(f".{self.kind}.max", message)
        object.__setattr__(self, "_digits", digits)

    @property
    def size(self) -> int | None:
        """Number of values, None if every real number of the range is one."""
        return self.steps

    def value_at(self, index: int) -> float:
        """The value with this index, counted from the smallest; needs `steps`."""
        return self._at(index / (self._require_steps() - 1))

    def index_of(self, value: ParameterValue) -> int:
        """The index of a value that the range contains; needs `steps`."""
        steps = self._require_steps()
        if not self.contains(value):
            raise ValueError(f"{value!r} is not in {self}")
        return round(self._place(float(value)) * (steps - 1))

    def contains(self, value: object) -> bool:
        """Whether `value` lies between the bounds and, with `steps`, is one of the steps."""
        if not is_finite_number(value):
            return False
        number = float(value)
        if self.steps is None or not self.min <= number <= self.max:
            return self.min <= number <= self.max
        nearest = self.value_at(round(self._place(number) * (self.steps - 1)))
        return identity(nearest) == identity(number)

    def encode(self, value: ParameterValue) -> tuple[float, ...]:
        """Place of `value` between the bounds, on the range's own scale."""
        if self.steps is not None:
            return (self.index_of(value) / (self.steps - 1),)
        if not self.contains(value):
            raise ValueError(f"{value!r} is not in {self}")
        return (self._place(float(value)),)

    def decode(self, unit: Sequence[float]) -> float:
        """The value at that place, rounded to what is written in a manifest; never outside the bounds."""
        place = min(1.0, max(0.0, unit[0]))
        if self.steps is not None:
            return self.value_at(round(place * (self.steps - 1)))
        return self._at(place)

    def drawn(self, place: float) -> float:
        """The value that a random number in [0, 1) draws, evenly on the range's own scale."""
        return self._at(place) if self.steps is None else self.value_at(int(place * self.steps))

    def grid_values(self) -> Sequence[float]:
        """The `steps` values in order.

        Raises:
            InvalidSpace: If the range has no `steps`.
        """
        return [self.value_at(index) for index in range(self._require_steps())]

    def _require_steps(self) -> int:
        if self.steps is None:
            message = "a grid needs the number of steps of a real range: set steps, or list values"
            raise InvalidSpace(f".{self.kind}.steps", message)
        return self.steps

    def _at(self, place: float) -> float:
        # The bounds are given back as a person wrote them, not rounded.
        if place <= 0.0 or place >= 1.0:
            return self.min if place <= 0.0 else self.max
        rounded = round_significant(self._value(place), self._digits)
        return min(self.max, max(self.min, rounded))

    @abstractmethod
    def _value(self, place: float) -> float: ...

    @abstractmethod
    def _place(self, value: float) -> float: ...


@dataclass(frozen=True, slots=True)
class UniformRange(_RealRange):
    """Real numbers, equal differences being equally likely."""

    kind: ClassVar[str] = "uniform"

    def _value(self, place: float) -> float:
        return self.min + place * (self.max - self.min)

    def _place(self, value: float) -> float:
        return (value - self.min) / (self.max - self.min)


@dataclass(frozen=True, slots=True)
class LogUniformRange(_RealRange):
    """Positive real numbers, equal ratios being equally likely: the scale for learning rates."""

    kind: ClassVar[str] = "logUniform"

    def __post_init__(self) -> None:
        if is_finite_number(self.min) and self.min < 1 / _LARGEST_REAL:
            raise InvalidSpace(".logUniform.min", f"{self.min!r} is not above zero")
        _RealRange.__post_init__(self)

    def _value(self, place: float) -> float:
        return self.min * math.exp(place * math.log(self.max / self.min))

    def _place(self, value: float) -> float:
        return math.log(value / self.min) / math.log(self.max / self.min)


__all__ = ["IntRange", "LogUniformRange", "Parameter", "UniformRange", "Values"]

Parameter: TypeAlias = IntRange | UniformRange | LogUniformRange | Values
