"""A job's intermediate metrics, few enough for a trial's status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from finetune_providers.base import MetricPoint

MOST_POINTS = 100
T = TypeVar("T")


def thinned(points: Sequence[MetricPoint], most: int = MOST_POINTS) -> tuple[MetricPoint, ...]:
    """At most so many points: the first and the last, then those with validation, then the others, evenly.

    Validation is measured far more seldom than the training loss, and it is what a model is judged by.

    Args:
        points: In order of steps.
        most: At least 2.
    """
    if len(points) <= most:
        return tuple(points)
    inner = range(1, len(points) - 1)
    judged = [place for place in inner if points[place].values.keys() - {"trainingLoss"}]
    kept = {0, len(points) - 1, *_evenly(judged, most - 2)}
    kept.update(_evenly([place for place in inner if place not in kept], most - len(kept)))
    return tuple(points[place] for place in sorted(kept))


def _evenly(items: Sequence[T], number: int) -> Sequence[T]:
    """So many of the items, the last one among them."""
    if len(items) <= number:
        return items
    if number < 2:
        return items[len(items) - number :]
    return [items[index * (len(items) - 1) // (number - 1)] for index in range(number)]
