"""The operator's own account, which may do exactly what `examples/operator/rbac.yaml` grants, and people's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

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
from finetune_operator.resources import dump_yaml, load_yaml_documents

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


@pytest.fixture
def operator_kubeconfig(control_plane: ControlPlane, kubectl: Kubectl, namespace: str) -> Path:
    """Credentials of the operator's service account in the test's namespace."""
    kubectl("apply", "-f", "-", stdin=rbac_for(namespace))
    return write_service_account_kubeconfig(control_plane, namespace, "finetune-operator")


@pytest.fixture
async def operator_client(operator_kubeconfig: Path) -> AsyncIterator[KubeClient]:
    """The operator's client."""
    client = await KubeClient.connect(ClusterAccess(kubeconfig=operator_kubeconfig))
    yield client
    await client.close()


@pytest.fixture
async def person(kubeconfig: Path, namespace: str) -> AsyncIterator[Person]:
    """Somebody who may do anything in the test's namespace."""
    client = await KubeClient.connect(ClusterAccess(kubeconfig=kubeconfig))
    yield Person(client, namespace)
    await client.close()


class Person:
    """Creates, edits and deletes objects of a namespace as people do: past the operator's store."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def create(self, manifest: dict[str, Any]) -> Raw:
        return await self._client.create(RESOURCES[manifest["kind"]], self._namespace, manifest)

    async def edit(self, kind: str, name: str, change: dict[str, Any], *, part: str | None = None) -> Raw:
        resource = RESOURCES[kind]
        return await self._client.patch(resource, self._namespace, name, body=change, subresource=part)

    async def get(self, kind: str, name: str) -> Raw:
        return await self._client.get(RESOURCES[kind], self._namespace, name)

    async def delete(self, kind: str, name: str) -> None:
        await self._client.delete(RESOURCES[kind], self._namespace, name, uid=None)
