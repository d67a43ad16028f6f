"""What earlier scores are worth to a search: `python -m tests.benchmarks.warm_start [SEEDS]`.

Surfaces over two base models, a learning rate, epochs and a rank, each with one optimum and noise of 0.01. An earlier
search of 20 trials saw the same surface, a shifted one on another scale, or one whose optimum lies at the opposite
end. Printed is the mean regret (best true score - true score of the best point tried) after some numbers of trials.
As in a sweep, up to three of the best earlier points are tried first, one where the surface is another.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Observation,
    Point,
    PriorObservation,
    SearchSpace,
    Values,
    propose,
)

SHOWN = (1, 3, 5, 8, 12, 16)
NOISE = 0.01
EARLIER_TRIALS = 20
RANKS = ("4", "8", "16", "32", "64")
MODELS = ("tiny-1", "tiny-2")
SPACE = SearchSpace(
    (
        Branch(
            "small",
            MODELS,
            {
                "learningRate": LogUniformRange(1e-5, 1e-2),
                "epochs": IntRange(1, 8),
                "loraRank": Values(RANKS),
            },
        ),
    )
)
Floats = NDArray[np.float64]
Surface = Callable[[Point], float]


def surface(optimum: Floats, second_model: float, *, scale: float = 1.0, offset: float = 0.0) -> Surface:
    """Scores with one optimum, given as shares of the three ranges; a higher rate wants fewer epochs."""

    def score(point: Point) -> float:
        values = point.parameters
        rate = math.log(float(values["learningRate"]) / 1e-5) / math.log(1e3) - optimum[0]
        epochs = (float(values["epochs"]) - 1) / 7 - optimum[1] + 0.25 * rate
        rank = math.log2(float(values["loraRank"]) / 4) / 4 - optimum[2]
        gain = second_model * (point.base_model == MODELS[1])
        return offset + scale * float(0.9 - 2.4 * rate**2 - 0.4 * epochs**2 - 0.2 * rank**2 + gain)

    return score


def highest(score: Surface) -> float:
    """The best true score, to the fineness of 61 learning rates."""
    return max(
        score(
            Point(
                "small",
                model,
                {"learningRate": 1e-5 * 1e3 ** (step / 60), "epochs": epochs, "loraRank": int(rank)},
            )
        )
        for model in MODELS
        for step in range(61)
        for epochs in range(1, 9)
        for rank in RANKS
    )


def search(
    score: Surface,
    trials: int,
    *,
    seed: int,
    prior: Sequence[PriorObservation] = (),
    first: Sequence[Point] = (),
) -> list[Observation]:
    """One search; what is observed is noisy."""
    noise, history = np.random.default_rng(1000 + seed), list[Observation]()
    for _ in range(trials):
        (proposal,) = propose(
            SPACE, method="Bayesian", seed=seed, history=history, prior=prior, first_points=first
        )
        observed = score(proposal.point) + NOISE * float(noise.standard_normal())
        history.append(Observation(proposal.point, "Finished", observed))
    return history


def regrets(seed: int) -> dict[str, list[float]]:
    """Of one surface and its kin, by what was known before."""
    random = np.random.default_rng(seed)
    optimum, second = random.uniform(0.2, 0.8, 3), float(random.uniform(-0.1, 0.1))
    now = surface(optimum, second)
    shifted = np.clip(optimum + random.uniform(-0.12, 0.12, 3), 0, 1)
    earlier = {
        "the same": now,
        "shifted": surface(shifted, second + 0.02, scale=0.5, offset=0.2),
        "misleading": surface(1 - optimum, -second, scale=0.7, offset=0.1),
    }
    top = highest(now)
    found = {"nothing": search(now, SHOWN[-1], seed=seed)}
    for name, other in earlier.items():
        known = search(other, EARLIER_TRIALS, seed=seed + 500)
        task = "" if name == "the same" else name
        ranked = sorted(known, key=lambda seen: -(seen.score or 0.0))
        found[name] = search(
            now,
            SHOWN[-1],
            seed=seed,
            prior=[PriorObservation(seen.point, seen.score or 0.0, task) for seen in known],
            first=[seen.point for seen in ranked[: 1 if task else 3]],
        )
    return {
        name: [top - max(now(seen.point) for seen in history[:shown]) for shown in SHOWN]
        for name, history in found.items()
    }


def main(seeds: int) -> None:
    """Print the table."""
    tables = [regrets(seed) for seed in range(seeds)]
    print("earlier".ljust(12), *(f"@{shown}".rjust(7) for shown in SHOWN))
    for name in tables[0]:
        means = np.mean([table[name] for table in tables], axis=0)
        print(name.ljust(12), *(f"{mean:7.4f}" for mean in means))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
