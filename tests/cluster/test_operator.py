"""The operator over a real API server: what its engine is told, when, and what stays unwritten."""

from __future__ import annotations

import asyncio
import copy
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.operator_account import (
    RBAC,
    Person,
    is_gone,
    operator_kubeconfig,
    person,
    sweep_key,
    sweep_manifest,
    until,
)
from tests.contract.patience import PATIENCE_S
from tests.contract.store_contract import MANIFESTS, PROVIDER, SWEEP, Recorder, a_trial, key_of

from controlplane.fixtures import ServiceAccountKubeconfig
from controlplane.plane import ControlPlane
from controlplane.ports import ReservedPort
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.operator import Pace, run_operator
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.store import Key, Refused, StoreUnavailable
from finetune_operator.resources import (
    SweepStatus,
    TrialPhase,
    TrialStatus,
    load_yaml_documents,
)

__all__ = ["operator_kubeconfig", "person", "sweep_key"]

# Nothing but the watch brings news: the listing that follows its start would come too late.
WATCH_ALONE = Pace(resync_s=600, settle_s=600, retry_s=0.2)


class Engine:
    """Does nothing but remember what it was told."""

    def __init__(self, store: KubeStore) -> None:
        self.store = store
        store.subscribe(self.enqueue)
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


async def edit_is_seen(operator: Running, person: Person, key: Key) -> None:
    """Edit a sweep, and wait until the operator knows."""
    before = await operator.store.get_sweep(key)
    assert before is not None
    wanted = before.spec.limits.max_trials + 1
    await person.edit("FinetuneSweep", key.name, {"spec": {"limits": {"maxTrials": wanted}}})

    async def is_known() -> bool:
        sweep = await operator.store.get_sweep(key)
        return sweep is not None and sweep.spec.limits.max_trials == wanted

    await until(is_known)


StartOperator = Callable[..., AbstractAsyncContextManager[Running]]


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
        operator = run_operator(make, stop=stop, pace=pace or WATCH_ALONE, **options)
        ended = asyncio.ensure_future(operator)
        async with asyncio.timeout(PATIENCE_S):
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
def unused_port() -> Iterator[int]:
    port = ReservedPort()
    yield port.number
    port.release()


@pytest.fixture
async def manifests(person: Person) -> None:
    for manifest in MANIFESTS:
        await person.create(copy.deepcopy(manifest))


