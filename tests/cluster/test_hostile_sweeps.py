"""Tenants who mean no good, beside one who does, with the operator running."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.hosted_world import Example, HostedWorld, load_example
from tests.cluster.operator_account import Person, operator_kubeconfig, person
from tests.cluster.operator_process import Team

from controlplane.access import create_namespace, delete_namespace
from controlplane.errors import ControlPlaneError
from controlplane.fixtures import Kubectl
from controlplane.plane import ControlPlane
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import CONFIG_MAPS, EVENTS, KubeClient
from finetune_operator.cluster.operator import run_operator
from finetune_operator.evaluation import IN_A_CLUSTER
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.resources import API_VERSION

__all__ = ["operator_kubeconfig", "person"]

Manifest = dict[str, Any]


@pytest.fixture
def example() -> Iterator[Example]:
    loaded = load_example("openai.yaml")
    loaded.sweep_manifest["spec"]["limits"] = {"maxTrials": 2, "parallelTrials": 2}
    yield loaded
    loaded.close()


@pytest.fixture
def team(kubectl: Kubectl, namespace: str, person: Person) -> Team:
    return Team(kubectl, namespace, person)


@pytest.fixture
async def world(
    team: Team, operator_kubeconfig: Path, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[HostedWorld]:
    access = ClusterAccess(kubeconfig=operator_kubeconfig)
    world = HostedWorld(team, access, namespace=namespace, work_dir=tmp_path / "work")
    in_a_cluster = partial(Engine, work_dir=tmp_path / "work", dataset_rules=IN_A_CLUSTER)
    monkeypatch.setattr(world, "_engine", lambda store: in_a_cluster(store=store))
    await world.start()
    yield world
    await world.stop()


def changed(manifest: Manifest, name: str, **spec: Any) -> Manifest:
    """Another sweep with some of its spec's fields replaced."""
    other = copy.deepcopy(manifest)
    other["metadata"]["name"] = name
    other["spec"].pop("output", None)
    other["spec"].update(spec)
    return other


METADATA = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
ADDRESSES = {
    "metadata": METADATA,
    "mapped": "http://[::ffff:169.254.169.254]/computeMetadata/v1/",
    "loopback": "https://127.0.0.1:10250/pods",
    "api-server": "https://10.0.0.1/api/v1/secrets",
    "multicast": "http://239.255.255.250:1900/x",
    "token": "file:///var/run/secrets/kubernetes.io/serviceaccount/token",
}


async def test_hostile_sweeps_are_refused_and_another_one_is_not_held_up(
    world: HostedWorld, team: Team, example: Example, caplog: pytest.LogCaptureFixture
) -> None:
    good = example.sweep_manifest
    evil = "\n".join(
        ["[" * 50_000, '{"messages": NaN}', "9" * 50_000, '{"messages": "\\ud800"}', "{}" * 1000]
    )
    lines = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "evil"}, "data": {"x": evil}}
    by_address = [
        changed(good, name, dataset={"training": {"uri": uri}, "evaluation": {"uri": uri}})
        for name, uri in ADDRESSES.items()
    ]
    source = {"configMapRef": {"name": "evil", "key": "x"}}
    by_data = [changed(good, "lines", dataset={"training": source, "evaluation": source})]
    candidate = copy.deepcopy(good["spec"]["candidates"][0])
    candidate["baseModels"] = [f"../../etc/passwd{'/..' * number}" for number in range(16)]
    by_model = [changed(good, "models", candidates=[candidate])]
    team.apply(lines, *by_address, *by_data, *by_model, *example.manifests)
    assert (await team.finished(example.sweep)).status.phase == "Succeeded"
    for hostile in (*by_address, *by_data, *by_model):
        name = hostile["metadata"]["name"]
        accepted = await team.condition(name, "Accepted", "InvalidSpec")
        assert accepted.status == "False"
        if name in ADDRESSES:
            assert (
                "leads to an address that is not public" in accepted.message or "file://" in accepted.message
            )
        assert not await team.trials(name)
    assert "unexpected error" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def two(control_plane: ControlPlane) -> Iterator[tuple[str, str]]:
    names = create_namespace(control_plane, "ours"), create_namespace(control_plane, "theirs")
    yield names
    for name in names:
        delete_namespace(control_plane, name)


