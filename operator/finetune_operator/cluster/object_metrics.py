"""What the cluster's objects say, computed at each scrape: it is never stale, and what is gone is gone here too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.entries import Parsed
from finetune_operator.cluster.guarded import key_to
from finetune_operator.cluster.metric_names import PREFIX, Metric
from finetune_operator.decisions.waiting import (
    NOT_REACHED,
    QUOTA_EXCEEDED,
    WAITING_FOR_QUOTA,
    WAITING_FOR_SLOT,
)
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneSweep, FinetuneTrial

_WAITS = {
    QUOTA_EXCEEDED: WAITING_FOR_QUOTA,
    WAITING_FOR_QUOTA: WAITING_FOR_QUOTA,
    NOT_REACHED: NOT_REACHED,
    WAITING_FOR_SLOT: WAITING_FOR_SLOT,
}

Values = dict[tuple[str, ...], float]


class Computed(Collector):
    """Gauges that are made anew at each scrape."""

    def __init__(self, metrics: Mapping[str, Metric], compute: Callable[[], Mapping[str, Values]]) -> None:
        """Gauges with what `compute` says, by their name and their labels' values."""
        self._metrics = metrics
        self._compute = compute

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The gauges without values."""
        for name, metric in self._metrics.items():
            yield GaugeMetricFamily(f"{PREFIX}{name}", metric.help, labels=metric.labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges; one that says nothing now is there all the same."""
        values = self._compute()
        for (name, metric), family in zip(self._metrics.items(), self.describe(), strict=True):
            for labels, value in values.get(name, {}).items():
                assert len(labels) == len(metric.labels), name
                family.add_metric(labels, value)
            yield family


Samples = tuple[tuple[str, tuple[str, ...], float], ...]
"""What one object adds: a metric's name, the labels' values, the value."""


def object_values(cache: ObjectCache) -> Mapping[str, Values]:
    """All values of the objects in memory."""
    values: dict[str, Counter[tuple[str, ...]]] = {}

    for key in cache.all_keys():
        try:
            samples = cache.fact(key, object_samples) or ()
        except InvalidManifest:
            samples = (("unreadable_objects", (key.kind,), 1.0),)
        for name, labels, value in samples:
            values.setdefault(name, Counter())[labels] += value  # type: ignore[assignment]
    return {name: dict(counter) for name, counter in values.items()}


def object_samples(resource: Parsed) -> Samples:
    """What an object adds; asked once a version, as it may have to be unpacked and read for it."""
    found: list[tuple[str, tuple[str, ...], float]] = []

    def add(name: str, labels: tuple[str, ...], value: float = 1.0) -> None:
        found.append((name, labels, value))

    key = key_to(resource)
    if isinstance(resource, FinetuneSweep):
        _add_sweep(add, key, resource)
    elif isinstance(resource, FinetuneTrial):
        _add_trial(add, key, resource)
    else:
        accepted = any(
            each.type == "Accepted" and each.status == "True" for each in resource.status.conditions
        )
        add("provider_accepted", (key.namespace, key.name, resource.spec.type), float(accepted))
    return tuple(found)


def _add_sweep(add: Callable[..., None], key: Key, sweep: FinetuneSweep) -> None:
    who, status = (key.namespace, key.name), sweep.status
    phase = status.phase or "Pending"
    add("sweeps", (key.namespace, phase))
    add("sweep_phase", (*who, phase))
    stalled = status.condition("Stalled")
    if stalled is not None and stalled.status == "True":
        add("sweep_stalled", (*who, stalled.reason))
    if status.cost is not None:
        add("sweep_spent", (*who, status.cost.currency), float(status.cost.spent or 0))
        add("sweep_reserved", (*who, status.cost.currency), float(status.cost.reserved or 0))
    budget = sweep.spec.limits.budget
    if budget is not None:
        add("sweep_budget", (*who, budget.currency), float(budget.max_cost))
    if status.best is not None:
        add("sweep_best_score", (*who, sweep.spec.objective.metric), status.best.score)


def _add_trial(add: Callable[..., None], key: Key, trial: FinetuneTrial) -> None:
    who, status = (key.namespace, trial.spec.sweep_ref.name), trial.status
    add("trials", (*who, str(trial.phase)))
    if str(trial.phase) == "Pending" and status.reason in _WAITS:
        add("trials_waiting", (*who, _WAITS[status.reason]))
    if any(each.type == "Released" and each.status == "False" for each in status.conditions):
        add("trials_release_blocked", who)
