"""Which points may still be proposed, and what randomness a proposal has."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from finetune_operator.search.points import History, Point

# How many points that the caller does not allow are looked at before a search gives up.
MOST_REFUSED = 20_000
# The same for one base model whose values are drawn from a continuous range.
MOST_DRAWS = 5_000
# How often a finite space may draw what it may not propose before what is left of it is numbered.
MOST_REPEATS = 32


@dataclass(frozen=True, slots=True)
class Availability:
    """Tells the points that may be proposed.

    Attributes:
        history: What was tried or is pending; never proposed again.
        allow: The caller's own filter, or None.
    """

    history: History
    allow: Callable[[Point], bool] | None = None

    def __call__(self, point: Point) -> bool:
        """Whether the point is neither tried nor pending, and is allowed."""
        return point.key not in self.history.keys and (self.allow is None or self.allow(point))


def seed_for(seed: int, purpose: str, number: int) -> int:
    """A 64-bit seed for one purpose; the same in every process and on every platform."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def random_for(seed: int, purpose: str, number: int) -> random.Random:
    """A generator that depends on nothing but the arguments."""
    return random.Random(seed_for(seed, purpose, number))  # noqa: S311 - not for secrets
