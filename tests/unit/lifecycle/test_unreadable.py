"""Deleted sweeps and trials whose manifest cannot be read any more, as after a downgrade of the CRDs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.lifecycle.context import RELEASE_WITHIN_S
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import API_VERSION, FINALIZER, FinetuneSweep, FinetuneTrial, parse_resource
from finetune_operator.resources.remains import Remains

PROBLEM = Problem("spec.search.method", "must be one of Grid, not Bayesian")
ONE = {"limits": {"maxTrials": 1}}


class Unreadable:
    """Has one object of a bench's store be there without being read."""

    def __init__(self, bench: Bench, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench, self.key = bench, key
        self.deleted = False
        self.gone = False
        store = bench.store
        self._get_sweep, self._get_trial, self._list = store.get_sweep, store.get_trial, store.list_trials
        for name in ("get_sweep", "get_trial", "list_trials", "remains", "let_go"):
            monkeypatch.setattr(store, name, getattr(self, name))

    async def get_sweep(self, key: Key) -> FinetuneSweep | None:
        if key == self.key:
            raise InvalidManifest((PROBLEM,))
        return await self._get_sweep(key)

    async def get_trial(self, key: Key) -> FinetuneTrial | None:
        return None if key == self.key else await self._get_trial(key)

    async def list_trials(self, key: Key) -> tuple[FinetuneTrial, ...]:
        return tuple(trial for trial in await self._list(key) if trial.name != self.key.name)

    async def remains(self, key: Key) -> Remains | None:
        if key != self.key or not self.deleted:
            return None
        metadata = {
            "name": key.name,
            "namespace": key.namespace,
            "finalizers": [] if self.gone else [FINALIZER],
            "deletionTimestamp": "2026-11-24T12:00:00Z",
        }
        return parse_resource(Remains, {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata})

    async def let_go(self, remains: Remains) -> None:
        assert remains.name == self.key.name
        self.gone = True

    def events(self, reason: str) -> list[str]:
        lines = (self.bench.state / "events.jsonl").read_text().splitlines()
        told = [json.loads(line) for line in lines]
        return [each["message"] for each in told if (each["reason"], each["name"]) == (reason, self.key.name)]


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bench, Key], Unreadable]:
    return lambda bench, key: Unreadable(bench, key, monkeypatch)


MakeUnreadable = Callable[[Bench, Key], Unreadable]


async def _trains(make_bench: MakeBench) -> Bench:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    return bench


async def test_a_deleted_sweep_that_cannot_be_read_cancels_its_jobs_and_goes(
    make_bench: MakeBench, unreadable: MakeUnreadable
) -> None:
    bench = await _trains(make_bench)
    broken = unreadable(bench, bench.sweep_key)
    broken.deleted = True
    assert await bench.look(bench.sweep_key) is not None
    assert not broken.gone
    assert (await bench.trial()).deleting
    assert await bench.look(bench.trial_key()) is None
    assert bench.company.cancelled == ["job-1"]
    assert await bench.look(bench.sweep_key) is None
    assert broken.gone
    (told,) = broken.events("LetGo")
    assert str(PROBLEM) in told
    assert await bench.look(bench.sweep_key) is None
    assert len(bench.company.jobs) == 1
    assert len(bench.company.jobs) == 1


async def test_a_sweep_that_cannot_be_read_and_is_not_deleted_holds_its_deleted_trials(
    make_bench: MakeBench, unreadable: MakeUnreadable
) -> None:
    bench = await _trains(make_bench)
    unreadable(bench, bench.sweep_key)
    await bench.store.delete_trial(await bench.trial())
    assert await bench.look(bench.trial_key()) is not None
    assert bench.company.cancelled == []
    assert str(PROBLEM) in ((await bench.trial()).status.message or "")


async def test_a_deleted_trial_that_cannot_be_read_is_held_and_told_of_and_then_let_go(
    make_bench: MakeBench, unreadable: MakeUnreadable
) -> None:
    bench = await _trains(make_bench)
    broken = unreadable(bench, bench.trial_key())
    assert await bench.look(bench.trial_key()) is None
    broken.deleted = True
    for _ in range(3):
        again_s = await bench.look(bench.trial_key())
        assert again_s is not None
        assert 0 < again_s <= RELEASE_WITHIN_S
    (held,) = broken.events("ReleaseBlocked")
    assert "cannot be read" in held
    assert "2026-11-25 12:00:00 UTC" in held
    assert not broken.gone
    bench.later(RELEASE_WITHIN_S + 1)
    assert await bench.look(bench.trial_key()) is None
    assert broken.gone
    assert len(broken.events("LetGo")) == 1
    assert await bench.look(bench.trial_key()) is None
    assert len(broken.events("LetGo")) == 1
    assert bench.company.cancelled == []
