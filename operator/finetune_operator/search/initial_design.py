"""The first trials of a Bayesian search, before there are scores to learn from.

The first one is the centre of its space. The others are a scrambled Sobol sequence squeezed to the central
80 % of each range, since corners are seldom good and seldom tell much. Base models are dealt in turn, in an
order that the seed picks.
"""

from collections.abc import Iterator

import numpy as np
from scipy.stats import qmc

from finetune_operator.search.availability import random_for, seed_for
from finetune_operator.search.parameters import Parameter, Values
from finetune_operator.search.points import Point
from finetune_operator.search.space import SearchSpace
from finetune_operator.search.values import ParameterValue

DEFAULT_TRIALS = 6
_CENTRAL_SHARE = 0.8


def initial_points(space: SearchSpace, seed: int, length: int) -> Iterator[Point]:
    """At least `length` points in the order in which they are to be tried; small spaces repeat some.

    A longer design begins with the points of a shorter one.
    """
    arms = random_for(seed, "arms", 0).sample(space.arms, len(space.arms))
    names = sorted({name for branch in space.branches for name in branch.parameters})
    sequence = qmc.Sobol(max(1, len(names)), rng=np.random.default_rng(seed_for(seed, "design", 0)))
    # Sobol sequences are balanced, and silent, in powers of two.
    places = sequence.random_base2((max(2, length) - 1).bit_length())
    places[0] = 0.5
    for turn, place in enumerate(places):
        arm = arms[turn % len(arms)]
        own = dict(zip(names, place, strict=False))
        yield arm.point([_value(parameter, own[name]) for name, parameter in arm.branch.parameters.items()])


def _value(parameter: Parameter, place: float) -> ParameterValue:
    if isinstance(parameter, Values) and parameter.categorical:
        return parameter.value_at(min(int(place * parameter.size), parameter.size - 1))
    return parameter.decode((0.5 + _CENTRAL_SHARE * (place - 0.5),))
