"""Random search: base models are equally likely, then each value on its parameter's own scale.

A finite space is used up completely: when draws only repeat, all that is left is equally likely.
"""

import random

from finetune_operator.search.availability import (
    MOST_DRAWS,
    MOST_REFUSED,
    MOST_REPEATS,
    Availability,
    random_for,
)
from finetune_operator.search.points import Point
from finetune_operator.search.space import Arm, SearchSpace


def next_random_point(space: SearchSpace, available: Availability, seed: int) -> Point | None:
    """A point that is available, None if none was found; depends on the seed and the history's length."""
    generator = random_for(seed, "random", available.history.length)
    # The first arm of a shuffled list that has a point left is a uniform choice among those that have.
    for arm in generator.sample(space.arms, len(space.arms)):
        point = _draw(arm, available, generator)
        if point is not None:
            return point
    return None


def _draw(arm: Arm, available: Availability, generator: random.Random) -> Point | None:
    # Repeats are rare in a continuous space, and only `allow` can refuse many points there.
    tries = MOST_DRAWS if arm.size is None else MOST_REPEATS
    draws = (_draw_value_by_value(arm, generator) for _ in range(tries))
    point = next(filter(available, draws), None)
    if point is None and arm.size is not None:
        return _draw_from_rest(arm, arm.size, available, generator)
    return point


def _draw_value_by_value(arm: Arm, generator: random.Random) -> Point:
    parameters = arm.branch.parameters.values()
    return arm.point([parameter.drawn(generator.random()) for parameter in parameters])


def _draw_from_rest(arm: Arm, size: int, available: Availability, generator: random.Random) -> Point | None:
    seen = sorted({arm.index_of(point) for point in available.history.points if arm.contains(point)})
    if len(seen) >= size:
        return None
    start = generator.randrange(size - len(seen))
    for index in seen:  # Shifts the start-th point that is left to its index among all points.
        start += index <= start
    tried = set(seen)
    # Without a filter the first step hits; with one the walk meets each point that is left.
    for step in range(min(size, MOST_REFUSED + len(seen))):
        index = (start + step) % size
        if index not in tried:
            point = arm.point_at(index)
            if available(point):
                return point
    return None
