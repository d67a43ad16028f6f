"""The store over a real API server, as the operator's service account."""

from __future__ import annotations

import pytest
from tests.cluster.operator_account import (
    Person,
    operator_client,
    operator_kubeconfig,
    person,
    store,
    sweep,
    sweep_key,
    sweep_manifest,
    trial,
)
from tests.contract.store_contract import (
    EditMaxTrials,
    NewSweep,
    Recorder,
    StoreContract,
    StoreOfManySweepsContract,
    a_trial,
    key_of,
)

from controlplane.plane import ControlPlane
from finetune_operator.cluster.client import (
    ApiResource,
    KubeClient,
)
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.store import (
    Key,
    Store,
    StoreUnavailable,
)
from finetune_operator.resources import (
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
    TrialStatus,
)

__all__ = ["operator_client", "operator_kubeconfig", "person", "store", "sweep", "sweep_key", "trial"]


@pytest.fixture
def new_sweep(store: KubeStore, person: Person, namespace: str) -> NewSweep:
    async def make(name: str) -> FinetuneSweep:
        await person.create(sweep_manifest(name))
        await store.resync()
        sweep = await store.get_sweep(Key("FinetuneSweep", namespace, name))
        assert sweep is not None
        return sweep

    return make


@pytest.fixture
def edit_max_trials(store: KubeStore, person: Person) -> EditMaxTrials:
    async def edit(sweep: FinetuneSweep, max_trials: int) -> Store:
        await person.edit("FinetuneSweep", sweep.name, {"spec": {"limits": {"maxTrials": max_trials}}})
        await store.resync()
        return store

    return edit


async def test_a_list_is_read_in_chunks_of_one_moment(
    store: KubeStore,
    operator_client: KubeClient,
    sweep: FinetuneSweep,
    sweep_key: Key,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for index in range(5):
        await store.create_trial(a_trial(index, namespace=namespace), owner=sweep)
    monkeypatch.setattr("finetune_operator.cluster.client._CHUNK", 2)
    again = KubeStore(operator_client, namespaces=(namespace,))
    await again.resync()
    assert len(await again.list_trials(sweep_key)) == 5
    monkeypatch.setattr("finetune_operator.cluster.client._METADATA_CHUNK", 2)
    assert await again.resync() == 0
    assert len(await again.list_trials(sweep_key)) == 5


@pytest.mark.parametrize("at_most", [0, 50])
async def test_listing_again_reads_what_the_watch_did_not_bring(
    store: KubeStore,
    operator_client: KubeClient,
    trial: FinetuneTrial,
    sweep_key: Key,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    at_most: int,
) -> None:
    monkeypatch.setattr("finetune_operator.cluster.listings._READ_SINGLY", at_most)
    again = KubeStore(operator_client, namespaces=(namespace,))
    await again.resync()
    written = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))
    assert await again.resync() == 1
    assert await again.list_trials(sweep_key) == (written,)
    assert await again.resync() == 0


async def test_a_restart_knows_all_that_was_known(
    store: KubeStore, operator_client: KubeClient, trial: FinetuneTrial, sweep_key: Key, namespace: str
) -> None:
    written = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))
    again = KubeStore(operator_client, namespaces=(namespace,))
    await again.resync()
    assert await again.list_trials(sweep_key) == (written,)
    assert await again.get_sweep(sweep_key) == await store.get_sweep(sweep_key)


async def test_listing_again_finds_what_went_unnoticed(
    store: KubeStore, person: Person, trial: FinetuneTrial, sweep_key: Key
) -> None:
    recorder = Recorder()
    store.subscribe(recorder)
    await person.edit("FinetuneTrial", trial.name, {"metadata": {"finalizers": None}})
    await person.delete("FinetuneTrial", trial.name)
    await store.resync()
    await recorder.told_of(key_of(trial), sweep_key)
    assert await store.list_trials(sweep_key) == ()
    assert await store.resync() == 0


async def test_a_server_that_does_not_know_the_kinds_is_named(person: Person) -> None:
    unknown = ApiResource("finetune-operator.dev", "v1alpha1", "finetuneothers")
    with pytest.raises(StoreUnavailable, match=r"finetuneothers\.finetune-operator\.dev: apply the CRDs"):
        await person.client.list(unknown, None)


async def test_an_api_server_that_is_down_is_unavailable(
    control_plane: ControlPlane, store: KubeStore, sweep: FinetuneSweep
) -> None:
    control_plane.api_server.kill()
    try:
        with pytest.raises(StoreUnavailable, match=r"^PATCH \S+/status: "):
            await store.write_sweep_status(sweep, SweepStatus(phase="Searching"))
        assert await store.get_sweep(key_of(sweep)) == sweep
    finally:
        control_plane.api_server.start()


class TestKubeStore(StoreContract, StoreOfManySweepsContract):
    """All that every store promises."""
