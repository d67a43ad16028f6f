"""A hyperparameter that takes one of a few listed values; the same members as the ranges in `parameters`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from finetune_operator.search.errors import InvalidSpace
from finetune_operator.search.values import ParameterValue, identity, is_finite_number

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Values:
    """A list of values, written as texts; their type follows from all of them together.

    All whole numbers: ints. All numbers: floats. Otherwise texts. Numbers are ordered, and encoded by their
    rank; texts are categories, and each has an indicator of its own.

    Attributes:
        items: The typed values, sorted. What is passed in may be texts or numbers, in any order.
    """

    items: tuple[ParameterValue, ...]
    _index: dict[ParameterValue, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        typed = _typed([item if isinstance(item, str) else repr(item) for item in self.items])
        seen: dict[ParameterValue, ParameterValue] = {}
        for position, (given, value) in enumerate(zip(self.items, typed, strict=True)):
            if value == "":
                raise InvalidSpace(f".values[{position}]", "is empty")
            if not isinstance(value, str) and not is_finite_number(value):
                raise InvalidSpace(f".values[{position}]", f"{given!r} is too large a number")
            if identity(value) in seen:
                message = f"{given!r} is the same value as {seen[identity(value)]!r}"
                raise InvalidSpace(f".values[{position}]", message)
            seen[identity(value)] = given
        if not typed:
            raise InvalidSpace(".values", "lists no value; at least one is needed")
        ordered = tuple(sorted(typed))
        object.__setattr__(self, "items", ordered)
        object.__setattr__(self, "_index", {identity(value): index for index, value in enumerate(ordered)})

    @property
    def categorical(self) -> bool:
        """Whether the values are texts without an order."""
        return isinstance(self.items[0], str)

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.items)

    def value_at(self, index: int) -> ParameterValue:
        """The value with this index in sorted order."""
        return self.items[index]

    def index_of(self, value: ParameterValue) -> int:
        """The index of a listed value."""
        if not self.contains(value):
            raise ValueError(f"{value!r} is not in {self}")
        return self._index[identity(value)]

    def contains(self, value: object) -> bool:
        """Whether `value` is listed."""
        return (isinstance(value, str) or is_finite_number(value)) and identity(value) in self._index

    def encode(self, value: ParameterValue) -> tuple[float, ...]:
        """The rank in [0, 1] of a number; one indicator for each category of a text."""
        index = self.index_of(value)
        if self.categorical:
            return tuple(float(position == index) for position in range(self.size))
        return (index / (self.size - 1) if self.size > 1 else 0.5,)

    def decode(self, unit: Sequence[float]) -> ParameterValue:
        """The value of the nearest rank, or of the largest indicator."""
        if self.categorical:
            return self.items[max(range(self.size), key=lambda index: unit[index])]
        return self.items[round(min(1.0, max(0.0, unit[0])) * (self.size - 1))]

    def drawn(self, place: float) -> ParameterValue:
        """The value that a random number in [0, 1) draws; all are equally likely."""
        return self.items[int(place * self.size)]

    def grid_values(self) -> Sequence[ParameterValue]:
        """All values in order."""
        return self.items


def _typed(texts: Sequence[str]) -> list[ParameterValue]:
    if all(_WHOLE.fullmatch(text) for text in texts):
        return [int(text) for text in texts]
    if all(_DECIMAL.fullmatch(text) for text in texts):
        return [float(text) for text in texts]
    return list(texts)
