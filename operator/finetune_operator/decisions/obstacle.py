"""What keeps a sweep from launching trials until a person has cleared it away."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why nothing is bought now although the search goes on.

    Attributes:
        reason: One CamelCase word for conditions.
        message: The same for people: what it is, and what to do.
        hides_trials: There are trials of which nothing is known: they may go on, and cost, and one may be the best, so
            that the sweep cannot end either.
    """

    reason: str
    message: str
    hides_trials: bool = False
