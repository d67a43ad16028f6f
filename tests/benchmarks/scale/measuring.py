"""One case from start to end, in numbers."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from tests.benchmarks.scale.meters import Calls, Figures, load, quantile, total, trial_ends
from tests.benchmarks.scale.world import Ask, World

REST_S = 60.0
SETTLE_S = 8.0
QUIET_WITHIN_S = 120.0


def measure(world: World, *, at_most_s: float) -> Figures:
    """Let a case live, and count; what takes longer than it may is cut off."""
    case = world.case
    about = {"case": case.name, "date": f"{datetime.now(UTC):%Y-%m-%d}", "sweeps": case.sweeps}
    if case.ended:
        world.fill()
        return {**about, **_sizes(world), **_at_rest(world), "load": load()}
    ready_s = world.start()
    before, idle = world.calls(), world.usage()
    began = time.time()
    created = world.apply()
    ended = _until(world.finished, every_s=1.0 if case.jobs < 1000 else 4.0, until_s=began + at_most_s)
    took_s, loaded = time.time() - began, load()
    if ended:
        time.sleep(SETTLE_S)
    after, used = world.calls(), world.usage()
    trials = len(trial_ends(world.plane.layout.audit_log))
    return {
        **about,
        "trials": trials,
        "cut_off": not ended,
        "took_s": took_s,
        "load": loaded,
        "ready_s": ready_s,
        "cpu_s": used.cpu_s - idle.cpu_s,
        "peak_mb": used.peak_mb,
        "idle_mb": idle.peak_mb,
        **_requests(after - before, trials),
        **_company(world.company.look(), trials),
        **_latencies(world, created),
        **_sizes(world),
    }


def _until(holds: Callable[[], bool], *, every_s: float, until_s: float) -> bool:
    while not holds():
        if time.time() > until_s:
            return False
        time.sleep(every_s)
    return True


def _requests(calls: Calls, trials: int) -> Figures:
    """Requests to the API server for each trial."""
    writes = {
        "trial": total(calls, "WRITE", "finetunetrials"),
        "sweep": total(calls, "WRITE", "finetunesweeps"),
        "events": total(calls, "WRITE", "events"),
    }
    return {
        "writes": total(calls, "WRITE") / trials,
        "reads": total(calls, "READ") / trials,
        **{f"writes_{what}": count / trials for what, count in writes.items()},
        "calls": {f"{verb} {resource}": count for (verb, resource), count in sorted(calls.items())},
    }


def _company(asked: Sequence[Ask], trials: int) -> Figures:
    """Calls of the company: of a poll, of a trial, and how often an account is polled."""
    counts = Counter(what for _, _, what, _ in asked)
    polls = counts["poll"]
    return {
        "polls": polls,
        "poll_pages": 0.0 if not polls else (polls + counts["poll page"]) / polls,
        "single_looks": counts["jobs.get"],
        "company_calls": sum(counts.values()) / trials,
        "operations": dict(counts),
    }


def _latencies(world: World, created: Mapping[str, float]) -> Figures:
    """From a sweep's creation to its first submit, and from a trial's end to the submit that takes its place."""
    submitted: dict[str, dict[int, float]] = defaultdict(dict)
    for _, at, what, trial in world.company.asked:
        if what == "jobs.create":
            sweep, _, index = trial.rpartition("-")
            submitted[sweep].setdefault(int(index), at)
    ended: dict[str, list[float]] = defaultdict(list)
    for trial, at in trial_ends(world.plane.layout.audit_log).items():
        ended[trial.rpartition("-")[0]].append(at)
    first = [min(submitted[sweep].values()) - at for sweep, at in created.items() if submitted[sweep]]
    next_one = [
        submit - end
        for sweep in created
        for end, submit in zip(
            sorted(ended[sweep]), sorted(submitted[sweep].values())[world.case.parallel :], strict=False
        )
    ]
    figures: Figures = {}
    for name, values in (("first_submit", first), ("next_submit", next_one)):
        figures |= {f"{name}_p50_s": quantile(values, 0.5), f"{name}_p99_s": quantile(values, 0.99)}
    return figures


def _sizes(world: World) -> Figures:
    sweeps = [len(json.dumps(each["status"])) for each in world.api.items("sweeps")]
    trials = [len(json.dumps(each["status"])) for each in world.api.items("trials")]
    return {"sweep_bytes": max(sweeps), "trial_bytes": max(trials)}


def _at_rest(world: World) -> Figures:
    """A start where all sweeps have ended, then a minute in which nothing is to be done."""
    ready_s = world.start()
    time.sleep(SETTLE_S)
    _until(lambda: _is_quiet(world), every_s=0.0, until_s=time.time() + QUIET_WITHIN_S)
    before, settled = world.calls(), world.usage()
    time.sleep(REST_S)
    after, used = world.calls(), world.usage()
    return {
        "restart_s": ready_s,
        "restart_settled_cpu_s": settled.cpu_s,
        "restart_mb": settled.peak_mb,
        "rest_requests": sum((after - before).values()),
        "rest_cpu_s": used.cpu_s - settled.cpu_s,
    }


def _is_quiet(world: World) -> bool:
    """Whether what a start brings with it is done."""
    before = world.usage().cpu_s
    time.sleep(5.0)
    return world.usage().cpu_s - before < 0.1
