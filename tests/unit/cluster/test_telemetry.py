"""Health and numbers, seen without a cluster."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlplane.ports import ReservedPort
from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.client import SWEEPS, TRIALS
from finetune_operator.cluster.endpoints import Address, BadAddress, serving
from finetune_operator.cluster.metric_names import CATALOGUE, PREFIX
from finetune_operator.cluster.telemetry import STALE_AFTER_S, STUCK_AFTER_S, Telemetry
from finetune_operator.lifecycle.observer import AccountName, AccountVitals, Vitals
from finetune_operator.lifecycle.scene import leave_worker, look_at
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import API_VERSION

REST = Vitals(ready=0, planned=2, looks=0, due_for_s=0.0, quiet_for_s=9999.0, excused=False)
STUCK = replace(REST, ready=3, due_for_s=STUCK_AFTER_S + 1, quiet_for_s=STUCK_AFTER_S + 1)
ACME = AccountName(Key("FinetuneProvider", "team", "acme"), "OpenAI")
VERSION = iter(range(1, 10**9))


def raw(
    kind: str, name: str, *, spec: dict[str, Any], status: dict[str, Any] | None = None
) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "team",
        "uid": f"uid-{name}",
        "resourceVersion": str(next(VERSION)),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": status or {},
    }


def a_sweep(name: str = "support", *, budget: str | None = None, **status: Any) -> dict[str, Any]:
    limits: dict[str, Any] = {"maxTrials": 4}
    if budget is not None:
        limits["budget"] = {"maxCost": budget, "currency": "EUR"}
    spec = {
        "objective": {"metric": "accuracy"},
        "dataset": {
            "training": {"configMapRef": {"name": "data", "key": "train.jsonl"}},
            "evaluation": {"configMapRef": {"name": "data", "key": "eval.jsonl"}},
        },
        "candidates": [
            {
                "name": "a",
                "providerRef": {"name": "acme"},
                "baseModels": ["m"],
                "parameters": {"epochs": {"values": ["1", "2"]}},
            }
        ],
        "limits": limits,
    }
    return raw("FinetuneSweep", name, spec=spec, status=status)


def a_trial(index: int, sweep: str = "support", **status: Any) -> dict[str, Any]:
    spec = {
        "sweepRef": {"name": sweep},
        "index": index,
        "candidate": "a",
        "providerRef": {"name": "acme"},
        "baseModel": "m",
        "hyperparameters": {"epochs": 1},
        "runKey": f"run-key-{index}",
    }
    return raw("FinetuneTrial", f"{sweep}-{index}", spec=spec, status=status)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    telemetry = Telemetry(clock)
    telemetry.follow(ObjectCache())
    return telemetry


def ready(telemetry: Telemetry) -> Telemetry:
    telemetry.listed()
    telemetry.watch_began()
    telemetry.attach(lambda: REST)
    return telemetry


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"{PREFIX}{name}", labels)


def test_an_operator_at_rest_is_alive_and_ready_however_long_nothing_happens(telemetry: Telemetry) -> None:
    ready(telemetry)
    assert (telemetry.not_alive(), telemetry.not_ready()) == ("", "")
    assert value(telemetry, "ready") == 1.0


def test_an_operator_whose_workers_do_nothing_while_work_waits_is_not_alive(
    telemetry: Telemetry, clock: Clock
) -> None:
    ready(telemetry).attach(lambda: STUCK)
    clock.now += STUCK_AFTER_S + 1
    telemetry.listed()
    telemetry.requested("GET", SWEEPS, "ok")  # a listing is nobody's work
    assert telemetry.not_alive() == "3 objects wait and no worker has done anything for 301 s"
    assert telemetry.not_ready() == telemetry.not_alive()


@pytest.mark.parametrize(
    "vitals",
    [
        replace(STUCK, excused=True),
        replace(STUCK, quiet_for_s=1.0),
        replace(STUCK, due_for_s=1.0),
    ],
    ids=["a provider is slow", "workers are busy", "work has just come"],
)
def test_an_operator_that_does_something_is_alive(telemetry: Telemetry, clock: Clock, vitals: Vitals) -> None:
    ready(telemetry).attach(lambda: vitals)
    clock.now += STUCK_AFTER_S + 1
    assert telemetry.not_alive() == ""


def test_an_operator_whose_workers_cannot_write_what_was_bought_is_left_alive(
    telemetry: Telemetry, clock: Clock
) -> None:
    ready(telemetry).attach(lambda: STUCK)
    clock.now += STUCK_AFTER_S + 1
    look_at(Key("FinetuneTrial", "team", "support-0"))
    telemetry.requested("PATCH", TRIALS, "StoreUnavailable")
    leave_worker()
    assert telemetry.not_alive() == ""


def test_an_operator_that_has_listed_nothing_is_alive_but_not_ready(telemetry: Telemetry) -> None:
    telemetry.watch_began()
    assert telemetry.not_alive() == ""
    assert telemetry.not_ready() == "the cluster was not listed yet"


def test_an_operator_whose_watch_is_down_is_not_ready_until_it_is_up_again(telemetry: Telemetry) -> None:
    ready(telemetry).watch_broke()
    assert telemetry.not_ready() == "the watch is down"
    assert telemetry.not_alive() == ""
    assert value(telemetry, "watch_restarts_total") == 1.0
    telemetry.watch_began()
    assert telemetry.not_ready() == ""


def test_an_operator_that_hears_nothing_of_the_cluster_is_not_ready_until_it_does(
    telemetry: Telemetry, clock: Clock
) -> None:
    ready(telemetry)
    clock.now += STALE_AFTER_S + 1
    assert telemetry.not_ready() == "nothing was heard of the cluster for 901 s"
    assert telemetry.not_alive() == ""
    telemetry.changed("FinetuneSweep")
    assert telemetry.not_ready() == ""


def test_sweeps_and_trials_are_counted_as_they_are_now(telemetry: Telemetry) -> None:
    cache = ObjectCache()
    telemetry.follow(cache)
    stalled = {"type": "Stalled", "status": "True", "reason": "TrialStalled", "message": "m"}
    best = {"trial": "t", "candidate": "a", "provider": "acme", "baseModel": "m", "score": 0.75}
    cost = {"spent": "2.50", "reserved": "1.00", "currency": "EUR"}
    cache.put(
        "FinetuneSweep",
        a_sweep(budget="10", phase="Searching", conditions=[stalled], best=best, cost=cost),
    )
    waiting = {"phase": "Pending", "reason": "QuotaExceeded"}
    blocked = {"type": "Released", "status": "False", "reason": "ReleaseBlocked", "message": "m"}
    for index, status in enumerate([{"phase": "Training"}, {"phase": "Training"}, waiting]):
        cache.put("FinetuneTrial", a_trial(index, **status))
    cache.put("FinetuneTrial", a_trial(3, phase="Cancelled", conditions=[blocked]))
    who = {"namespace": "team", "sweep": "support"}
    assert value(telemetry, "sweeps", namespace="team", phase="Searching") == 1
    assert value(telemetry, "sweep_phase", **who, phase="Searching") == 1
    assert value(telemetry, "sweep_stalled", **who, reason="TrialStalled") == 1
    assert value(telemetry, "sweep_best_score", **who, objective="accuracy") == 0.75
    assert value(telemetry, "sweep_spent", **who, currency="EUR") == 2.5
    assert value(telemetry, "sweep_reserved", **who, currency="EUR") == 1
    assert value(telemetry, "sweep_budget", **who, currency="EUR") == 10
    assert value(telemetry, "trials", **who, phase="Training") == 2
    assert value(telemetry, "trials_waiting", **who, reason="WaitingForQuota") == 1
    assert value(telemetry, "trials_release_blocked", **who) == 1
    cache.drop("FinetuneSweep", a_sweep())
    assert value(telemetry, "sweep_phase", **who, phase="Searching") is None


def test_an_object_that_cannot_be_read_is_counted_and_hides_nothing(telemetry: Telemetry) -> None:
    cache = ObjectCache()
    telemetry.follow(cache)
    cache.put("FinetuneSweep", raw("FinetuneSweep", "broken", spec={}))
    cache.put("FinetuneProvider", raw("FinetuneProvider", "acme", spec={"type": "OpenAI"}))
    assert value(telemetry, "unreadable_objects", kind="FinetuneSweep") == 1
    assert value(telemetry, "provider_accepted", namespace="team", provider="acme", type="OpenAI") == 0


def test_numbers_of_a_provider_go_when_it_goes(telemetry: Telemetry) -> None:
    cache = ObjectCache()
    telemetry.follow(cache)
    acme = raw("FinetuneProvider", "acme", spec={"type": "OpenAI"})
    cache.put("FinetuneProvider", acme)
    telemetry.metrics.called(ACME, "observe", "ok", 0.1)
    telemetry.metrics.job_ended(ACME, "succeeded", 60.0)
    labels = {"namespace": "team", "provider": "acme", "type": "OpenAI"}
    telemetry.before_scrape()
    assert value(telemetry, "provider_calls_total", **labels, operation="observe", outcome="ok") == 1
    assert value(telemetry, "job_seconds_sum", **labels, outcome="succeeded") == 60
    cache.drop("FinetuneProvider", acme)
    telemetry.before_scrape()
    assert value(telemetry, "provider_calls_total", **labels, operation="observe", outcome="ok") is None
    assert value(telemetry, "job_seconds_sum", **labels, outcome="succeeded") is None


def test_the_engine_s_state_is_asked_for_at_each_scrape(telemetry: Telemetry) -> None:
    account = AccountVitals(ACME, jobs=3, poll_age_s=12.0, full_for_s=60.0)
    telemetry.attach(lambda: replace(REST, ready=5, background={"evaluation": 2}, accounts=(account,)))
    labels = {"namespace": "team", "provider": "acme", "type": "OpenAI"}
    assert value(telemetry, "queue_depth") == 5
    assert value(telemetry, "work_under_way", kind="evaluation") == 2
    assert value(telemetry, "last_poll_age_seconds", **labels) == 12
    telemetry.attach(lambda: replace(REST, accounts=(replace(account, poll_age_s=None),)))
    assert value(telemetry, "last_poll_age_seconds", **labels) is None
    assert value(telemetry, "quota_wait_seconds", **labels) == 60


@pytest.mark.parametrize("url", ["0.0.0.0:8080", "https://x:1/healthz", "http://:80/x", "http://x:port/"])
def test_an_address_at_which_nothing_can_be_served_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(BadAddress, match=r"--liveness .*such as http://0\.0\.0\.0:8080/healthz"):
        Address.parse(url, option="--liveness", default_path="/healthz")


@pytest.fixture
async def server(telemetry: Telemetry) -> AsyncIterator[str]:
    port = ReservedPort()
    url = f"http://127.0.0.1:{port.number}"
    async with serving(telemetry, liveness=f"{url}/healthz", metrics=url):
        yield url
    port.release()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_health_is_told_by_status_and_in_words(server: str, telemetry: Telemetry, clock: Clock) -> None:
    assert await get(f"{server}/healthz") == (200, "ok\n")
    assert await get(f"{server}/readyz") == (503, "the cluster was not listed yet\n")
    ready(telemetry)
    assert await get(f"{server}/readyz") == (200, "ok\n")
    telemetry.attach(lambda: STUCK)
    clock.now += STUCK_AFTER_S + 1
    assert (await get(f"{server}/healthz"))[0] == 503


async def test_a_scrape_has_every_metric_of_the_catalogue_with_its_labels(
    server: str, telemetry: Telemetry
) -> None:
    telemetry.metrics.looked("FinetuneSweep", "done", 0.1)
    status, text = await get(f"{server}/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    own = {name for name in families if name.startswith(PREFIX) and not name.endswith("_created")}
    assert own == {f"{PREFIX}{name}".removesuffix("_total") for name in CATALOGUE}
    for name, metric in CATALOGUE.items():
        assert families[f"{PREFIX}{name}".removesuffix("_total")].type == metric.kind
        assert metric.help.endswith(".")
        assert metric.help in text


async def test_a_port_that_is_taken_is_told(server: str, telemetry: Telemetry) -> None:
    with pytest.raises(BadAddress, match="cannot be listened at"):
        async with serving(telemetry, liveness=server, metrics=None):
            pass


def test_a_thousand_sweeps_are_scraped_in_well_under_a_second() -> None:
    telemetry, cache = Telemetry(), ObjectCache()
    telemetry.follow(cache)
    for number in range(1000):
        cost = {"spent": "2.50", "reserved": "1.00", "currency": "EUR"}
        cache.put("FinetuneSweep", a_sweep(f"s{number}", budget="10", phase="Searching", cost=cost))
        for index in range(3):
            cache.put("FinetuneTrial", a_trial(index, f"s{number}", phase="Training"))
    from prometheus_client import generate_latest

    generate_latest(telemetry.registry)  # reads each object, once a version
    begun = time.process_time()
    text = generate_latest(telemetry.registry)
    seconds = time.process_time() - begun
    print(f"{seconds * 1000:.0f} ms, {len(text) // 1024} KiB")
    assert text.count(b"finetune_operator_sweep_phase{") == 1000
    assert seconds < 0.5  # 0.1 is aimed at; machines of tests may be slow
