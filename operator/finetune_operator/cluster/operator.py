"""The operator: a store that follows the cluster, and the engine that works on it.

Memory is filled by listings of our own before the engine starts, so that it decides on all trials of a sweep or
on none. Kopf's watch then brings the changes. Deletions that happen while a watch is down are found by listing
again: after each gap, and every few minutes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import KubeClient
from finetune_operator.cluster.endpoints import serving
from finetune_operator.cluster.memory import tend_memory
from finetune_operator.cluster.store import KubeStore
from finetune_operator.cluster.telemetry import Telemetry
from finetune_operator.cluster.watching import Change, WatchSettings, quiet_kopf, watch
from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.store import Key, StoreUnavailable

_logger = logging.getLogger(__name__)


class Runs(Protocol):
    """The engine, as far as the operator knows it. It has itself told of changes by its store."""

    def enqueue(self, key: Key) -> None:
        """Have an object looked at."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set and what is under way is written down."""
        ...


_MOST_SETTLING = 60
"""So often at most a listing waits for the watch to come to the end of its own."""

EngineFactory = Callable[[KubeStore], Runs]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the operator does what no event tells it to.

    Attributes:
        resync_s: Seconds between two listings of everything.
        settle_s: Seconds from the last of the objects, which the watch reports one by one after a gap, to listing.
        retry_s: Seconds between two attempts to reach an API server that does not answer.
    """

    resync_s: float = 300.0
    settle_s: float = 1.0
    retry_s: float = 5.0


async def run_operator(
    engine_factory: EngineFactory,
    *,
    access: ClusterAccess,
    stop: asyncio.Event,
    namespaces: tuple[str, ...] = (),
    liveness: str | None = None,
    metrics: str | None = None,
    telemetry: Telemetry | None = None,
    pace: Pace = Pace(),
) -> None:
    """Serve sweeps until `stop` is set.

    Args:
        engine_factory: Makes the engine over a store; called once memory is complete.
        access: Credentials.
        stop: Set to end; returns once the engine has written down what was under way.
        namespaces: The only namespaces to serve; all of them where there is none.
        liveness: Address of a liveness check, such as `http://0.0.0.0:8080/healthz`; readiness is at its `/readyz`.
        metrics: Address of the metrics, such as `http://0.0.0.0:9090/metrics`.
        telemetry: What is told of health and in numbers; the engine is attached to it by who makes it.
        pace: How often everything is listed.

    Raises:
        NoCluster: There are no credentials.
        Refused: The API server does not let the operator list what it serves.
        BadAddress: Nothing can be served at an address.
    """
    telemetry = telemetry or Telemetry()
    async with serving(telemetry, liveness=liveness, metrics=metrics):
        await _serve(engine_factory, WatchSettings(access, namespaces), telemetry, stop=stop, pace=pace)


async def _serve(
    engine_factory: EngineFactory,
    settings: WatchSettings,
    telemetry: Telemetry,
    *,
    stop: asyncio.Event,
    pace: Pace,
) -> None:
    namespaces = settings.namespaces
    client = await KubeClient.connect(settings.access)
    client.answered = telemetry.requested
    try:
        follower = _Follower(KubeStore(client, namespaces=namespaces), pace, telemetry)
        if not await _run_until(stop, follower.fill()):
            return
        engine = engine_factory(follower.store)
        follower.start(engine)
        where = f"namespaces {', '.join(namespaces)}" if namespaces else "all namespaces"
        _logger.info("serving %s: %d objects are unfinished", where, len(list(follower.store.unfinished())))
        with quiet_kopf():
            await _work(engine, follower, settings, stop=stop)
    finally:
        await client.close()


async def _work(engine: Runs, follower: _Follower, settings: WatchSettings, *, stop: asyncio.Event) -> None:
    """Run the engine, and beside it the watch, the listings and what tends memory, which end after it.

    A follower that fails, which none should, ends the engine as a wish to stop does: with all written down.
    """
    engine_stop, engine_ended = asyncio.Event(), asyncio.Event()
    followers = {
        asyncio.ensure_future(follower.watch(settings, until=engine_ended)),
        asyncio.ensure_future(_run_until(engine_ended, follower.resync_often())),
        asyncio.ensure_future(_run_until(engine_ended, tend_memory())),
    }
    stopping = asyncio.ensure_future(stop.wait())
    for task in (stopping, *followers):
        task.add_done_callback(lambda _: engine_stop.set())
    try:
        await engine.run(engine_stop)
    finally:
        stopping.cancel()
        engine_ended.set()
        await asyncio.gather(*followers)


async def _run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do work that may be cut off at any point; False where `stop` cut it off."""
    task, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.wait({task})
    if task.cancelled():
        return False
    task.result()
    return True


class _Follower:
    """Keeps a store's memory like the cluster, and has the engine look at what changes."""

    def __init__(self, store: KubeStore, pace: Pace, telemetry: Telemetry) -> None:
        self.store = store
        self._telemetry = telemetry
        telemetry.follow(store.cache)
        self._pace = pace
        self._gap = asyncio.Event()
        self._enqueue: Callable[[Key], None] = lambda key: None

    async def fill(self) -> None:
        """List everything, however long the API server takes to answer."""
        while True:
            try:
                await self.store.resync()
            except StoreUnavailable as error:
                _logger.warning("the cluster cannot be read yet: %s", error)
                await asyncio.sleep(self._pace.retry_s)
            else:
                self._telemetry.listed()
                return

    def start(self, engine: Runs) -> None:
        """Have the engine look at what is unfinished, now and after each listing."""
        self._enqueue = engine.enqueue
        self._enqueue_unfinished()

    async def watch(self, settings: WatchSettings, *, until: asyncio.Event) -> None:
        """Take the watch's events in; where it breaks down, begin anew after a while."""
        while not until.is_set():
            self._telemetry.watch_began()
            failure = await watch(settings, self._take_in, knows=self.store.cache.knows, stop=until)
            if until.is_set():
                return
            self._telemetry.watch_broke()
            _logger.error(
                "the watch ended and is started again in %s s", self._pace.retry_s, exc_info=failure
            )
            await _run_until(until, asyncio.sleep(self._pace.retry_s))

    async def resync_often(self) -> None:
        """List everything after each gap of the watch, and now and then."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gap.wait(), self._pace.resync_s)
                await self._settle()
            self._gap.clear()
            try:
                changes = await self.store.resync()
            except SweepError as error:
                _logger.warning("the cluster could not be listed: %s", error)
                await asyncio.sleep(self._pace.retry_s)
                self._gap.set()
                continue
            self._telemetry.listed()
            if changes:
                _logger.info("listing found %s changes that the watch had not brought yet", changes)
            self._enqueue_unfinished()

    async def _settle(self) -> None:
        """Wait until the watch has reported all objects after a gap: one listing is enough then."""
        for _ in range(_MOST_SETTLING):
            self._gap.clear()
            await asyncio.sleep(self._pace.settle_s)
            if not self._gap.is_set():
                return

    def _take_in(self, change: Change) -> None:
        self._telemetry.changed(change.kind)
        if change.raw is not None:
            take = self.store.cache.drop if change.type == "DELETED" else self.store.cache.put
            take(change.kind, change.raw)
        if change.type is None:
            # Listed: the watch begins, perhaps again. What was deleted in between it does not mention.
            self._gap.set()

    def _enqueue_unfinished(self) -> None:
        for key in self.store.unfinished():
            self._enqueue(key)
