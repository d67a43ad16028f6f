"""Synthetic surfaces over unions of candidates: several providers, each with parameters of its own.

A candidate's score is a top of its own minus what is lost by a wrong learning rate, too few or too many epochs, a
wrong batch size or rank. The best learning rate moves with batch size, rank and base model; the ranges of one
name differ between candidates, and some candidates take a multiplier in place of a rate. What differs between
the problems is drawn from a seed.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tests.benchmarks.search.problem import Problem

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Parameter,
    Point,
    SearchSpace,
    UniformRange,
    Values,
)

Split = Literal["development", "held-out"]
# Name: seed, split, kind.
BRANCHES: dict[str, tuple[int, Split, str]] = {
    "branches/dev-two": (1, "development", "two"),
    "branches/dev-three": (2, "development", "three"),
    "branches/dev-five": (3, "development", "five"),
    "branches/dev-joined": (4, "development", "joined"),
    "branches/dev-split": (4, "development", "split"),
    "branches/dev-failing": (5, "development", "failing"),
    "branches/two": (101, "held-out", "two"),
    "branches/three": (102, "held-out", "three"),
    "branches/five": (103, "held-out", "five"),
    "branches/joined": (104, "held-out", "joined"),
    "branches/split": (104, "held-out", "split"),
    "branches/failing": (105, "held-out", "failing"),
}
_SEARCHED = 60_000


@dataclass(frozen=True)
class Surface:
    """What is lost, and where, with one base model.

    Attributes:
        top: The highest score.
        rate: Decimal logarithm of the best learning rate, or multiplier, at batch size 8 and rank 8.
        width: Decades of the rate that cost `fall`.
        fall: Loss there.
        with_batch, with_rank: How the logarithm of the best rate moves with that of the batch size, the rank.
        epochs: The best number of epochs, at the best rate; fewer with higher rates.
        rank: Binary logarithm of the best rank.
        fails_above: Decades above the best rate where training diverges, if it does.
    """

    top: float
    rate: float
    width: float
    fall: float
    with_batch: float
    with_rank: float
    epochs: float
    rank: float
    fails_above: float

    def score(self, values: dict[str, float]) -> float | None:
        """The true score, None if training fails."""
        rate = math.log10(values.get("learningRate", values.get("learningRateMultiplier", 1.0)))
        batch = math.log2(values.get("batchSize", 8.0)) - 3
        rank = math.log2(values.get("loraRank", 8.0)) - 3
        off = rate - self.rate - self.with_batch * batch * 0.301 + self.with_rank * rank * 0.301
        if off > self.fails_above:
            return None
        steep = 1.6 if off > 0 else 1.0
        lost = self.fall * math.tanh((steep * off / self.width) ** 2)
        epochs = values.get("epochs", 3.0) - self.epochs + 1.5 * max(-1.0, min(1.0, off))
        lost += 0.012 * abs(epochs) ** 1.5 * (0.5 if epochs < 0 else 1.0)
        lost += 0.008 * (rank + 3 - self.rank) ** 2 * ("loraRank" in values) + 0.004 * (batch + 0.5) ** 2
        lost += 0.05 * (values.get("warmup", 0.08) / 0.2 - 0.4) ** 2
        return self.top - lost


def _surface(generator: np.random.Generator, center: float, fails: bool) -> Surface:
    return Surface(
        top=0.80 + 0.05 * float(generator.standard_normal()),
        rate=center + 0.5 * float(generator.standard_normal()),
        width=float(generator.uniform(0.6, 1.6)),
        fall=float(generator.uniform(0.15, 0.45)),
        with_batch=float(generator.uniform(0.0, 0.8)),
        with_rank=float(generator.uniform(0.0, 0.5)),
        epochs=float(generator.uniform(1.5, 6.0)),
        rank=float(generator.uniform(2.0, 5.0)),
        fails_above=float(generator.uniform(0.4, 1.2)) if fails else 9.0,
    )


_OPENAI: dict[str, Parameter] = {
    "epochs": IntRange(1, 4),
    "learningRateMultiplier": LogUniformRange(0.1, 10),
    "batchSize": Values(("4", "8", "16")),
}
_NOVA: dict[str, Parameter] = {"epochs": IntRange(1, 5), "learningRate": LogUniformRange(1e-6, 1e-4)}
_LORA: dict[str, Parameter] = {
    "epochs": IntRange(1, 10),
    "learningRate": LogUniformRange(1e-6, 1e-2),
    "batchSize": Values(("1", "2", "4", "8", "16", "32")),
    "loraRank": Values(("1", "2", "4", "8", "16", "32", "64")),
}
_VERTEX: dict[str, Parameter] = {
    "epochs": IntRange(1, 8),
    "learningRateMultiplier": LogUniformRange(0.1, 10),
    "loraRank": Values(("1", "4", "8", "16")),
}
_COHERE: dict[str, Parameter] = {
    "epochs": IntRange(1, 10),
    "learningRate": LogUniformRange(5e-5, 1e-1),
    "batchSize": IntRange(2, 32),
    "warmup": UniformRange(0.0, 0.2),
}


def _branches(kind: str) -> tuple[Branch, ...]:
    openai = Branch("openai", ("mini", "nano"), _OPENAI)
    nova = Branch("nova", ("lite",), _NOVA)
    lora = Branch("local", ("small", "large"), _LORA)
    vertex = Branch("vertex", ("flash", "flash-lite"), _VERTEX)
    cohere = Branch("cohere", ("command",), _COHERE)
    return {
        "two": (openai, nova),
        "three": (openai, nova, lora),
        "five": (openai, nova, lora, vertex, cohere),
        "joined": (Branch("all", ("a", "b", "c"), _LORA),),
        "split": tuple(Branch(model, (model,), _LORA) for model in ("a", "b", "c")),
        "failing": (lora, cohere),
    }[kind]


def branch_problem(name: str) -> Problem:
    """The problem with this name in `BRANCHES`."""
    seed, split, kind = BRANCHES[name]
    space = SearchSpace(_branches(kind))
    generator = np.random.default_rng(seed)
    surfaces: dict[str, Surface] = {}
    for arm in space.arms:
        rate = arm.branch.parameters.get("learningRate", arm.branch.parameters.get("learningRateMultiplier"))
        assert isinstance(rate, LogUniformRange)
        center = 0.5 * (math.log10(rate.min) + math.log10(rate.max))
        surfaces[arm.base_model] = _surface(generator, center, kind == "failing")

    def truth(point: Point) -> float | None:
        values = {parameter: float(value) for parameter, value in point.parameters.items()}
        return surfaces[point.base_model].score(values)

    def observe(point: Point, noise: np.random.Generator) -> float | None:
        value = truth(point)
        return None if value is None else value + 0.008 * float(noise.standard_normal())

    return Problem(name, "branches", split, space, truth, observe, _best(space, surfaces))


def _best(space: SearchSpace, surfaces: dict[str, Surface]) -> float:
    """The highest true score: random points of each arm, then ever smaller moves round the best of them."""
    generator = np.random.default_rng(0)
    found = -math.inf
    for arm in space.arms:
        surface, parameters = surfaces[arm.base_model], list(arm.branch.parameters.items())

        def score(places: np.ndarray, surface: Surface = surface, own: list = parameters) -> float:
            values = {
                name: float(kind.drawn(min(float(p), 1 - 1e-9)))
                for (name, kind), p in zip(own, places, strict=True)
            }
            return -math.inf if (value := surface.score(values)) is None else value

        draws = generator.random((_SEARCHED // 10, len(parameters)))
        best = max(draws, key=score)
        for stride in (0.2, 0.1, 0.05, 0.02, 0.01):
            moves = np.clip(best + stride * generator.standard_normal((400, len(parameters))), 0, 1)
            best = max([best, *moves], key=score)
        found = max(found, score(best))
    return found
