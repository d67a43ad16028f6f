"""The operator over a real API server: what its engine is told, when, and what stays unwritten."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.operator_account import Person, operator_kubeconfig, person
from contract.store_contract import MANIFESTS, PROVIDER, SWEEP, SWEEP_MANIFEST, Recorder
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.operator import Pace, run_operator
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.store import Key

__all__ = ["operator_kubeconfig", "person"]

EDIT: dict[str, Any] = {"spec": {"limits": {"maxTrials": 13}}}


class Engine:
    """Does nothing but remember what it was told."""

    def __init__(self, store: KubeStore) -> None:
        self.store = store
        self.told = Recorder()
        self.at_start: list[Key] = []
        self.running = asyncio.Event()
        self.finish = asyncio.Event()
        self.finish.set()
        self.asked_to_stop = asyncio.Event()

    def enqueue(self, key: Key) -> None:
        if not self.running.is_set():
            self.at_start.append(key)
        self.told(key)

    async def run(self, stop: asyncio.Event) -> None:
        self.running.set()
        await stop.wait()
        self.asked_to_stop.set()
        await self.finish.wait()


class Running:
    """An operator that runs in the background of a test."""

    def __init__(self, engine: Engine, stop: asyncio.Event, ended: asyncio.Task[None]) -> None:
        self.engine, self.store, self.stop, self.ended = engine, engine.store, stop, ended


StartOperator = Callable[..., Any]


@pytest.fixture
def start_operator(operator_kubeconfig: Path, namespace: str) -> StartOperator:
    @asynccontextmanager
    async def start(*, pace: Pace | None = None, **options: Any) -> AsyncIterator[Running]:
        made: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()

        def make(store: KubeStore) -> Engine:
            engine = Engine(store)
            made.set_result(engine)
            return engine

        options = {
            "access": ClusterAccess(kubeconfig=operator_kubeconfig),
            "namespaces": (namespace,),
            **options,
        }
        operator = run_operator(make, stop=stop, pace=pace or Pace(retry_s=0.2), **options)
        ended = asyncio.ensure_future(operator)
        async with asyncio.timeout(60):
            await asyncio.wait([ended, made], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            engine = made.result()
            await engine.running.wait()
            try:
                yield Running(engine, stop, ended)
            finally:
                stop.set()
                await ended

    return start


@pytest.fixture
def sweep_key(namespace: str) -> Key:
    return Key("FinetuneSweep", namespace, SWEEP)


@pytest.fixture
async def manifests(person: Person) -> None:
    for manifest in MANIFESTS:
        await person.create(copy.deepcopy(manifest))


@pytest.mark.usefixtures("manifests")
async def test_the_engine_starts_with_all_objects_in_memory(
    start_operator: StartOperator, namespace: str, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        assert operator.engine.at_start == [sweep_key]
        assert await operator.store.get_sweep(sweep_key) is not None
        assert await operator.store.get_provider(Key("FinetuneProvider", namespace, PROVIDER)) is not None


@pytest.mark.usefixtures("manifests")
async def test_edits_and_new_objects_are_seen_within_a_second(
    start_operator: StartOperator, person: Person, namespace: str, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        told = operator.engine.told
        # The first event shows that the watch is there; from then on it is the watch that is timed.
        await person.edit("FinetuneSweep", SWEEP, EDIT)
        await told.told_of(sweep_key)
        await person.edit("FinetuneSweep", SWEEP, {"spec": {"suspend": True}})
        await told.told_of(sweep_key, within_s=1.0)
        sweep = await operator.store.get_sweep(sweep_key)
        assert sweep is not None
        assert sweep.spec.suspend
        await person.create({**copy.deepcopy(SWEEP_MANIFEST), "metadata": {"name": "another"}})
        await told.told_of(Key("FinetuneSweep", namespace, "another"), within_s=1.0)
