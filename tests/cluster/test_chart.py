"""The chart on a cluster that has nothing of ours yet: installed, upgraded, uninstalled by the real helm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart.permutations import PERMUTATIONS
from tests.cluster.chart_release import PREVIOUS, Cluster, Deployed, previous_chart
from tests.cluster.hosted_world import Example, load_example
from tests.cluster.operator_account import Person
from tests.cluster.operator_process import Team

from controlplane.binaries import Binaries
from controlplane.plane import ControlPlane
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import KubeClient
from gotools.fixtures import helm, monitoring_crds
from gotools.helm_command import CHART, Helm

__all__ = ["helm", "monitoring_crds"]

CRDS = {
    f"{plural}.finetune-operator.dev" for plural in ("finetuneproviders", "finetunesweeps", "finetunetrials")
}

MONITORING = ("servicemonitors", "prometheusrules")


@pytest.fixture(scope="module")
def cluster(
    control_plane_binaries: Binaries,
    helm: Helm,
    monitoring_crds: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """A cluster of this file's own, since the chart is to bring the CRDs; the Prometheus Operator's are there."""
    plane = ControlPlane.create(tmp_path_factory.mktemp("chart-plane"), control_plane_binaries)
    plane.start(guarded=True)
    for name in ("finetune", "team-a", "team-b"):
        plane.kubectl("create", "namespace", name)
        # What the namespace enforces for pods it also warns of for what makes pods.
        labels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
        plane.kubectl("label", "namespace", name, *labels)
    plane.kubectl("create", "--filename=-", stdin=json.dumps(RUNTIME_CLASS))
    files = [f"--filename={monitoring_crds}/monitoring.coreos.com_{name}.yaml" for name in MONITORING]
    plane.kubectl("create", *files)
    plane.wait_until_served(*files)
    yield Cluster(plane, helm)
    plane.stop()


RUNTIME_CLASS = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "nvidia"},
    "handler": "nvidia",
}


@pytest.fixture
async def teams(cluster: Cluster) -> AsyncIterator[dict[str, Team]]:
    """People of each namespace."""
    client = await KubeClient.connect(ClusterAccess(kubeconfig=cluster.plane.kubeconfig))
    yield {
        name: Team(cluster.plane.kubectl, name, Person(client, name))
        for name in ("finetune", "team-a", "team-b")
    }
    await client.close()


@pytest.fixture
def example() -> Iterator[Example]:
    loaded = load_example("openai.yaml")
    loaded.sweep_manifest["spec"]["search"] = {"method": "Random", "seed": 1}
    loaded.sweep_manifest["spec"]["limits"] |= {"maxTrials": 3, "parallelTrials": 1}
    yield loaded
    loaded.close()


@pytest.fixture
def deployed(cluster: Cluster, tmp_path: Path) -> Iterator[Deployed]:
    operator = Deployed(cluster, "finetune", tmp_path)
    yield operator
    operator.close()


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_the_api_server_accepts_every_object(cluster: Cluster, name: str) -> None:
    objects = cluster.helm.render(PERMUTATIONS[name])
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": pod["spec"]["serviceAccountName"], "namespace": "team-b"},
    }
    cluster.plane.kubectl("apply", "--filename=-", stdin=json.dumps(account))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**pod["metadata"], "name": "it"},
        "spec": pod["spec"],
    }
    pod["metadata"]["namespace"] = "team-b"
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, pod]})
    flags = ("--dry-run=server", "--validate=strict", "--filename=-")
    said = cluster.plane.kubectl("create", *flags, stdin=listed, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("created") == len(objects) + 1


MONITORED = {
    "metrics": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
}


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("ServiceMonitor", "spec.endpoints.0.honourLabels", True, "honourLabels"),
        ("ServiceMonitor", "spec.endpoints.0.interval", "soon", "spec.endpoints[0].interval"),
        ("ServiceMonitor", "spec.selector", None, "spec.selector: Required value"),
        ("PrometheusRule", "spec.groups.0.rules.0.within", "5m", "within"),
        ("PrometheusRule", "spec.groups.0.rules.0.for", "a while", "spec.groups[0].rules[0].for"),
    ],
)
def test_what_the_prometheus_operator_would_not_take_is_refused_here(
    cluster: Cluster, kind: str, path: str, value: Any, said: str
) -> None:
    (found,) = [each for each in cluster.helm.render(MONITORED) if each["kind"] == kind]
    *parents, last = path.split(".")
    place: Any = found
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    flags = ("--dry-run=server", "--validate=strict", "--filename=-")
    refused = cluster.plane.kubectl("apply", *flags, stdin=json.dumps(found), check=False)
    assert refused.returncode != 0
    assert said in refused.stderr


async def test_a_sweep_goes_through_an_upgrade_under_exactly_the_chart_s_account(
    cluster: Cluster, teams: dict[str, Team], example: Example, deployed: Deployed, tmp_path: Path
) -> None:
    team = teams["finetune"]
    said = cluster.install(previous_chart(cluster.helm, tmp_path), "finetune")
    assert f"finetune-operator {PREVIOUS} serves finetune." in said
    assert "WARNING" not in said
    assert "SPENT" not in team.kubectl("get", "finetunesweeps", "--output=wide").stdout
    deployed.start()
    team.apply(*example.manifests)
    await team.until(example.sweep, lambda sweep, trials: len(trials) >= 2)
    before = await team.sweep(example.sweep)
    cluster.upgrade(CHART, "finetune")
    grace = cluster.get("deployment", "finetune", "finetune-operator")["spec"]["template"]["spec"]
    deployed.stop(grace["terminationGracePeriodSeconds"])
    deployed.start()
    ended = await team.finished(example.sweep)
    assert (ended.status.phase, ended.metadata.uid) == ("Succeeded", before.metadata.uid)
    assert len(example.server.jobs) == ended.spec.limits.max_trials == len(await team.trials(example.sweep))
    assert "SPENT" in team.kubectl("get", "finetunesweeps").stdout
    assert refusals(cluster.plane) == []
    assert example.server.secret not in deployed.log_text()
    deployed.stop(grace["terminationGracePeriodSeconds"])
    said = cluster.uninstall("finetune")
    assert cluster.names("crds", "finetune") >= CRDS
    assert (await team.sweep(example.sweep)).status == ended.status
    assert cluster.names("persistentvolumeclaims", "finetune") == {"finetune-operator-work"}
    for kind in ("deployments", "roles", "rolebindings", "clusterroles"):
        assert not {name for name in cluster.names(kind, "finetune") if "finetune" in name}, kind
    # Who installs it again finds all as it was.
    cluster.install(CHART, "finetune")
    assert (await team.sweep(example.sweep)).metadata.uid == before.metadata.uid
    cluster.uninstall("finetune")


async def test_a_cluster_wide_release_serves_a_namespace_that_it_was_never_told_of(
    cluster: Cluster, teams: dict[str, Team], example: Example, deployed: Deployed
) -> None:
    cluster.install(CHART, "finetune", "--take-ownership", values={"clusterWide": True})
    deployed.start()
    teams["team-a"].apply(*example.manifests)
    ended = await teams["team-a"].finished(example.sweep)
    assert ended.status.phase == "Succeeded"
    assert refusals(cluster.plane) == []
    cluster.uninstall("finetune")


def test_the_prometheus_operator_gets_a_monitor_and_rules_of_its_kinds(cluster: Cluster) -> None:
    cluster.install(CHART, "team-a", "--take-ownership", values=MONITORED)
    (monitor,) = cluster.get("servicemonitor", "team-a")["items"]
    (rules,) = cluster.get("prometheusrule", "team-a")["items"]
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == ["metrics"]
    assert len(rules["spec"]["groups"][0]["rules"]) > 10
    cluster.uninstall("team-a")
    assert cluster.names("servicemonitor", "team-a") | cluster.names("prometheusrule", "team-a") == set()


def refusals(plane: ControlPlane) -> list[str]:
    """What the API server refused to the operator's account, out of its own record."""
    return [
        f"{entry['verb']} {entry['requestURI']}"
        for entry in plane.audited()
        if entry["user"]["username"].endswith(":finetune-operator")
        and entry.get("responseStatus", {}).get("code") == 403
    ]


