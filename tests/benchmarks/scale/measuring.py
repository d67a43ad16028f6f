"""One case from start to end, in numbers."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.benchmarks.scale.cases import Case
from tests.benchmarks.scale.meters import Calls, Figures, load, quantile, total, trial_ends
from tests.benchmarks.scale.world import Ask, World

REST_S = 60.0
SETTLE_S = 8.0
_LOOK_S = 1.0


def measure(world: World) -> Figures:
    """Let a case live, and count."""
    case = world.case
    ready_s = world.start()
    before, idle = world.calls(), world.usage()
    began = time.time()
    created = world.apply()
    deadline = time.monotonic() + case.within_s
    while not world.finished():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{case.name}: {world.log.read_text('utf-8')[-3000:]}")
        time.sleep(_LOOK_S if case.jobs < 1000 else 4 * _LOOK_S)
    took_s, loaded = time.time() - began, load()
    time.sleep(SETTLE_S)
    after, used = world.calls(), world.usage()
    figures = {
        "case": case.name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "sweeps": case.sweeps,
        "trials": case.jobs,
        "took_s": took_s,
        "load": loaded,
        "ready_s": ready_s,
        "cpu_s": used.cpu_s - idle.cpu_s,
        "peak_mb": used.peak_mb,
        "idle_mb": idle.peak_mb,
        **_requests(after - before, case),
        **_company(world.company.look(), case),
        **_latencies(world, created),
        **_sizes(world),
    }
    if case.rests:
        figures |= _at_rest(world)
    return figures


def _requests(calls: Calls, case: Case) -> Figures:
    """Requests to the API server for each trial."""
    writes = {
        "trial": total(calls, "WRITE", "finetunetrials"),
        "sweep": total(calls, "WRITE", "finetunesweeps"),
        "events": total(calls, "WRITE", "events"),
    }
    return {
        "writes": total(calls, "WRITE") / case.jobs,
        "reads": total(calls, "READ") / case.jobs,
        **{f"writes_{what}": count / case.jobs for what, count in writes.items()},
        "calls": {f"{verb} {resource}": count for (verb, resource), count in sorted(calls.items())},
    }


def _company(asked: Sequence[Ask], case: Case) -> Figures:
    """Calls of the company: of a poll, of a trial, and how often an account is polled."""
    counts = Counter(what for _, _, what, _ in asked)
    polls = counts["poll"]
    return {
        "polls": polls,
        "poll_pages": 0.0 if not polls else (polls + counts["poll page"]) / polls,
        "single_looks": counts["jobs.get"],
        "company_calls": sum(counts.values()) / case.jobs,
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
    first = [min(submitted[sweep].values()) - at for sweep, at in created.items()]
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
    """A minute in which nothing is to be done, then a restart."""
    before, idle = world.calls(), world.usage()
    time.sleep(REST_S)
    after, used = world.calls(), world.usage()
    world.stop()
    ready_s = world.start()
    started = world.usage()
    time.sleep(SETTLE_S)
    settled = world.usage()
    return {
        "rest_requests": sum((after - before).values()),
        "rest_cpu_s": used.cpu_s - idle.cpu_s,
        "restart_s": ready_s,
        "restart_cpu_s": started.cpu_s,
        "restart_settled_cpu_s": settled.cpu_s,
        "restart_mb": settled.peak_mb,
    }
