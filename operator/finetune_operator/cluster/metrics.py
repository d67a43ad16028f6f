"""Counts what happens, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from finetune_operator import __version__
from finetune_operator.cluster.client import ApiResource
from finetune_operator.cluster.metric_names import PREFIX, TOLD
from finetune_operator.lifecycle.observer import AccountName, Observer
from finetune_operator.lifecycle.store import Key

_LOOK_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
_CALL_BUCKETS = (0.05, 0.2, 1.0, 5.0, 20.0, 60.0, 300.0, 900.0)
_JOB_BUCKETS = (10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0)


class Metrics(Observer):
    """What is counted as it happens. Labels of a FinetuneProvider go when it goes: `forget_providers`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self._registry = registry
        self._looks = self._histogram("reconcile_seconds", _LOOK_BUCKETS)
        self._retries = self._counter("retries_total")
        self._retry_waits = self._counter("retry_wait_seconds_total")
        self._calls = self._counter("provider_calls_total")
        self._call_seconds = self._histogram("provider_call_seconds", _CALL_BUCKETS)
        self._job_seconds = self._histogram("job_seconds", _JOB_BUCKETS)
        self._requests = self._counter("kubernetes_requests_total")
        self._events = self._counter("watch_events_total")
        self._restarts = self._counter("watch_restarts_total")
        build = TOLD["build_info"]
        Gauge(f"{PREFIX}build_info", build.help, build.labels, registry=registry).labels(__version__).set(1)
        self._of_providers: dict[Key, set[tuple[Counter | Histogram, tuple[str, ...]]]] = {}

    def _counter(self, name: str) -> Counter:
        metric = TOLD[name]
        return Counter(f"{PREFIX}{name}", metric.help, metric.labels, registry=self._registry)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        metric = TOLD[name]
        return Histogram(
            f"{PREFIX}{name}", metric.help, metric.labels, buckets=buckets, registry=self._registry
        )

    def looked(self, kind: str, outcome: str, seconds: float) -> None:
        """A look at an object ended."""
        self._looks.labels(kind, outcome).observe(seconds)

    def retried(self, kind: str, error: str, delay_s: float) -> None:
        """A look failed with a class of error and is made again."""
        self._retries.labels(kind, error).inc()
        self._retry_waits.labels(kind).inc(delay_s)

    def called(self, account: AccountName, operation: str, outcome: str, seconds: float) -> None:
        """A provider's method ended."""
        labels = (*_names(account), operation, outcome)
        self._calls.labels(*labels).inc()
        self._call_seconds.labels(account.type, operation).observe(seconds)
        self._of_providers.setdefault(account.key, set()).add((self._calls, labels))

    def job_ended(self, account: AccountName, outcome: str, seconds: float) -> None:
        """A fine-tuning job was seen to have ended."""
        labels = (*_names(account), outcome)
        self._job_seconds.labels(*labels).observe(seconds)
        self._of_providers.setdefault(account.key, set()).add((self._job_seconds, labels))

    def requested(self, method: str, resource: ApiResource, outcome: str) -> None:
        """A request to the API server ended."""
        self._requests.labels(method, resource.plural, outcome).inc()

    def changed(self, kind: str) -> None:
        """The watch brought a change."""
        self._events.labels(kind).inc()

    def watch_restarted(self) -> None:
        """The watch broke down."""
        self._restarts.inc()

    def forget_providers(self, but: Iterable[Key]) -> None:
        """Drop the labels of all FinetuneProviders but these."""
        for key in self._of_providers.keys() - set(but):
            for metric, labels in self._of_providers.pop(key):
                metric.remove(*labels)


def _names(account: AccountName) -> tuple[str, str, str]:
    return account.key.namespace, account.key.name, account.type
