"""One sweep of one method on one problem."""

import heapq
import time
from dataclasses import dataclass

import numpy as np
from tests.benchmarks.search.methods import METHODS
from tests.benchmarks.search.problem import Problem, best_observed

from finetune_operator.search import Observation, Point, SearchSpaceExhausted, recommend

VERSION = "1"  # Raise it when what a sweep records changes.
TRIALS = 30
PLACES = (10, 20, 30)
PARALLEL = {"sequential": 1, "parallel": 4}


@dataclass(frozen=True)
class Sweep:
    """What came of it.

    Attributes:
        regrets: Of the best observed trial after 1, 2, ... completed trials.
        recommended: Of the recommended trial after 10, 20 and 30; empty for others' methods.
        cpu_s: CPU seconds of each proposal, and of telling the scores before it: some libraries compute there.
        repeats: Points that were proposed before.
    """

    regrets: list[float]
    recommended: list[float]
    cpu_s: list[float]
    repeats: int


def sweep(problem: Problem, method: str, mode: str, seed: int, trials: int = TRIALS) -> Sweep:
    """Let a method try `trials` points, 1 or 4 at a time, and judge it after each that is completed.

    In parallel a trial takes between 1 and 2 hours, the same for every method, and another one is begun when it
    ends, knowing which others are pending.
    """
    searcher = METHODS[method](problem.space, seed)
    hours = 1 + np.random.default_rng(seed).random(trials + 8)
    pending: list[tuple[float, int, Point]] = []
    history: list[Observation] = []
    seen: set[str] = set()
    regrets, recommended, cpu = [], [], []
    wanted, begun, repeats, now, told = trials, 0, 0, 0.0, 0.0
    while len(history) < trials:  # Fewer where a coarse grid has fewer points.
        while len(pending) < PARALLEL[mode] and begun < trials:
            before = time.process_time()
            try:
                point = searcher.ask()
            except SearchSpaceExhausted:
                trials = begun
                break
            cpu.append(round(told + time.process_time() - before, 5))
            told = 0.0
            repeats += point.key in seen
            seen.add(point.key)
            heapq.heappush(pending, (now + float(hours[begun]), begun, point))
            begun += 1
        if not pending:
            break
        now, _, point = heapq.heappop(pending)
        score = problem.observed(point, seed)
        before = time.process_time()
        searcher.tell(point, score)
        told += time.process_time() - before
        history.append(Observation(point, "Failed" if score is None else "Finished", score))
        regrets.append(round(problem.regret(best_observed(history)), 6))
        if method == "ours" and len(history) in PLACES:
            chosen = recommend(problem.space, history)
            recommended.append(round(problem.regret(None if chosen is None else history[chosen].point), 6))
    regrets += regrets[-1:] * (wanted - len(regrets))
    return Sweep(regrets, recommended, cpu, repeats)
