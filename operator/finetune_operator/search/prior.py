"""What is known from earlier searches."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from finetune_operator.search.points import Direction, Point
from finetune_operator.search.space import SearchSpace


@dataclass(frozen=True, slots=True)
class PriorObservation:
    """A finished trial of an earlier search, at a point of this one's space.

    Attributes:
        point: Its configuration.
        score: The objective, in the units of its own task.
        task: Which earlier task it belongs to; "" if its score can be compared with this search's.
    """

    point: Point
    score: float
    task: str = ""


@dataclass(frozen=True, slots=True)
class Prior:
    """Earlier observations in canonical order, more being better.

    Attributes:
        comparable: Points and scores of the same task.
        others: Points and scores of each other task.
    """

    comparable: tuple[tuple[Point, float], ...] = ()
    others: tuple[tuple[tuple[Point, float], ...], ...] = ()

    @classmethod
    def of(
        cls, observations: Iterable[PriorObservation], space: SearchSpace, direction: Direction
    ) -> "Prior":
        """Sort out the observations that lie in the space and have a finite score."""
        sign = 1.0 if direction == "Maximize" else -1.0
        tasks: dict[str, list[tuple[Point, float]]] = {}
        for each in observations:
            if math.isfinite(each.score) and space.contains(each.point):
                tasks.setdefault(each.task, []).append((each.point, sign * each.score))
        ordered = {
            task: tuple(sorted(found, key=lambda pair: (pair[0].key, pair[1])))
            for task, found in tasks.items()
        }
        others = tuple(ordered[task] for task in sorted(ordered) if task)
        return cls(ordered.get("", ()), others)


NO_PRIOR = Prior()
