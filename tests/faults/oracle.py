"""Holds what the companies sold against what the cluster knows, once a scenario has ended.

| counted | means |
| --- | --- |
| bought twice | a second job of one run key |
| lost | a job that no trial knows and nobody cancelled |
| leaked | a job that goes on, a deployment or an upload after the end |
| trials lost | an index without a trial, or a trial that was there and is not |
| stuck | a sweep that neither ended nor says what it waits for |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from tests.faults.books import Books
from tests.faults.cluster_api import Raw

TERMINAL = {"Succeeded", "Failed", "EarlyStopped", "Cancelled"}


@dataclass
class Findings:
    """What is wrong, in words; empty where all is well."""

    bought_twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    trials_lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def add(self, other: Findings) -> None:
        """Take another's findings in."""
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))


def judge_jobs(books: Iterable[Books], trials: Iterable[Raw]) -> Findings:
    """Every job belongs to one trial that knows it, or was cancelled; none was bought twice, none goes on."""
    found, by_key = Findings(), {trial["spec"]["runKey"]: trial for trial in trials}
    for each in books:
        for key, jobs in each.sold.items():
            trial = by_key.get(key)
            known = None if trial is None else (trial["status"].get("create") or {}).get("externalId")
            found.lost += [
                f"{each.who}: {job.job_id} of {key}, known is {known}"
                for job in jobs
                if job.job_id != known and not job.cancelled
            ]
        found.add(_judge_purchases(each))
    return found


def judge_remains(books: Iterable[Books]) -> Findings:
    """Nothing that was made for a sweep is left."""
    found = Findings()
    for each in books:
        found.leaked += [f"{each.who}: deployment {name}" for name in each.deployments]
        found.leaked += [f"{each.who}: upload {name}" for name in each.uploads]
    return found


def judge_deletion(books: Iterable[Books]) -> Findings:
    """What a deleted sweep's trials bought has ended, once each, and nothing of it is left."""
    books = list(books)
    found = judge_remains(books)
    for each in books:
        found.add(_judge_purchases(each))
    return found


def _judge_purchases(books: Books) -> Findings:
    found = Findings()
    for key, jobs in books.sold.items():
        if len(jobs) > 1:
            found.bought_twice.append(f"{books.who}: {[job.job_id for job in jobs]} for {key}")
        found.leaked += [f"{books.who}: {job.job_id} goes on" for job in jobs if job.running]
    return found


def judge_trials(sweep: Raw, trials: list[Raw], *, ever: Mapping[str, str]) -> Findings:
    """Every trial that was ever created is there, with its key, and ended; a whole row of them.

    Args:
        sweep: The sweep at its end.
        trials: Its trials.
        ever: Run keys by name of all trials that anybody saw.
    """
    found, name = Findings(), sweep["metadata"]["name"]
    mine = {trial["metadata"]["name"]: trial for trial in trials if trial["spec"]["sweepRef"]["name"] == name}
    wanted = sweep["spec"]["limits"]["maxTrials"]
    found.trials_lost += [f"{name}-{i} is missing" for i in range(wanted) if f"{name}-{i}" not in mine]
    for each, key in ever.items():
        if each.rpartition("-")[0] == name and (each not in mine or mine[each]["spec"]["runKey"] != key):
            found.trials_lost.append(f"{each} with {key} is gone")
    for each, trial in mine.items():
        phase = trial.get("status", {}).get("phase")
        if phase not in TERMINAL:
            found.stuck.append(f"{each} is {phase}")
    return found
