"""The store over a real API server, as the operator's service account."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cluster.operator_account import Person, operator_client, operator_kubeconfig, person
from contract.store_contract import (
    MANIFESTS,
    SWEEP_MANIFEST,
    EditMaxTrials,
    NewSweep,
    StoreContract,
    StoreOfManySweepsContract,
)
from finetune_operator.cluster.client import KubeClient
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.resources import FinetuneSweep

__all__ = ["operator_client", "operator_kubeconfig", "person"]


@pytest.fixture
async def store(operator_client: KubeClient, person: Person, namespace: str) -> KubeStore:
    for manifest in MANIFESTS:
        await person.create(copy.deepcopy(manifest))
    store = KubeStore(operator_client, namespaces=(namespace,))
    await store.resync()
    return store


def sweep_manifest(name: str, **metadata: Any) -> dict[str, Any]:
    """Another sweep like the contract's."""
    return {**copy.deepcopy(SWEEP_MANIFEST), "metadata": {"name": name, **metadata}}


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


class TestKubeStore(StoreContract, StoreOfManySweepsContract):
    """All that every store promises."""
