"""The operator's own account, which may do exactly what `examples/operator/rbac.yaml` grants, and people's."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient
from tests.contract.patience import PATIENCE_S
from tests.contract.store_contract import MANIFESTS, SWEEP, SWEEP_MANIFEST, a_trial

from controlplane.access import write_service_account_kubeconfig
from controlplane.fixtures import Kubectl
from controlplane.plane import ControlPlane
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import (
    CONFIG_MAPS,
    PROVIDERS,
    SECRETS,
    SWEEPS,
    TRIALS,
    ApiResource,
    KubeClient,
    Raw,
)
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.store import Key, NotFound
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, dump_yaml, load_yaml_documents

RBAC = Path(__file__).parents[2] / "examples" / "operator" / "rbac.yaml"
RESOURCES: dict[str, ApiResource] = {
    "FinetuneSweep": SWEEPS,
    "FinetuneTrial": TRIALS,
    "FinetuneProvider": PROVIDERS,
    "Secret": SECRETS,
    "ConfigMap": CONFIG_MAPS,
}


def rbac_for(namespace: str) -> str:
    """The example's manifests with another namespace; nothing else is changed."""
    documents = load_yaml_documents(RBAC.read_text(encoding="utf-8"))
    for document in documents:
        document["metadata"]["namespace"] = namespace
        for subject in document.get("subjects", ()):
            subject["namespace"] = namespace
    return "---\n".join(dump_yaml(document) for document in documents)


Grant = tuple[str, str]
"""A resource and a verb."""


def role() -> dict[str, Any]:
    """The Role of the example."""
    documents = load_yaml_documents(RBAC.read_text(encoding="utf-8"))
    return next(copy.deepcopy(each) for each in documents if each["kind"] == "Role")


def grants(of: Mapping[str, Any]) -> list[Grant]:
    """All that a Role grants."""
    return [
        (resource, verb) for rule in of["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    ]


def without(of: Mapping[str, Any], grant: Grant) -> dict[str, Any]:
    """A Role that grants one thing less."""
    resource, verb = grant
    rules = []
    for rule in of["rules"]:
        for each in rule["resources"]:
            verbs = [one for one in rule["verbs"] if (each, one) != (resource, verb)]
            if verbs:
                rules.append({**rule, "resources": [each], "verbs": verbs})
    return {**copy.deepcopy(dict(of)), "rules": rules}


@pytest.fixture
def operator_kubeconfig(control_plane: ControlPlane, kubectl: Kubectl, namespace: str) -> Path:
    """Credentials of the operator's service account in the test's namespace."""
    kubectl("apply", "-f", "-", stdin=rbac_for(namespace))
    return write_service_account_kubeconfig(control_plane, namespace, "finetune-operator")


@pytest.fixture
async def person(kubeconfig: Path, namespace: str) -> AsyncIterator[Person]:
    """Somebody who may do anything in the test's namespace."""
    client = await KubeClient.connect(ClusterAccess(kubeconfig=kubeconfig))
    yield Person(client, namespace)
    await client.close()


class Person:
    """Creates, edits and deletes objects of a namespace as people do: past the operator's store."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self._namespace = namespace

    async def create(self, manifest: dict[str, Any]) -> Raw:
        return await self.client.create(RESOURCES[manifest["kind"]], self._namespace, manifest)

    async def edit(self, kind: str, name: str, change: dict[str, Any], *, part: str | None = None) -> Raw:
        resource = RESOURCES[kind]
        return await self.client.patch(resource, self._namespace, name, body=change, subresource=part)

    async def get(self, kind: str, name: str) -> Raw:
        return await self.client.get(RESOURCES[kind], self._namespace, name)

    async def delete(self, kind: str, name: str) -> None:
        await self.client.delete(RESOURCES[kind], self._namespace, name, uid=None)


class CountingClient(KubeClient):
    """Remembers what was asked of the API server."""

    def __init__(self, api: ApiClient) -> None:
        super().__init__(api)
        self.calls: list[str] = []

    async def _send(self, method: str, resource: ApiResource, path: str, **parts: Any) -> Raw:
        self.calls.append(f"{method} {path.rpartition('/namespaces/')[2]}")
        return await super()._send(method, resource, path, **parts)


@pytest.fixture
async def operator_client(operator_kubeconfig: Path) -> AsyncIterator[CountingClient]:
    client = await CountingClient.connect(ClusterAccess(kubeconfig=operator_kubeconfig))
    yield client
    await client.close()


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
def sweep_key(namespace: str) -> Key:
    return Key("FinetuneSweep", namespace, SWEEP)


@pytest.fixture
async def sweep(store: KubeStore, sweep_key: Key) -> FinetuneSweep:
    sweep = await store.get_sweep(sweep_key)
    assert sweep is not None
    return sweep


@pytest.fixture
async def trial(store: KubeStore, sweep: FinetuneSweep, namespace: str) -> FinetuneTrial:
    return await store.create_trial(a_trial(0, namespace=namespace), owner=sweep)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the operator or the cluster's own controllers do."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 (nobody here can set an event)
            await asyncio.sleep(0.05)


async def is_gone(person: Person, kind: str, name: str) -> bool:
    try:
        await person.get(kind, name)
    except NotFound:
        return True
    return False
