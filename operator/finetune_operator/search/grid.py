"""Grid search: every point once, in a fixed order that does not depend on the seed.

Points are numbered and never listed. In round r, each base model that still has one gets its r-th combination
of values, so that a grid that a budget cuts short has compared all base models rather than exhausted one.
Within a base model the first parameter by name varies fastest.
"""

from finetune_operator.search.availability import MOST_REFUSED, Availability
from finetune_operator.search.points import Point
from finetune_operator.search.space import Arm, SearchSpace


def grid_point(space: SearchSpace, index: int) -> Point:
    """The point of a finite space with this number, from 0 up to the space's size."""
    first_round, before = 0, 0
    for size in sorted({_size(arm) for arm in space.arms}):
        active = [arm for arm in space.arms if _size(arm) >= size]
        count = (size - first_round) * len(active)
        if index < before + count:
            rounds, turn = divmod(index - before, len(active))
            return active[turn].point_at(first_round + rounds)
        first_round, before = size, before + count
    raise IndexError(f"{index} is not below {before}, the size of the space")


def grid_index(space: SearchSpace, point: Point) -> int:
    """The number of a point that the finite space contains: the inverse of `grid_point`."""
    own = next(turn for turn, arm in enumerate(space.arms) if arm.contains(point))
    combination = space.arms[own].index_of(point)
    earlier_rounds = sum(min(_size(arm), combination) for arm in space.arms)
    same_round = sum(_size(arm) > combination for arm in space.arms[:own])
    return earlier_rounds + same_round


def next_grid_point(space: SearchSpace, available: Availability) -> Point | None:
    """The first point in grid order that is available, None if there is none."""
    size = space.size
    seen = {grid_index(space, point) for point in available.history.points if space.contains(point)}
    index = refused = 0
    while size is not None and index < size and refused < MOST_REFUSED:
        if index not in seen:
            point = grid_point(space, index)
            if available(point):
                return point
            refused += 1
        index += 1
    return None


def _size(arm: Arm) -> int:
    return arm.size or 0
