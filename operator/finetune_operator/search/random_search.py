"""Random search: base models are equally likely, then each value on its parameter's own scale.

A finite space is drained completely: the draw is uniform over the combinations of a base model that are left.
"""

import random

from finetune_operator.search.availability import MOST_DRAWS, MOST_REFUSED, Availability, random_for
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
    if arm.size is not None:
        return _draw_from_finite(arm, arm.size, available, generator)
    # Six digits of a real number leave so many values that repeats are rare; only `allow` can refuse many.
    draws = (_draw_value_by_value(arm, generator) for _ in range(MOST_DRAWS))
    return next(filter(available, draws), None)


def _draw_value_by_value(arm: Arm, generator: random.Random) -> Point:
    return arm.point(
        [
            parameter.decode((generator.random(),))
            if parameter.size is None
            else parameter.value_at(generator.randrange(parameter.size))
            for parameter in arm.branch.parameters.values()
        ]
    )


def _draw_from_finite(arm: Arm, size: int, available: Availability, generator: random.Random) -> Point | None:
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
