"""The points among which a Bayesian search chooses.

Every combination of finite values, each with random values of the continuous parameters, as many times as
there is room for; random combinations where there are too many. In addition, small moves round the best
points so far, since improvements are often found next to them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from finetune_operator.search.encoding import Encoder, Matrix, draws_of
from finetune_operator.search.parameters import IntRange, Parameter, Values
from finetune_operator.search.points import Point
from finetune_operator.search.space import Arm

_SPREAD = 6_000  # Rows over the whole space; judging them takes a tenth of a second after 100 trials.
_MOVES = 250  # Rows round each of the best points.
_STRIDE = 0.1  # Deviation of a move, as a share of the range.


@dataclass(frozen=True, slots=True)
class Batch:
    """Points of one arm.

    Attributes:
        arm: The arm.
        draws: Shape (n, parameters of the arm); see `encoding`.
        rows: The same points encoded, shape (n, d).
    """

    arm: Arm
    draws: Matrix
    rows: Matrix


def candidate_batches(encoder: Encoder, best: Sequence[Point], generator: np.random.Generator) -> list[Batch]:
    """List points to choose from; tried ones may be among them.

    Args:
        encoder: Encoder of the space.
        best: Points whose surroundings are looked at closely.
        generator: Source of the random values.
    """
    quota = max(1, _SPREAD // len(encoder.space.arms))
    draws = [(arm, _spread(arm, quota, generator)) for arm in encoder.space.arms]
    draws += [(arm, _moves(arm, point, generator)) for point in best if (arm := encoder.space.arm_of(point))]
    return [Batch(arm, own, encoder.rows(arm, own)) for arm, own in draws]


def _spread(arm: Arm, quota: int, generator: np.random.Generator) -> Matrix:
    parameters = list(arm.branch.parameters.values())
    sizes = [parameter.size for parameter in parameters if parameter.size is not None]
    combinations = 1
    for size in sizes:
        combinations *= size
    if combinations > quota:
        count = quota
        finite = iter([_indices(own, generator.random(count)) for own in parameters if own.size is not None])
    else:
        repeats = 1 if len(sizes) == len(parameters) else quota // combinations
        count = combinations * repeats
        finite = _every_combination(sizes, repeats)
    columns = [
        generator.random(count) if parameter.size is None else next(finite) for parameter in parameters
    ]
    return np.array(columns, dtype=float).reshape(len(columns), count).T


def _indices(parameter: Parameter, places: Matrix) -> Matrix:
    """Indices of a finite parameter's values at places in [0, 1), evenly on its own scale."""
    size = parameter.size or 1
    if isinstance(parameter, IntRange) and parameter.log:
        low, above_last = parameter.min, parameter.value_at(size)
        indices = np.floor((low * (above_last / low) ** places - low) / parameter.step)
        return np.asarray(np.minimum(indices, size - 1))
    return np.floor(places * size)


def _every_combination(sizes: Sequence[int], repeats: int) -> "Iterator[np.ndarray]":
    index = np.tile(np.arange(int(np.prod(sizes, dtype=np.int64))), repeats)
    for size in sizes:
        yield index % size
        index = index // size


def _moves(arm: Arm, point: Point, generator: np.random.Generator) -> Matrix:
    parameters = list(arm.branch.parameters.values())
    draws = np.repeat(draws_of(arm, point), _MOVES, axis=0)
    if not parameters:
        return draws[:1]
    # Each row moves half of its parameters on average, and one for certain.
    moved = generator.random(draws.shape) < 0.5
    moved[np.arange(_MOVES), generator.integers(len(parameters), size=_MOVES)] = True
    for column, parameter in enumerate(parameters):
        target = _moved(parameter, draws[:, column], generator)
        draws[:, column] = np.where(moved[:, column], target, draws[:, column])
    return draws


def _moved(parameter: Parameter, draws: Matrix, generator: np.random.Generator) -> Matrix:
    if parameter.size is None:
        return np.clip(draws + _STRIDE * generator.standard_normal(len(draws)), 0.0, 1.0)
    if isinstance(parameter, Values) and parameter.categorical:
        return _indices(parameter, generator.random(len(draws)))
    stride = _STRIDE * generator.standard_normal(len(draws))
    if isinstance(parameter, IntRange) and parameter.log:
        number = parameter.min + parameter.step * draws
        steps = number * ((parameter.max / parameter.min) ** stride - 1.0) / parameter.step
    else:
        steps = stride * (parameter.size - 1)
    # At least one step, or the row would not move.
    steps = np.copysign(np.maximum(1.0, np.abs(np.rint(steps))), stride)
    return np.clip(draws + steps, 0.0, parameter.size - 1.0)
