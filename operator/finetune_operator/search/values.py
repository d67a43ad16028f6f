"""Hyperparameter values: what makes two of them the same, and how real ones are rounded.

A value travels through YAML, JSON and an API server before it comes back as part of an observation. On the
way `2.0` may turn into `2`, and a real number may lose its last bits; neither makes it another value.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TypeAlias, TypeGuard

ParameterValue: TypeAlias = int | float | str

# Two reals that agree in this many significant digits are one value.
IDENTITY_DIGITS = 12
# A real value is proposed with this many significant digits, more where its range is narrow.
PROPOSED_DIGITS = 6


def is_finite_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a number that a float can hold. A bool is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # An int may be larger, and NaN compares false.


def round_significant(value: float, digits: int) -> float:
    """`value` rounded to `digits` significant decimal digits."""
    return float(f"{value:.{digits - 1}e}")


def identity(value: ParameterValue) -> int | float | str:
    """The representative of all values that count as the same one: equal exactly when they are.

    Whole numbers become ints, other reals keep `IDENTITY_DIGITS` digits. A text is never a number.
    """
    if isinstance(value, str) or not isinstance(value, float) or not math.isfinite(value):
        return value
    rounded = round_significant(value, IDENTITY_DIGITS)
    return int(rounded) if rounded.is_integer() else rounded


class FrozenParameters(Mapping[str, ParameterValue]):
    """An immutable mapping of parameter names to values, sorted by name."""

    __slots__ = ("_items",)

    def __init__(self, parameters: Mapping[str, ParameterValue]) -> None:
        self._items = tuple(sorted(parameters.items()))

    def __getitem__(self, name: str) -> ParameterValue:
        for own_name, value in self._items:
            if own_name == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return repr(dict(self._items))