@pytest.mark.usefixtures("manifests")
async def test_the_engine_starts_with_all_objects_in_memory(
    start_operator: StartOperator, namespace: str, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        assert operator.engine.at_start == [sweep_key, sweep_key.sibling("FinetuneProvider", PROVIDER)]
        assert await operator.store.get_sweep(sweep_key) is not None
        assert await operator.store.get_provider(Key("FinetuneProvider", namespace, PROVIDER)) is not None


@pytest.mark.usefixtures("manifests")
async def test_edits_and_new_objects_are_seen_by_watching(
    start_operator: StartOperator, person: Person, namespace: str, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        await edit_is_seen(operator, person, sweep_key)
        await operator.engine.told.told_of(sweep_key)
        await person.create(sweep_manifest("another"))
        another = Key("FinetuneSweep", namespace, "another")
        await operator.engine.told.told_of(another)
        assert await operator.store.get_sweep(another) is not None


@pytest.mark.usefixtures("manifests")
async def test_nothing_is_written_on_an_object_for_being_watched(
    start_operator: StartOperator, person: Person, namespace: str, sweep_key: Key
) -> None:
    before = await person.get("FinetuneSweep", SWEEP)
    async with start_operator() as operator:
        await person.create(sweep_manifest("another"))
        await operator.engine.told.told_of(Key("FinetuneSweep", namespace, "another"))
    assert await person.get("FinetuneSweep", SWEEP) == before
    another = (await person.get("FinetuneSweep", "another"))["metadata"]
    assert another.keys().isdisjoint({"finalizers", "annotations"})
    assert len(another["managedFields"]) == 1


@pytest.mark.usefixtures("manifests")
async def test_what_has_ended_is_not_looked_at_when_the_operator_starts(
    start_operator: StartOperator, person: Person, namespace: str, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        store = operator.store
        sweep = await store.get_sweep(sweep_key)
        assert sweep is not None
        ended, held, open_ = [
            await store.create_trial(a_trial(index, namespace=namespace), owner=sweep) for index in range(3)
        ]
        over = TrialStatus(observed_generation=1, phase=TrialPhase.SUCCEEDED)
        await store.remove_finalizer(await store.write_trial_status(ended, over))
        await store.write_trial_status(held, over)
        await store.write_sweep_status(sweep, SweepStatus(observed_generation=1, phase="Succeeded"))
    async with start_operator() as operator:
        told = set(operator.engine.at_start)
        assert told == {key_of(held), key_of(open_), sweep_key.sibling("FinetuneProvider", PROVIDER)}


@pytest.mark.usefixtures("manifests")
async def test_a_finished_sweep_that_was_edited_meanwhile_is_looked_at_when_the_operator_starts(
    start_operator: StartOperator, person: Person, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        sweep = await operator.store.get_sweep(sweep_key)
        assert sweep is not None
        await operator.store.write_sweep_status(sweep, SweepStatus(observed_generation=1, phase="Succeeded"))
    await person.edit("FinetuneSweep", SWEEP, {"spec": {"limits": {"maxTrials": 13}}})
    async with start_operator() as operator:
        assert sweep_key in operator.engine.at_start


@pytest.mark.usefixtures("manifests")
async def test_a_deletion_by_a_person_is_seen(
    start_operator: StartOperator, person: Person, namespace: str, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        sweep = await operator.store.get_sweep(sweep_key)
        assert sweep is not None
        trial = await operator.store.create_trial(a_trial(0, namespace=namespace), owner=sweep)
        await edit_is_seen(operator, person, sweep_key)
        operator.engine.told = told = Recorder()
        await person.delete("FinetuneTrial", trial.name)
        await told.told_of(key_of(trial), sweep_key)
        doomed = await operator.store.get_trial(key_of(trial))
        assert doomed is not None
        assert doomed.deleting
        await operator.store.remove_finalizer(doomed)
        assert await is_gone(person, "FinetuneTrial", trial.name)
        operator.engine.told = told = Recorder()
        await person.delete("FinetuneSweep", SWEEP)
        await told.told_of(sweep_key)
        assert await operator.store.get_sweep(sweep_key) is None


@pytest.mark.usefixtures("manifests")
async def test_what_vanished_unnoticed_is_found_by_listing_now_and_then(
    start_operator: StartOperator, person: Person, namespace: str, sweep_key: Key
) -> None:
    async with start_operator(pace=Pace(resync_s=0.2)) as operator:
        vanished = await person.get("FinetuneSweep", SWEEP)
        vanished["metadata"] |= {"name": "vanished", "uid": "f1"}
        operator.store.cache.put("FinetuneSweep", vanished)
        key = sweep_key.sibling("FinetuneSweep", "vanished")

        async def is_forgotten() -> bool:
            return await operator.store.get_sweep(key) is None

        await until(is_forgotten)
        operator.engine.told = Recorder()
        # Unfinished ones are looked at again after each listing, even if no change told of them.
        await operator.engine.told.told_of(sweep_key)


@pytest.mark.usefixtures("manifests")
async def test_the_watch_goes_on_while_the_engine_finishes_its_work(
    start_operator: StartOperator, person: Person, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        await edit_is_seen(operator, person, sweep_key)
        operator.engine.finish.clear()
        operator.stop.set()
        await operator.engine.asked_to_stop.wait()
        await edit_is_seen(operator, person, sweep_key)
        assert not operator.ended.done()
        operator.engine.finish.set()
        await operator.ended


@pytest.mark.usefixtures("manifests")
async def test_the_watch_comes_back_after_the_api_server_was_away(
    start_operator: StartOperator, person: Person, control_plane: ControlPlane, sweep_key: Key
) -> None:
    async with start_operator() as operator:
        await edit_is_seen(operator, person, sweep_key)
        control_plane.api_server.kill()
        control_plane.api_server.start()

        async def server_serves() -> bool:
            try:
                await person.get("FinetuneSweep", SWEEP)
            except StoreUnavailable:
                return False
            return True

        await until(server_serves)
        await edit_is_seen(operator, person, sweep_key)


@pytest.mark.usefixtures("manifests")
async def test_the_operator_waits_for_an_api_server_that_is_not_there_yet(
    start_operator: StartOperator,
    control_plane: ControlPlane,
    sweep_key: Key,
    caplog: pytest.LogCaptureFixture,
) -> None:
    control_plane.api_server.kill()
    start = start_operator()
    try:
        starting = asyncio.ensure_future(start.__aenter__())
        while "the cluster cannot be read yet" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert not starting.done()
    finally:
        control_plane.api_server.start()
    operator = await starting
    assert sweep_key in operator.engine.at_start
    await start.__aexit__(None, None, None)


async def test_the_operator_can_be_stopped_while_it_waits_for_the_api_server(tmp_path: Path) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        """
        {"apiVersion": "v1", "kind": "Config", "current-context": "x",
         "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
         "users": [{"name": "x", "user": {}}],
         "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]}
        """
    )
    stop = asyncio.Event()
    operator = asyncio.ensure_future(
        run_operator(Engine, access=ClusterAccess(kubeconfig=nowhere), stop=stop)
    )
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await operator


async def test_an_account_without_rights_is_told_which_it_lacks(
    service_account_kubeconfig: ServiceAccountKubeconfig, start_operator: StartOperator
) -> None:
    access = ClusterAccess(kubeconfig=service_account_kubeconfig([]))
    with pytest.raises(Refused, match='cannot list resource "finetunesweeps"'):
        async with start_operator(access=access):
            pass


@pytest.mark.usefixtures("manifests")
async def test_all_namespaces_are_served_where_none_is_named(
    start_operator: StartOperator,
    service_account_kubeconfig: ServiceAccountKubeconfig,
    person: Person,
    sweep_key: Key,
) -> None:
    (role,) = [each for each in load_yaml_documents(RBAC.read_text()) if each["kind"] == "Role"]
    access = ClusterAccess(kubeconfig=service_account_kubeconfig(role["rules"], cluster_wide=True))
    async with start_operator(access=access, namespaces=()) as operator:
        assert sweep_key in operator.engine.at_start
        await edit_is_seen(operator, person, sweep_key)


@pytest.mark.usefixtures("manifests")
async def test_health_shows_that_the_engines_loop_takes_its_turn(
    start_operator: StartOperator, person: Person, sweep_key: Key, unused_port: int
) -> None:
    server = f"http://127.0.0.1:{unused_port}"

    def status(path: str, timeout_s: float) -> int | None:
        """Asked in a thread, as the kubelet asks from outside; None where there is no answer in time."""
        try:
            with urllib.request.urlopen(server + path, timeout=timeout_s) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None

    async def is_serving() -> bool:
        return await asyncio.to_thread(status, "/elsewhere", 5) == 404

    async with start_operator(liveness=f"{server}/healthz") as operator:
        await until(is_serving)
        with ThreadPoolExecutor(1) as threads:
            # Waiting for a thread in this way holds up the loop, as a mistake of ours might.
            assert threads.submit(status, "/healthz", 0.5).result() is None
        assert await asyncio.to_thread(status, "/healthz", 5) == 200
        await edit_is_seen(operator, person, sweep_key)


@pytest.mark.usefixtures("manifests")
async def test_an_operator_that_follows_a_quiet_cluster_logs_no_warning(
    start_operator: StartOperator, person: Person, sweep_key: Key, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_operator() as operator:
        await edit_is_seen(operator, person, sweep_key)
        await edit_is_seen(operator, person, sweep_key)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
