"""CPU seconds of one proposal after n finished trials, on one thread, with 5 more pending."""

import math
import statistics
import time
import warnings
from typing import Any

from tests.benchmarks.search.methods import METHODS, Optuna
from tests.benchmarks.search.problem import Problem

from finetune_operator.search import Observation, propose

SIZES = (10, 30, 100, 200, 300)
PENDING = 5
_TIMES = 3


def own_seconds(problem: Problem, finished: int) -> float:
    """The median of three proposals of ours."""
    points = [
        proposal.point
        for proposal in propose(problem.space, method="Random", seed=1, history=(), count=finished + PENDING)
    ]
    history = [
        Observation(point, "Pending") if place >= finished else _finished(problem, point)
        for place, point in enumerate(points)
    ]
    propose(problem.space, method="Bayesian", seed=0, history=history[:10])  # Loads the libraries.
    times = []
    for seed in range(_TIMES):
        before = time.process_time()
        propose(problem.space, method="Bayesian", seed=seed, history=history)
        times.append(time.process_time() - before)
    return statistics.median(times)


def optuna_seconds(problem: Problem, method: str, finished: int) -> float:
    """The median of three proposals of an Optuna sampler, each with the scores before it told."""
    import optuna

    searcher: Any = METHODS[method](problem.space, 0)
    assert isinstance(searcher, Optuna)
    sampler, searcher.study.sampler = searcher.study.sampler, optuna.samplers.RandomSampler(seed=1)

    def step() -> None:
        point = searcher.ask()
        searcher.tell(point, problem.observed(point, 0))

    for _ in range(finished):
        step()
    for _ in range(PENDING):
        searcher.ask()
    searcher.study.sampler = sampler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step()
        times = []
        for _ in range(_TIMES):
            before = time.process_time()
            step()
            times.append(time.process_time() - before)
    return statistics.median(times)


def _finished(problem: Problem, point: Any) -> Observation:
    score = problem.observed(point, 0)
    return Observation(point, "Finished", math.nan if score is None else score)
