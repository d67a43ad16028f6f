"""All branches of a space as rows of one matrix, for the Gaussian process.

Notation:

    a       number of arms: a base model within a candidate
    d       number of columns
    draw    how a value is written before it is encoded: its index where the parameter is finite, its place in
            [0, 1] where it is continuous; draws of several points have one row for each point and one column
            for each parameter of the arm

Columns are the arms' indicators times 0.4, then one axis for each parameter. A parameter that several
branches have under one name shares one axis, which spans all their ranges and is logarithmic if any of them
is: what was learnt about `epochs` with one base model counts for the others. Texts and numbers of one name
have an axis each. In the columns of a parameter that an arm lacks, its rows hold 0.5, or 0 for indicators.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from finetune_operator.search.parameters import IntRange, LogUniformRange, Parameter, Values
from finetune_operator.search.points import Point
from finetune_operator.search.space import Arm, SearchSpace

Matrix: TypeAlias = NDArray[np.float64]

# Two categories are nearer to each other than the two ends of a range: a measured gain.
INDICATOR = 0.4
NEUTRAL = 0.5


@dataclass(frozen=True, slots=True)
class Axis:
    """The columns of one parameter.

    Attributes:
        scale: `category` has a column for each text; `rank` places a number by its position in `levels`,
            `linear` and `log` by its value between the first and the last level.
        levels: The texts or numbers that define the scale, sorted.
        continuous: Whether any branch draws from a continuous range.
    """

    scale: str
    levels: tuple[int | float | str, ...]
    continuous: bool

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.levels) if self.scale == "category" else 1

    def encode(self, parameter: Parameter, draws: Matrix) -> Matrix:
        """Encode draws of one branch's parameter, shape (n,), to shape (n, width)."""
        if self.scale == "category":
            own = np.array([self.levels.index(value) for value in parameter.grid_values()])
            return np.asarray(INDICATOR * np.eye(self.width)[own[draws.astype(np.int64)]])
        numbers = _numbers(parameter, draws)
        if self.scale == "rank":
            places = np.searchsorted(np.array(self.levels, dtype=float), numbers) / max(
                1, len(self.levels) - 1
            )
            return np.asarray(places[:, None])
        first, last = float(self.levels[0]), float(self.levels[-1])
        if first == last:
            return np.full((len(draws), 1), NEUTRAL)
        if self.scale == "log":
            return np.asarray((np.log(numbers / first) / math.log(last / first))[:, None])
        return np.asarray(((numbers - first) / (last - first))[:, None])


class Encoder:
    """Encodes points of one space.

    Attributes:
        space: The space.
        columns: d, at least 1.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._axes: dict[tuple[str, bool], tuple[int, Axis]] = {}
        self.columns = len(space.arms)
        for key, group in sorted(_groups(space).items()):
            axis = _axis(group)
            self._axes[key] = (self.columns, axis)
            self.columns += axis.width
        self._middles, self._scales = self._ranges()

    def rows(self, arm: Arm, draws: Matrix) -> Matrix:
        """Encode draws of one arm, shape (n, its parameters), to rows, shape (n, d)."""
        rows = np.zeros((len(draws), self.columns))
        for first, axis in self._axes.values():
            if axis.scale != "category":
                rows[:, first] = NEUTRAL
        rows[:, self.space.arms.index(arm)] = INDICATOR
        for position, (name, parameter) in enumerate(arm.branch.parameters.items()):
            first, axis = self._axes[name, _categorical(parameter)]
            rows[:, first : first + axis.width] = axis.encode(parameter, draws[:, position])
        return rows

    def encode(self, points: Iterable[Point]) -> Matrix:
        """Encode points of the space, shape (number of points, d)."""
        by_arm: dict[Arm, list[tuple[int, Point]]] = {}
        count = 0
        for point in points:
            if arm := self.space.arm_of(point):
                by_arm.setdefault(arm, []).append((count, point))
                count += 1
        rows = np.empty((count, self.columns))
        for arm, own in by_arm.items():
            draws = np.concatenate([draws_of(arm, point) for _, point in own])
            rows[[position for position, _ in own]] = self.rows(arm, draws)
        return rows

    def places(self, rows: Matrix) -> Matrix:
        """Where points lie in the ranges of their arms, shape (m, d).

        In the column of a parameter with an order: -1 at the lower end of the arm's own range, 0 in its middle, 1 at
        its upper end. In all others 0.

        Args:
            rows: Encoded points, shape (m, d).
        """
        arms = rows[:, : len(self.space.arms)].argmax(axis=1)
        return np.asarray((rows - self._middles[arms]) * self._scales[arms])

    def _ranges(self) -> tuple[Matrix, Matrix]:
        """Middles of the arms' ranges in each column, and 1 / half their widths or 0, shape (a, d) each."""
        middles = np.zeros((len(self.space.arms), self.columns))
        scales = np.zeros_like(middles)
        for position, arm in enumerate(self.space.arms):
            for name, parameter in arm.branch.parameters.items():
                first, axis = self._axes[name, _categorical(parameter)]
                if axis.scale != "category" and parameter.size != 1:
                    last = 1.0 if parameter.size is None else parameter.size - 1.0
                    low, high = axis.encode(parameter, np.array([0.0, last]))[:, 0]
                    middles[position, first] = 0.5 * (low + high)
                    scales[position, first] = 2.0 / (high - low)
        return middles, scales

    def closeness(self, continuous: float) -> Matrix:
        """How near two rows must be in each column to count as the same point, shape (d,).

        Args:
            continuous: The distance in a column of a continuous parameter, as a share of its range.
        """
        limits = np.full(self.columns, 1e-9)
        for first, axis in self._axes.values():
            if axis.continuous:
                limits[first] = continuous
        return limits


