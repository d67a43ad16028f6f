"""What the operator does when the watch or a listing fails, seen without a cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from tests.contract.patience import PATIENCE_S

from finetune_operator.cluster import operator as operator_module
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import ApiResource, Raw, TakePage
from finetune_operator.cluster.operator import Pace, run_operator
from finetune_operator.cluster.store import KubeStore
from finetune_operator.cluster.watching import Change, WatchSettings
from finetune_operator.lifecycle.store import Key, Kind, StoreUnavailable
from finetune_operator.resources import API_VERSION

FAST = Pace(resync_s=60, settle_s=0, retry_s=0)


def a_sweep(name: str, version: int) -> Raw:
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": API_VERSION, "kind": "FinetuneSweep", "metadata": metadata, "spec": {}}


class FakeClient:
    """Lists what it is given; fails where it is given an error."""

    def __init__(self) -> None:
        self.sweeps: list[Raw] = [a_sweep("one", 1)]
        self.failures: list[Exception] = []
        self.listed = 0
        self.closed = False

    async def read_pages(
        self,
        resource: ApiResource,
        namespace: str | None,
        take_in: TakePage,
        *,
        metadata_alone: bool = False,
    ) -> int:
        if resource.plural != "finetunesweeps":
            take_in([], True)
            return 100
        self.listed += 1
        if self.failures:
            raise self.failures.pop(0)
        take_in(self.sweeps, True)
        return 100

    async def get(self, resource: ApiResource, namespace: str, name: str) -> Raw:
        return next(each for each in self.sweeps if each["metadata"]["name"] == name)

    async def close(self) -> None:
        self.closed = True


class Engine:
    """Stops the operator when it was told of something for the nth time."""

    def __init__(self, store: KubeStore, stop: asyncio.Event, *, after: int) -> None:
        store.subscribe(self.enqueue)
        self.told: list[str] = []
        self._stop, self._after = stop, after

    def enqueue(self, key: Key) -> None:
        self.told.append(key.name)
        if len(self.told) >= self._after:
            self._stop.set()

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()


Watch = Callable[[Callable[[Change], None]], BaseException | None]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient()

    async def connect(access: ClusterAccess) -> FakeClient:
        return client

    monkeypatch.setattr(operator_module.KubeClient, "connect", connect)
    return client


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> list[Watch]:
    """What each start of the watch does; after the last it waits to be stopped."""
    starts: list[Watch] = []

    async def watch(
        settings: WatchSettings,
        deliver: Callable[[Change], None],
        *,
        knows: Callable[[Kind, Raw], bool],
        stop: asyncio.Event,
    ) -> BaseException | None:
        if starts:
            return starts.pop(0)(deliver)
        await stop.wait()
        return None

    monkeypatch.setattr(operator_module, "watch", watch)
    return starts


async def run(*, after: int, pace: Pace = FAST) -> list[str]:
    """The names that the engine was told of until it had heard enough."""
    stop = asyncio.Event()
    engines: list[Engine] = []

    def make(store: KubeStore) -> Engine:
        engines.append(Engine(store, stop, after=after))
        return engines[0]

    async with asyncio.timeout(PATIENCE_S):
        await run_operator(make, access=ClusterAccess(), stop=stop, pace=pace)
    return engines[0].told


async def test_the_first_listing_is_tried_until_it_succeeds(
    client: FakeClient, watches: list[Watch], caplog: pytest.LogCaptureFixture
) -> None:
    client.failures = [StoreUnavailable("503"), StoreUnavailable("connection refused")]
    assert await run(after=1) == ["one"]
    assert caplog.messages.count("the cluster cannot be read yet: 503") == 1
    assert client.listed == 3
    assert client.closed


async def test_a_watch_that_breaks_down_is_started_again(
    client: FakeClient, watches: list[Watch], caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(deliver: Callable[[Change], None]) -> BaseException:
        return RuntimeError("the stream broke")

    def delivers(deliver: Callable[[Change], None]) -> None:
        deliver(Change("FinetuneSweep", "ADDED", a_sweep("two", 2)))

    watches += [breaks, delivers]
    with caplog.at_level(logging.ERROR):
        assert await run(after=2) == ["one", "two"]
    assert "the stream broke" in caplog.text


async def test_a_watch_that_begins_again_makes_the_operator_list(
    client: FakeClient, watches: list[Watch]
) -> None:
    def relists(deliver: Callable[[Change], None]) -> None:
        # What was deleted while nobody watched is in no event.
        client.sweeps = [a_sweep("two", 5)]
        deliver(Change("FinetuneSweep", None, a_sweep("two", 5)))

    watches.append(relists)
    told = await run(after=4)
    assert told[:2] == ["one", "two"]
    assert "one" in told[2:], "that it is gone was found by listing"


async def test_a_watch_that_reports_many_objects_makes_the_operator_list_once(
    client: FakeClient, watches: list[Watch]
) -> None:
    def reports(deliver: Callable[[Change], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in range(10):
            loop.call_later(number * 0.02, deliver, Change("FinetuneSweep", None, a_sweep("one", 1)))
        loop.call_later(0.2, client.sweeps.append, a_sweep("unnoticed", 7))
        watches.append(lambda deliver: None)

    watches.append(reports)
    told = await run(after=2, pace=Pace(resync_s=60, settle_s=0.1, retry_s=60))
    assert "unnoticed" in told
    assert client.listed == 2, "once at the start, once when the watch had reported all"


async def test_a_watch_that_never_comes_to_an_end_does_not_keep_the_operator_from_listing(
    client: FakeClient, watches: list[Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_module, "_MOST_SETTLING", 3)

    def reports(deliver: Callable[[Change], None]) -> None:
        client.sweeps.append(a_sweep("unnoticed", 7))

        def one() -> None:
            deliver(Change("FinetuneSweep", None, a_sweep("one", 1)))
            asyncio.get_running_loop().call_later(0.01, one)

        one()

    watches.append(reports)
    assert "unnoticed" in await run(after=2, pace=Pace(resync_s=60, settle_s=0.05, retry_s=60))


async def test_a_listing_that_fails_is_tried_again_soon(
    client: FakeClient, watches: list[Watch], caplog: pytest.LogCaptureFixture
) -> None:
    def relists(deliver: Callable[[Change], None]) -> None:
        client.failures = [StoreUnavailable("504")]
        client.sweeps.append(a_sweep("unnoticed", 6))
        deliver(Change("FinetuneSweep", None, a_sweep("one", 1)))

    watches.append(relists)
    assert "unnoticed" in await run(after=2)
    assert "the cluster could not be listed: 504" in caplog.text


async def test_a_deletion_is_told(client: FakeClient, watches: list[Watch]) -> None:
    watches.append(lambda deliver: deliver(Change("FinetuneSweep", "DELETED", a_sweep("one", 3))))
    assert await run(after=2) == ["one", "one"]


async def test_what_breaks_the_engine_ends_the_operator(client: FakeClient, watches: list[Watch]) -> None:
    class Broken(Engine):
        async def run(self, stop: asyncio.Event) -> None:
            raise RuntimeError("the engine broke")

    stop = asyncio.Event()
    with pytest.raises(RuntimeError, match="the engine broke"):
        await run_operator(
            lambda store: Broken(store, stop, after=99), access=ClusterAccess(), stop=stop, pace=FAST
        )
    assert client.closed


async def test_what_breaks_the_watchs_keeper_stops_the_engine_in_good_order(
    client: FakeClient, watches: list[Watch]
) -> None:
    def breaks(deliver: Callable[[Change], None]) -> None:
        raise ValueError("a mistake of ours")

    watches.append(breaks)
    with pytest.raises(ValueError, match="a mistake of ours"):
        await run(after=99)
    assert client.closed
