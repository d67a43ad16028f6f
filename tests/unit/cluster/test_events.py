"""Each part of a story is told once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.cluster.test_telemetry import Clock, a_sweep, a_trial

from finetune_operator.cluster import event_log
from finetune_operator.cluster.client import EVENTS, ApiResource
from finetune_operator.cluster.event_log import AGAIN_AFTER_S, EventLog
from finetune_operator.cluster.store import ROUTINE, KubeStore
from finetune_operator.lifecycle.store import StoreUnavailable
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, parse_resource


class FakeClient:
    """Takes events; fails as often as it is told to."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str]] = []
        self.failures = 0

    async def create(self, resource: ApiResource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        assert resource is EVENTS
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("503")
        self.posted.append((body["involvedObject"]["name"], body["reason"]))
        return body


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def store(client: FakeClient) -> KubeStore:
    return KubeStore(client)  # type: ignore[arg-type]


@pytest.fixture
def sweep() -> FinetuneSweep:
    return parse_resource(FinetuneSweep, a_sweep("one"))


async def test_the_same_event_is_posted_once(
    client: FakeClient, store: KubeStore, sweep: FinetuneSweep
) -> None:
    for _ in range(3):
        await store.record_event(sweep, "Accepted", "all is well")
    assert client.posted == [("one", "Accepted")]


async def test_another_object_reason_or_message_is_another_event(
    client: FakeClient, store: KubeStore, sweep: FinetuneSweep
) -> None:
    await store.record_event(sweep, "NewBest", "0.5")
    await store.record_event(sweep, "NewBest", "0.6")
    await store.record_event(sweep, "Finished", "0.6")
    await store.record_event(parse_resource(FinetuneSweep, a_sweep("two")), "NewBest", "0.5")
    assert len(client.posted) == 4


async def test_of_a_trial_where_all_goes_well_nothing_is_posted(client: FakeClient, store: KubeStore) -> None:
    trial = parse_resource(FinetuneTrial, a_trial(0))
    for reason in sorted(ROUTINE):
        await store.record_event(trial, reason, "all is well")
    assert client.posted == []
    await store.record_event(trial, "Succeeded", "so it seems", warning=True)
    await store.record_event(trial, "QuotaExceeded", "it waits")
    assert [reason for _, reason in client.posted] == ["Succeeded", "QuotaExceeded"]


async def test_an_operator_that_was_restarted_may_tell_it_once_more(
    client: FakeClient, store: KubeStore, sweep: FinetuneSweep
) -> None:
    for each in (store, store, KubeStore(client), store):  # type: ignore[arg-type]
        await each.record_event(sweep, "Accepted", "all is well")
    assert len(client.posted) == 2


async def test_an_event_that_could_not_be_posted_is_news_the_next_time(
    client: FakeClient, store: KubeStore, sweep: FinetuneSweep
) -> None:
    client.failures = 1
    for _ in range(3):
        await store.record_event(sweep, "Accepted", "all is well")
    assert client.posted == [("one", "Accepted")]


def test_after_an_hour_it_is_told_again() -> None:
    clock = Clock()
    log = EventLog(clock)
    assert log.is_news(("u", "r", "m"))
    clock.now += AGAIN_AFTER_S - 1
    assert not log.is_news(("u", "r", "m"))
    clock.now += 1
    assert log.is_news(("u", "r", "m"))
    assert not log.is_news(("u", "r", "m"))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "_MOST", 10)
    log = EventLog(Clock())
    for number in range(100):
        log.is_news(("u", "r", str(number)))
    assert log.is_news(("u", "r", "0"))
    assert not log.is_news(("u", "r", "99"))