def draws_of(arm: Arm, point: Point) -> Matrix:
    """The draws that stand for one point of the arm, shape (1, its parameters)."""
    draws = [
        parameter.encode(point.parameters[name])[0]
        if parameter.size is None
        else float(parameter.index_of(point.parameters[name]))
        for name, parameter in arm.branch.parameters.items()
    ]
    return np.array([draws], dtype=float).reshape(1, len(draws))


def point_of(arm: Arm, draws: Sequence[float]) -> Point:
    """The point that one row of draws stands for."""
    return arm.point(
        [
            parameter.decode((draw,)) if parameter.size is None else parameter.value_at(int(draw))
            for parameter, draw in zip(arm.branch.parameters.values(), draws, strict=True)
        ]
    )


def _numbers(parameter: Parameter, draws: Matrix) -> Matrix:
    """The numbers that draws stand for, unrounded, shape (n,)."""
    if isinstance(parameter, IntRange):
        return parameter.min + parameter.step * draws
    if isinstance(parameter, Values):
        return np.array(parameter.items, dtype=float)[draws.astype(np.int64)]
    places = draws if parameter.steps is None else draws / (parameter.steps - 1)
    if isinstance(parameter, LogUniformRange):
        return np.asarray(parameter.min * np.exp(places * math.log(parameter.max / parameter.min)))
    return parameter.min + places * (parameter.max - parameter.min)


def _categorical(parameter: Parameter) -> bool:
    return isinstance(parameter, Values) and parameter.categorical


def _groups(space: SearchSpace) -> dict[tuple[str, bool], list[Parameter]]:
    groups: dict[tuple[str, bool], list[Parameter]] = {}
    for branch in space.branches:
        for name, parameter in branch.parameters.items():
            groups.setdefault((name, _categorical(parameter)), []).append(parameter)
    return groups


def _axis(parameters: Sequence[Parameter]) -> Axis:
    lists = [parameter for parameter in parameters if isinstance(parameter, Values)]
    if len(lists) == len(parameters):
        scale = "category" if lists[0].categorical else "rank"
        levels = sorted({value for values in lists for value in values.items})
        return Axis(scale, tuple(levels), continuous=False)
    bounds = [_bounds(parameter) for parameter in parameters]
    first, last = min(low for low, _ in bounds), max(high for _, high in bounds)
    logarithmic = first > 0 and any(
        isinstance(parameter, LogUniformRange) or (isinstance(parameter, IntRange) and parameter.log)
        for parameter in parameters
    )
    continuous = any(parameter.size is None for parameter in parameters)
    return Axis("log" if logarithmic else "linear", (first, last), continuous)


def _bounds(parameter: Parameter) -> tuple[float, float]:
    if isinstance(parameter, Values):
        return float(parameter.items[0]), float(parameter.items[-1])
    return float(parameter.min), float(parameter.max)
