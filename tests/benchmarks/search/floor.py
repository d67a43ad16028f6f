"""What noise leaves: the regret of one who tries every point of a table, and takes the best observed one."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import mean

from tests.benchmarks.search.problem import Problem
from tests.benchmarks.search.store import FOLDER


def regret_of_every_point(problem: Problem, seeds: Sequence[int]) -> list[float] | None:
    """Regret of the best observed of all points, one for each seed; None where the space is continuous.

    Of points that are observed equally good any one may be taken: their mean counts. This is no bound: more trials
    find luckier points too, so that a search that tries few, but good ones, may end below it.
    """
    sizes = [arm.size for arm in problem.space.arms]
    if None in sizes:
        return None
    points = list(
        chain.from_iterable(
            (arm.point_at(index) for index in range(size or 0))
            for arm, size in zip(problem.space.arms, sizes, strict=True)
        )
    )
    regrets = []
    for seed in seeds:
        scores = [problem.observed(point, seed) for point in points]
        best = max(score for score in scores if score is not None)
        chosen = [point for point, score in zip(points, scores, strict=True) if score == best]
        regrets.append(mean(problem.regret(point) for point in chosen))
    return regrets


def floors(
    problems: Sequence[Problem], seeds: Sequence[int], *, compute: bool, folder: Path = FOLDER
) -> dict[str, float]:
    """The mean over seeds by problem, of those that have one, kept like the sweeps.

    Args:
        problems: The problems.
        seeds: The seeds; of a table of 60,000 points each takes two seconds.
        compute: Whether what is not kept is computed; else it is left out.
        folder: Where it is kept.
    """
    path = folder / "floors.json"
    kept: dict[str, list[float] | None] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for problem in problems:
        key = _key(problem, seeds)
        if compute and key not in kept:
            kept[key] = regret_of_every_point(problem, seeds)
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept), "utf-8")
    found = {problem.name: kept.get(_key(problem, seeds)) for problem in problems}
    return {name: mean(regrets) for name, regrets in found.items() if regrets}


def of_group(found: Mapping[str, float], names: Sequence[str]) -> float | None:
    """The mean over a group's problems; None unless each of them has one."""
    return mean(found[name] for name in names) if all(name in found for name in names) else None


def _key(problem: Problem, seeds: Sequence[int]) -> str:
    return f"{problem.fingerprint}/{','.join(map(str, seeds))}"
