"""From sweeps to figures: mean regrets, and ratios on the same pairs with bootstrap intervals.

A pair is a problem and a seed. A ratio is the mean regret of a method divided by that of ours over the pairs that
both have; its interval is that of 2,000 resamples of the seeds within each problem.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.search.arena import PLACES, Sweep

_RESAMPLES = 2_000
Results = Mapping[tuple[str, str, str, int], Sweep]


@dataclass(frozen=True)
class Comparison:
    """A method against ours in one mode at one number of completed trials.

    Attributes:
        pairs: How many pairs both have.
        own: Mean regret of ours on them.
        other: Mean regret of the method on them.
        ratio: Of the two.
        low: Lower end of the 95 % interval.
        high: Upper end.
        wins: Share of pairs on which ours is lower, ties counted as half.
    """

    pairs: int
    own: float
    other: float
    ratio: float
    low: float
    high: float
    wins: float


def compare(
    results: Results,
    problems: Sequence[str],
    method: str,
    mode: str,
    place: int,
    *,
    recommended: bool = False,
) -> Comparison | None:
    """Compare a method with ours, None if they have no pair in common.

    Args:
        results: By problem, method, mode and seed.
        problems: Which problems count.
        method: The method.
        mode: `sequential` or `parallel`.
        place: Number of completed trials.
        recommended: Whether ours is judged by the trial that it recommends rather than the best observed one.
    """
    blocks: list[NDArray[np.float64]] = []
    for problem in problems:
        rows = []
        for name, other, way, seed in results:
            if (name, other, way) == (problem, method, mode) and (
                own := results.get((problem, "ours", mode, seed))
            ):
                mine = own.recommended[PLACES.index(place)] if recommended else own.regrets[place - 1]
                rows.append((mine, results[name, other, way, seed].regrets[place - 1]))
        if rows:
            blocks.append(np.array(rows))
    if not blocks:
        return None
    both = np.concatenate(blocks)
    generator = np.random.default_rng(0)
    sums = np.zeros((_RESAMPLES, 2))
    for block in blocks:
        chosen = generator.integers(len(block), size=(_RESAMPLES, len(block)))
        sums += block[chosen].sum(axis=1)
    ratios = sums[:, 1] / np.maximum(sums[:, 0], 1e-12)
    own, other = both.mean(axis=0)
    low, high = np.quantile(ratios, (0.025, 0.975))
    wins = float((both[:, 0] < both[:, 1]).mean() + 0.5 * (both[:, 0] == both[:, 1]).mean())
    return Comparison(len(both), own, other, other / max(own, 1e-12), float(low), float(high), wins)


def mean_curve(results: Results, problems: Sequence[str], method: str, mode: str) -> list[float]:
    """Mean regret after 1, 2, ... completed trials over all pairs."""
    rows = [
        sweep.regrets
        for (problem, own, way, _), sweep in results.items()
        if problem in problems and (own, way) == (method, mode)
    ]
    return [float(value) for value in np.mean(rows, axis=0)] if rows else []
