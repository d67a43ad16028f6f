"""`make bench-search`: what is missing is computed, then the tables are printed and docs/benchmarks.md is written.

From the environment: SEEDS (20), SLOW_SEEDS (5, of the methods that take minutes a sweep), METHODS and PROBLEMS
(names with commas between them, or prefixes of problems' names; all), SPLIT (`held-out`, `development` or `all`),
PAGE (0 leaves the page alone), COMPUTE (0 reports what is there).
"""

import json
import os
import time
import warnings
from collections.abc import Iterator

from tests.benchmarks.search import page, problems, speed
from tests.benchmarks.search.arena import PARALLEL, Sweep, sweep
from tests.benchmarks.search.floor import floors
from tests.benchmarks.search.methods import METHODS, SEQUENTIAL_ONLY, SLOW, version_of
from tests.benchmarks.search.problem import Problem
from tests.benchmarks.search.store import FOLDER, Store

_TIMED = "branches/joined"


def _listed(name: str, default: list[str]) -> list[str]:
    wanted = [entry for entry in os.environ.get(name, "").split(",") if entry]
    return (
        [entry for entry in default if any(entry.startswith(prefix) for prefix in wanted)]
        if wanted
        else default
    )


def _methods() -> list[str]:
    wanted = [entry for entry in os.environ.get("METHODS", "").split(",") if entry]
    return [method for method in METHODS if method in wanted] if wanted else list(METHODS)


def work(chosen: list[Problem], seeds: int, slow_seeds: int) -> Iterator[tuple[Problem, str, str, int]]:
    """All sweeps; after each seed the comparison is complete for the seeds so far."""
    for seed in range(max(seeds, slow_seeds)):
        for problem in chosen:
            for method in _methods():
                if seed < (slow_seeds if method in SLOW else seeds):
                    for mode in PARALLEL:
                        if mode == "sequential" or method not in SEQUENTIAL_ONLY:
                            yield problem, method, mode, seed


def main() -> None:
    """Compute and report."""
    warnings.simplefilter("ignore")
    split = os.environ.get("SPLIT", "held-out")
    chosen = [problems.make(name) for name in _listed("PROBLEMS", problems.available())]
    chosen = [problem for problem in chosen if split in ("all", problem.split)]
    stores = {problem.name: Store(problem) for problem in chosen}
    results: dict[tuple[str, str, str, int], Sweep] = {}
    compute = os.environ.get("COMPUTE", "1") == "1"
    began, computed = time.monotonic(), 0
    seeds, slow_seeds = int(os.environ.get("SEEDS", "20")), int(os.environ.get("SLOW_SEEDS", "5"))
    for problem, method, mode, seed in work(chosen, seeds, slow_seeds):
        found = stores[problem.name].get(method, mode, seed)
        if found is None and not compute:
            continue
        if found is None:
            found = sweep(problem, method, mode, seed)
            stores[problem.name].put(method, mode, seed, found)
            computed += 1
            if computed % 50 == 0:
                print(
                    f"{computed} sweeps, {time.monotonic() - began:.0f} s: {problem.name}, seed {seed}",
                    flush=True,
                )
        results[problem.name, method, mode, seed] = found
    groups: dict[str, list[str]] = {}
    for problem in chosen:
        groups.setdefault(problem.group, []).append(problem.name)
    repeats = sum(found.repeats for (_, method, _, _), found in results.items() if method == "ours")
    write = os.environ.get("PAGE", "1") == "1"
    least = floors(chosen, range(seeds), compute=compute)
    text = page.section(results, groups, least, _speeds() if write else {}, repeats)
    print(text)
    if write:
        page.rewrite(text)
        page.draw(results, [problem.name for problem in chosen])


def _speeds() -> dict[str, dict[int, float]]:
    """CPU seconds of a proposal by method and number of finished trials, kept like the sweeps."""
    path = FOLDER / "speed.json"
    kept: dict[str, float] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    problem = problems.make(_TIMED)
    table: dict[str, dict[int, float]] = {}
    for method in ("ours", "optuna-tpe", "optuna-gp"):
        for size in speed.SIZES:
            key = f"{problem.fingerprint}/{method}/{version_of(method)}/{size}"
            if key not in kept:
                own = method == "ours"
                kept[key] = (
                    speed.own_seconds(problem, size) if own else speed.optuna_seconds(problem, method, size)
                )
                path.write_text(json.dumps(kept), "utf-8")
            table.setdefault(method, {})[size] = kept[key]
    return table


if __name__ == "__main__":
    main()
