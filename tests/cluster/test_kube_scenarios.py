"""The scenarios on a real API server: the real engine, the real watch, the operator's own account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.operator_account import Person, operator_kubeconfig, person
from tests.contract.scenario_contract import (
    DATA,
    GRID,
    PROVIDER,
    PurchaseContract,
    RefusalContract,
    RestartContract,
    ScenarioContract,
    sweep_with,
    until,
    until_finished,
)
from tests.fakes.company import Company, factory

from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import EVENTS, SWEEPS, TRIALS
from finetune_operator.cluster.operator import run_operator
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.lifecycle.resolution import ANNOTATION
from finetune_operator.lifecycle.store import AlreadyExists
from finetune_operator.lifecycle.warm_starting import WarmStartNotReady
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, parse_resource

__all__ = ["operator_kubeconfig", "person"]

NAME = "intents"


class KubeWorld:
    """A namespace, an operator that serves it, and what a person does there."""

    def __init__(self, person: Person, access: ClusterAccess, *, namespace: str, work_dir: Path) -> None:
        self.company = Company()
        self._person = person
        self._access = access
        self._namespace = namespace
        self._work_dir = work_dir
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def apply(self, *manifests: dict[str, Any]) -> None:
        """Create what is new and change the spec of what is there."""
        for manifest in manifests:
            try:
                await self._person.create(manifest)
            except AlreadyExists:
                change = {part: manifest[part] for part in ("spec", "data") if part in manifest}
                await self._person.edit(manifest["kind"], manifest["metadata"]["name"], change)

    async def start(self) -> None:
        self._stop = asyncio.Event()
        operator = run_operator(
            self._engine, access=self._access, stop=self._stop, namespaces=(self._namespace,)
        )
        self._task = asyncio.ensure_future(operator)

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
        self._task = None

    async def crash(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def sweep(self) -> FinetuneSweep:
        self._notice_a_dead_operator()
        return parse_resource(FinetuneSweep, await self._person.client.get(SWEEPS, self._namespace, NAME))

    async def trials(self) -> tuple[FinetuneTrial, ...]:
        listing = await self._person.client.list(TRIALS, self._namespace)
        trials = [parse_resource(FinetuneTrial, raw) for raw in listing.items]
        return tuple(sorted(trials, key=lambda trial: trial.spec.index))

    async def delete_trial(self, name: str) -> None:
        await self._person.delete("FinetuneTrial", name)

    async def delete_sweep(self, name: str) -> None:
        await self._person.delete("FinetuneSweep", name)

    async def annotate_trial(self, name: str, value: str) -> None:
        change = {"metadata": {"annotations": {ANNOTATION: value}}}
        await self._person.edit("FinetuneTrial", name, change)

    async def output(self) -> Mapping[str, str]:
        data: Mapping[str, str] = (await self._person.get("ConfigMap", f"{NAME}-model"))["data"]
        return data

    async def event_reasons(self) -> list[str]:
        listing = await self._person.client.list(EVENTS, self._namespace)
        return [event["reason"] for event in listing.items]

    def _engine(self, store: KubeStore) -> Engine:
        return Engine(store=store, work_dir=self._work_dir, make_provider=factory(self.company))

    def _notice_a_dead_operator(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()


@pytest.fixture
async def world(
    person: Person, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> AsyncIterator[KubeWorld]:
    access = ClusterAccess(kubeconfig=operator_kubeconfig)
    world = KubeWorld(person, access, namespace=namespace, work_dir=tmp_path)
    yield world
    await world.stop()


class TestScenarios(ScenarioContract):
    pass


class TestRestarts(RestartContract):
    pass


class TestPurchases(PurchaseContract):
    pass


class TestRefusals(RefusalContract):
    pass


async def test_a_sweep_learns_from_an_earlier_one_which_may_go_then(
    world: KubeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WarmStartNotReady, "again_after_s", 0.2)
    world.company.quality = lambda request: request.hyperparameters["epochs"] / 8 + 0.25
    earlier = sweep_with(candidates=[GRID], search={"method": "Grid"})
    earlier["metadata"] = {**earlier["metadata"], "name": "earlier"}
    wants = {"sweepRefs": [{"name": "earlier"}]}
    later = sweep_with(candidates=[GRID], search={"method": "Grid"}, warmStart=wants)
    await world.apply(DATA, PROVIDER, later)
    await world.start()

    def waits(sweep: FinetuneSweep, _: tuple[FinetuneTrial, ...]) -> bool:
        accepted = sweep.status.condition("Accepted")
        return accepted is not None and accepted.reason == "WarmStartNotReady"

    await until(world, waits)
    await world.apply(earlier)
    await until(world, lambda sweep, _: bool(sweep.status.warm_start))
    await world.delete_sweep("earlier")
    sweep = await until_finished(world)
    (known,) = sweep.status.warm_start
    assert (known.sweep, known.same_data) == ("earlier", True)
    assert [seen.parameters["epochs"] for seen in known.observations] == [3, 2, 1]
    first = next(each for each in await world.trials() if each.name == f"{NAME}-0")
    assert (first.spec.origin, first.spec.hyperparameters) == ("warm start", {"epochs": 3})