@pytest.mark.parametrize(
    ("role", "kind", "may"),
    [
        ("view", "finetunesweeps", {"get", "list", "watch"}),
        (
            "edit",
            "finetunesweeps",
            {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
        ),
        ("edit", "finetunetrials", {"get", "list", "watch", "patch", "delete"}),
        ("edit", "finetuneproviders", {"get", "list", "watch"}),
        ("edit", "finetunesweeps/status", set()),
    ],
)
def test_the_cluster_s_roles_are_extended(cluster: Cluster, role: str, kind: str, may: set[str]) -> None:
    """Aggregation is the work of a controller that does not run here: its result is computed as it would."""
    rules: list[dict[str, Any]] = [
        rule
        for each in cluster.helm.render()
        if each["kind"] == "ClusterRole"
        and each["metadata"]["labels"].get(f"rbac.authorization.k8s.io/aggregate-to-{role}") == "true"
        for rule in each["rules"]
    ]
    assert {verb for rule in rules if kind in rule["resources"] for verb in rule["verbs"]} == may


def test_the_notes_warn_of_what_can_be_lost(cluster: Cluster) -> None:
    flags = ("--namespace=team-b", "--dry-run=client", "--take-ownership")

    def notes(**values: Any) -> str:
        kubeconfig = cluster.plane.kubeconfig
        said = cluster.helm("install", "x", str(CHART), *flags, kubeconfig=kubeconfig, values=values)
        return said.partition("NOTES:")[2]

    assert "WARNING" not in notes()
    assert "serves team-a, team-b" in notes(watchNamespaces=["team-a", "team-b"])
    assert "deletes all sweeps" in notes(crds={"keep": False})
    assert "is forgotten when the pod restarts" in notes(persistence={"enabled": False})
    assert "cloud tokens" in notes(trustEndpoints=True)
