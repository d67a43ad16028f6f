"""How the operator is: alive, ready, and in numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.client import ApiResource
from finetune_operator.cluster.metric_names import ENGINE, OBJECTS
from finetune_operator.cluster.metrics import Metrics
from finetune_operator.cluster.object_metrics import Computed, Values, object_samples, object_values
from finetune_operator.lifecycle.observer import Vitals
from finetune_operator.lifecycle.scene import is_worker

STUCK_AFTER_S = 300.0
"""Twice as long as any call of the API server and its retries within one look may take."""
STALE_AFTER_S = 900.0
"""Three listings that were due; the watch tells of changes alone, and there may be none for hours."""


class Telemetry:
    """What is known of the operator's health; told by those who do the work, asked by endpoints.

    Attributes:
        registry: All metrics.
        metrics: What is counted as it happens; the engine's observer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing known; `clock` gives monotonic seconds."""
        self._clock = clock
        self.registry = CollectorRegistry(auto_describe=False)
        self.metrics = Metrics(self.registry)
        self._cache: ObjectCache | None = None
        self._vitals: Callable[[], Vitals] | None = None
        self._sign_at: float | None = None
        self._watching = False
        self._asked_at = clock()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(Computed(OBJECTS, self._objects))
        self.registry.register(Computed(ENGINE, self._engine))

    def follow(self, cache: ObjectCache) -> None:
        """Tell of the objects in a memory."""
        self._cache = cache
        cache.expect(object_samples)

    def attach(self, vitals: Callable[[], Vitals]) -> None:
        """Tell of an engine."""
        self._vitals = vitals

    def listed(self) -> None:
        """Everything was listed."""
        self._sign_at = self._clock()

    def changed(self, kind: str) -> None:
        """The watch brought a change."""
        self.metrics.changed(kind)
        if self._sign_at is not None:
            self._sign_at = self._clock()

    def requested(self, method: str, resource: ApiResource, outcome: str) -> None:
        """The API server answered, or did not. A worker that cannot write what was bought asks again and again."""
        self.metrics.requested(method, resource, outcome)
        if is_worker():
            self._asked_at = self._clock()

    def watch_began(self) -> None:
        """The watch goes on."""
        self._watching = True

    def watch_broke(self) -> None:
        """The watch ended though it should not have."""
        self._watching = False
        self.metrics.watch_restarted()

    def not_alive(self) -> str:
        """Why the process should be replaced; empty where it should not.

        Work that waits while nobody does anything is stuck. A worker that waits for a provider does something: no
        restart makes a provider faster, and it may have been asked to sell something. So does one that asks the API
        server again and again: it may hold what was bought and cannot be written down yet.
        """
        if self._vitals is None:
            return ""
        vitals = self._vitals()
        quiet_for_s = min(vitals.quiet_for_s, self._clock() - self._asked_at)
        if vitals.excused or min(vitals.due_for_s, quiet_for_s) <= STUCK_AFTER_S:
            return ""
        return f"{vitals.ready} objects wait and no worker has done anything for {quiet_for_s:.0f} s"

    def not_ready(self) -> str:
        """Why the operator does not serve sweeps now; empty where it does."""
        if self._sign_at is None:
            return "the cluster was not listed yet"
        if not self._watching:
            return "the watch is down"
        age = self._clock() - self._sign_at
        if age > STALE_AFTER_S:
            return f"nothing was heard of the cluster for {age:.0f} s"
        return self.not_alive()

    def _objects(self) -> Mapping[str, Values]:
        return {} if self._cache is None else object_values(self._cache)

    def _engine(self) -> Mapping[str, Values]:
        values: dict[str, Values] = {"ready": {(): float(not self.not_ready())}}
        if self._sign_at is not None:
            values["last_sign_age_seconds"] = {(): self._clock() - self._sign_at}
        return values if self._vitals is None else {**values, **_engine_values(self._vitals())}

    def before_scrape(self) -> None:
        """Drop the numbers of FinetuneProviders that are gone."""
        if self._cache is not None:
            self.metrics.forget_providers(
                but=(key for key in self._cache.all_keys() if key.kind == "FinetuneProvider")
            )


def _engine_values(vitals: Vitals) -> dict[str, Values]:
    accounts = {
        (each.name.key.namespace, each.name.key.name, each.name.type): each for each in vitals.accounts
    }
    return {
        "queue_depth": {(): vitals.ready},
        "queue_oldest_seconds": {(): vitals.due_for_s},
        "queue_planned": {(): vitals.planned},
        "work_under_way": {
            ("look",): vitals.looks,
            **{(kind,): count for kind, count in vitals.background.items()},
        },
        "jobs_watched": {labels: each.jobs for labels, each in accounts.items()},
        "last_poll_age_seconds": {
            labels: each.poll_age_s for labels, each in accounts.items() if each.poll_age_s is not None
        },
        "quota_wait_seconds": {labels: each.full_for_s for labels, each in accounts.items()},
    }
