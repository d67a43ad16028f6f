"""Every metric of the operator: its name, its labels, what it says. The page for people is checked against this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PREFIX = "finetune_operator_"
_SWEEP = ("namespace", "sweep")
_PROVIDER = ("namespace", "provider", "type")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        kind: Of Prometheus.
        help: What it says, in base units.
        labels: Names of its labels. Their values are bounded: by a list in the code, or by objects that exist.
    """

    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


OBJECTS: Mapping[str, Metric] = {
    "sweeps": Metric("gauge", "Sweeps by phase.", ("namespace", "phase")),
    "sweep_phase": Metric("gauge", "1 for the phase that a sweep is in.", (*_SWEEP, "phase")),
    "sweep_stalled": Metric("gauge", "1 where a sweep says that it needs a person.", (*_SWEEP, "reason")),
    "sweep_spent": Metric("gauge", "Money spent on trials that ended.", (*_SWEEP, "currency")),
    "sweep_reserved": Metric("gauge", "Money reserved for trials that go on.", (*_SWEEP, "currency")),
    "sweep_budget": Metric("gauge", "The most money that a sweep may cost.", (*_SWEEP, "currency")),
    "sweep_best_score": Metric("gauge", "The best trial's score.", (*_SWEEP, "objective")),
    "trials": Metric("gauge", "Trials by phase.", (*_SWEEP, "phase")),
    "trials_waiting": Metric("gauge", "Trials that wait for their provider, by why.", (*_SWEEP, "reason")),
    "trials_release_blocked": Metric("gauge", "Deleted trials whose jobs cannot be cancelled.", _SWEEP),
    "provider_accepted": Metric("gauge", "1 where a FinetuneProvider can be used, else 0.", _PROVIDER),
    "unreadable_objects": Metric("gauge", "Objects that cannot be read, by kind.", ("kind",)),
}
"""Computed at each scrape from what the store remembers."""

ENGINE: Mapping[str, Metric] = {
    "queue_depth": Metric("gauge", "Objects that wait for a worker."),
    "queue_oldest_seconds": Metric("gauge", "For how long the first of them has waited."),
    "queue_planned": Metric("gauge", "Objects that are looked at at a later time."),
    "work_under_way": Metric("gauge", "Looks and longer pieces of work that go on.", ("kind",)),
    "jobs_watched": Metric("gauge", "Fine-tuning jobs that are polled.", _PROVIDER),
    "last_poll_age_seconds": Metric("gauge", "Time since a provider's jobs were all seen last.", _PROVIDER),
    "quota_wait_seconds": Metric("gauge", "Time until a used-up quota is tried again.", _PROVIDER),
    "last_sign_age_seconds": Metric("gauge", "Time since the cluster was listed or told of a change."),
    "ready": Metric("gauge", "1 where the readiness check passes, else 0."),
}
"""Computed at each scrape from the engine."""

TOLD: Mapping[str, Metric] = {
    "build_info": Metric("gauge", "1, with the operator's version.", ("version",)),
    "reconcile_seconds": Metric("histogram", "Looks at objects.", ("kind", "outcome")),
    "retries_total": Metric("counter", "Looks that failed and are made again.", ("kind", "error")),
    "retry_wait_seconds_total": Metric("counter", "Waits before looks that are made again.", ("kind",)),
    "provider_calls_total": Metric(
        "counter", "Calls of providers' methods.", (*_PROVIDER, "operation", "outcome")
    ),
    "provider_call_seconds": Metric("histogram", "Time that calls of providers took.", ("type", "operation")),
    "job_seconds": Metric(
        "histogram", "From a job's creation to its end, as its provider says.", (*_PROVIDER, "outcome")
    ),
    "kubernetes_requests_total": Metric(
        "counter",
        "Requests to the API server; writes are POST, PATCH, DELETE.",
        ("method", "resource", "outcome"),
    ),
    "watch_events_total": Metric("counter", "Changes that the watch brought.", ("kind",)),
    "watch_restarts_total": Metric("counter", "Watches that broke down and were started again."),
}
"""Counted as it happens."""

CATALOGUE: Mapping[str, Metric] = {**OBJECTS, **ENGINE, **TOLD}


def table() -> str:
    """All metrics as a table in Markdown."""
    rows = ["| metric | type | labels | what it says |", "| --- | --- | --- | --- |"]
    for name, metric in CATALOGUE.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{PREFIX}{name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"