async def test_no_reference_leads_into_another_namespace(
    two: tuple[str, str], kubeconfig: Path, kubectl: Kubectl, example: Example, tmp_path: Path
) -> None:
    """The operator serves both and may read everything; only the names of one's own namespace count all the same."""
    ours = two[0]
    access = ClusterAccess(kubeconfig=kubeconfig)
    client, stop = await KubeClient.connect(access), asyncio.Event()
    operator = asyncio.ensure_future(
        run_operator(
            lambda store: Engine(store=store, work_dir=tmp_path), access=access, stop=stop, namespaces=two
        )
    )
    us, them = (Team(kubectl, name, Person(client, name)) for name in two)
    secret, provider = example.manifests[0], example.provider_manifest
    data = next(each for each in example.manifests if each["kind"] == "ConfigMap")
    lonely = changed(example.sweep_manifest, "lonely")
    trial = stray_trial(example.sweep, provider["metadata"]["name"])
    try:
        them.apply(*example.manifests)
        us.apply(lonely)
        await us.until("lonely", lambda sweep, _: says(sweep, "there is no FinetuneProvider"))
        us.apply(provider)
        await us.until("lonely", lambda sweep, _: says(sweep, secret["metadata"]["name"]))
        us.apply(secret)
        await us.until("lonely", lambda sweep, _: says(sweep, data["metadata"]["name"]))
        # A trial of ours that names their sweep, which there is none of here.
        us.apply(trial)
        ended = await them.finished(example.sweep)
        assert (ended.status.phase, ended.status.trials.total) == ("Succeeded", 2)
        assert not await us.trials("lonely")
        for kind, where in ((CONFIG_MAPS, ours), (EVENTS, ours)):
            listing = await client.list(kind, where)
            named = [each["metadata"]["name"] for each in listing.items]
            assert not [name for name in named if name.startswith(example.sweep) and "-9" not in name]
        for name in two:
            for each in await Team(kubectl, name, Person(client, name)).trials(example.sweep):
                assert each.metadata.namespace == name
        assert len(example.server.jobs) == 2
    finally:
        us.kubectl("delete", "finetunetrial", "--all", "--wait=false")
        stop.set()
        await asyncio.wait({operator}, timeout=40)
        await client.close()


def says(sweep: Any, text: str) -> bool:
    accepted = sweep.status.condition("Accepted")
    return accepted is not None and text in accepted.message


def stray_trial(sweep: str, provider: str) -> Manifest:
    """A trial that a tenant wrote by hand."""
    return {
        "apiVersion": API_VERSION,
        "kind": "FinetuneTrial",
        "metadata": {"name": f"{sweep}-9"},
        "spec": {
            "sweepRef": {"name": sweep},
            "index": 9,
            "candidate": "mini",
            "providerRef": {"name": provider},
            "baseModel": "gpt-4.1-mini-2025-04-14",
            "hyperparameters": {"epochs": 2},
            "runKey": "strayrunkey12345",
        },
    }


@pytest.mark.parametrize(
    "name", ["other/secret", "../other/secret", "other.svc/secret", "kube-system:secret"]
)
@pytest.mark.parametrize("namespace_field", [False, True])
def test_no_reference_can_name_a_namespace(
    kubectl: Kubectl, namespace: str, example: Example, name: str, namespace_field: bool
) -> None:
    provider = copy.deepcopy(example.provider_manifest)
    provider["spec"]["credentialsSecretRef"] = (
        {"name": "secret", "namespace": "kube-system"} if namespace_field else {"name": name}
    )
    team = Team(kubectl, namespace, Person(None, namespace))  # type: ignore[arg-type]
    with pytest.raises(ControlPlaneError, match=r"credentialsSecretRef"):
        team.apply(provider)
