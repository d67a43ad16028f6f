"""What a problem of the bench is, and how a search's answers to it are judged.

True values are known: of a table the mean over its repetitions, of a surface its value without noise. A search
sees one noisy value for each point, the same for every method with the same seed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from finetune_operator.search import Observation, Point, SearchSpace, propose

_DRAWS = 600


@dataclass(frozen=True)
class Problem:
    """A space with a score for each of its points; more is better.

    Attributes:
        name: Unique.
        group: Problems of one origin: `HPOBench`, `HPOlib`, `trained`, `local`, `branches`,
            `functions`.
        split: Methods are tuned on `development`; claims are made on `held-out`.
        space: The space.
        truth: The true score of a point; None where the trial fails.
        observe: One noisy score, given a generator.
        best: The highest true score in the space.
    """

    name: str
    group: str
    split: Literal["development", "held-out"]
    space: SearchSpace
    truth: Callable[[Point], float | None]
    observe: Callable[[Point, np.random.Generator], float | None]
    best: float

    def observed(self, point: Point, seed: int) -> float | None:
        """What a trial at this point scores; the same whenever it is asked with this seed."""
        digest = hashlib.sha256(f"{self.name}/{seed}/{point.key}".encode()).digest()
        return self.observe(point, np.random.default_rng(int.from_bytes(digest[:8], "big")))

    @cached_property
    def draws(self) -> tuple[Point, ...]:
        """Random points of the space, for its median."""
        points: list[Point] = []
        for seed in range(_DRAWS):
            (proposal,) = propose(self.space, method="Random", seed=seed, history=())
            points.append(proposal.point)
        return tuple(points)

    @cached_property
    def median(self) -> float:
        """The median true score of random points that do not fail."""
        return float(np.median([value for point in self.draws if (value := self.truth(point)) is not None]))

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the problem does."""
        told = [
            (point.key, repr(self.truth(point)), repr(self.observed(point, 0))) for point in self.draws[:80]
        ]
        return hashlib.sha256(repr((told, self.best, repr(self.space))).encode()).hexdigest()[:16]

    def regret(self, point: Point | None) -> float:
        """How far a chosen point is from the best: 0 is the best one, 1 as good as the median random one.

        Without a point, since every trial failed, 1.
        """
        value = None if point is None else self.truth(point)
        return 1.0 if value is None else (self.best - value) / (self.best - self.median)


def best_observed(history: list[Observation]) -> Point | None:
    """The point with the highest score, the first of several."""
    scored = [entry for entry in history if entry.finite_score is not None]
    return max(scored, key=lambda entry: entry.score or 0.0).point if scored else None
