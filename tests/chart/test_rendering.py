"""What the chart renders, for the values that people set."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import generate
from tests.chart.objects import arguments, of_kind, pod, the
from tests.chart.permutations import EVERYTHING, PERMUTATIONS

from gotools.helm_command import CHART, Helm, HelmError

ROOT = Path(__file__).parents[2]
Objects = list[dict[str, Any]]


def test_helm_s_strict_linter_finds_nothing(helm: Helm) -> None:
    for values in PERMUTATIONS.values():
        helm("lint", "--strict", "--quiet", str(CHART), values=values)


def test_the_chart_s_copies_are_fresh() -> None:
    assert generate.stale() == []


def test_a_stale_copy_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "charts" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    page = (CHART / "README.md").read_text("utf-8")
    assert generate.readme(page, "# -- A value.\nnew: 1\n") != page


def test_braces_in_a_description_stay_braces(helm: Helm, tmp_path: Path) -> None:
    text = "metadata:\n  name: x\nspec:\n  description: like {{ .Values.x }} or {{`}}\n"
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: chart\nversion: 0.0.1\n", "utf-8")
    (folder / "templates" / "x.yaml").write_text(generate.crd_template("x.yaml", text), "utf-8")
    values = {"crds": {"enabled": True, "keep": False, "annotations": {}}}
    (rendered,) = [
        each for each in yaml.safe_load_all(helm("template", "x", str(folder), values=values)) if each
    ]
    assert rendered == yaml.safe_load(text)


def test_every_value_is_described_and_known_to_the_schema() -> None:
    text = (CHART / "values.yaml").read_text("utf-8")
    values, schema = yaml.safe_load(text), yaml.safe_load((CHART / "values.schema.json").read_text("utf-8"))
    described = {name for name, _, _ in generate.described_values(text)}

    def leaves(node: Any, path: str, about: dict[str, Any]) -> set[str]:
        if path in described or not isinstance(node, dict):
            return {path}
        # A list of resources has any names; all else names what there is.
        known = about.get("properties", node)
        assert set(node) == set(known), path
        return {
            leaf
            for name in node
            for leaf in leaves(node[name], f"{path}.{name}".strip("."), known[name] or {})
        }

    assert leaves(values, "", schema) == described


def test_the_versions_are_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (project, project)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"resources": {"limits": {"memroy": "1Gi"}}}, "memroy"),
        ({"resources": {"limits": {"memory": None}}}, "missing property 'memory'"),
        ({"resources": {"limits": {"memory": "2 GB"}}}, "memory"),
        ({"extraEnv": [{"name": "A", "valeu": "b"}]}, "valeu"),
        ({"extraEnv": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}, "oneOf"),
        ({"extraVolumes": [{"name": "work", "emptyDir": {}}]}, "extraVolumes"),
        ({"tolerations": [{"keys": "x"}]}, "keys"),
        ({"affinity": {"podAfinity": {}}}, "podAfinity"),
        ({"clusterWide": True, "watchNamespaces": ["a"]}, "watchNamespaces"),
        ({"clusterWide": "yes"}, "clusterWide"),
        ({"terminationGracePeriodSeconds": 30}, "terminationGracePeriodSeconds"),
        ({"health": {"port": 80}}, "port"),
        ({"listenAddress": "::"}, "listenAddress"),
        ({"podSecurity": {"runAsUser": 0}}, "runAsUser"),
        ({"podSecurity": {"privileged": True}}, "privileged"),
        ({"replicas": 2}, "replicas"),
        ({"rbac": {"providers": "everyone"}}, "providers"),
        ({"serviceMonitor": {"enabled": True}}, "metrics"),
        ({"prometheusRule": {"enabled": True}}, "metrics"),
        ({"metrics": {"enabled": True, "prot": 1}}, "prot"),
        ({"serviceMonitor": {"interval": "often"}}, "interval"),
        ({"persistence": {"accessModes": ["ReadOnlyMany"]}}, "accessModes"),
        ({"image": {"digest": "latest"}}, "digest"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_mistake_in_the_values_is_refused_by_name(helm: Helm, values: dict[str, Any], says: str) -> None:
    with pytest.raises(HelmError, match="values don't meet the specifications") as refused:
        helm.render(values)
    assert says in str(refused.value)


def test_the_schema_has_no_object_that_takes_any_name_but_kubernetes_own() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text("utf-8"))
    found: set[str] = set()

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and node.get("additionalProperties", True) is True:
                found.add(path)
            for name, each in node.items():
                walk(each, f"{path}/{name}")
        elif isinstance(node, list):
            for number, each in enumerate(node):
                walk(each, f"{path}/{number}")

    walk(schema, "")
    # What these hold, the API server checks when it is applied; an umbrella chart fills `global`.
    assert found == {"/properties/global", "/definitions/volume", "/definitions/kubernetesObject"}


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_no_values_weaken_the_pod(helm: Helm, name: str) -> None:
    objects = helm.render(PERMUTATIONS[name])
    deployment, spec = the(objects, "Deployment")["spec"], pod(objects)
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["terminationGracePeriodSeconds"] >= 40
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert "emptyDir" in volumes[mounts["/tmp"]]
    (work,) = [each.partition("=")[2] for each in container["args"] if each.startswith("--work-dir=")]
    kept = "emptyDir" if name == "nothing that lasts" else "persistentVolumeClaim"
    assert kept in volumes[mounts[work]]


def test_the_crds_are_the_project_s_and_stay_when_the_release_goes(helm: Helm) -> None:
    crds = {each["metadata"]["name"]: each for each in of_kind(helm.render(), "CustomResourceDefinition")}
    for source in (ROOT / "crds").glob("*.yaml"):
        wanted = yaml.safe_load(source.read_text("utf-8"))
        rendered = crds.pop(wanted["metadata"]["name"])
        assert rendered["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert rendered == wanted
    assert crds == {}
    assert not of_kind(helm.render({"crds": {"enabled": False}}), "CustomResourceDefinition")
    loose = of_kind(helm.render({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert not [each for each in loose if "annotations" in each["metadata"]]


def test_the_network_policy_keeps_the_pod_from_metadata_services(helm: Helm) -> None:
    policy = the(helm.render({"networkPolicy": {"enabled": True}}), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule.get("to", ()) if "ipBlock" in to]
    assert {block["cidr"]: block["except"] for block in blocks} == {
        "0.0.0.0/0": ["169.254.0.0/16"],
        "::/0": ["fe80::/10", "fd00:ec2::/32"],
    }


def test_what_a_person_sets_is_in_the_pod(helm: Helm) -> None:
    objects = helm.render(EVERYTHING)
    spec = pod(objects)
    (container,) = spec["containers"]
    assert container["image"] == "registry.example.com/ml/finetune-operator:1.2.3-local"
    assert {"--allow-private-datasets", "--trust-endpoints"} < set(container["args"])
    assert container["env"][2:] == EVERYTHING["extraEnv"]
    for name in ("imagePullSecrets", "priorityClassName", "runtimeClassName", "nodeSelector", "tolerations"):
        assert spec[name] == EVERYTHING[name]
    for name in ("affinity", "terminationGracePeriodSeconds"):
        assert spec[name] == EVERYTHING[name]
    (constraint,) = spec["topologySpreadConstraints"]
    assert constraint.pop("labelSelector") == the(objects, "Deployment")["spec"]["selector"]
    assert [constraint] == EVERYTHING["topologySpreadConstraints"]
    template = the(objects, "Deployment")["spec"]["template"]["metadata"]
    assert template["labels"]["azure.workload.identity/use"] == "true"
    assert template["annotations"] == EVERYTHING["podAnnotations"]
    account = the(objects, "ServiceAccount")["metadata"]
    assert account["annotations"] == EVERYTHING["serviceAccount"]["annotations"]
    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}
    assert container["ports"] == [
        {"name": "health", "containerPort": 9000},
        {"name": "metrics", "containerPort": 9091},
    ]
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] == 60


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_arguments_are_those_of_the_command(helm: Helm, name: str) -> None:
    from finetune_operator.cli.operator_command import operator_command

    args = arguments(helm.render(PERMUTATIONS[name]))
    assert args.pop(0) == "operator"
    context = operator_command.make_context("operator", args)
    assert bool(context.params["namespaces"]) != context.params["all_namespaces"]
    assert context.params["liveness"].endswith("/healthz")


def test_base_models_are_kept_on_the_volume_since_tmp_is_small_and_does_not_last(helm: Helm) -> None:
    (container,) = pod(helm.render())["containers"]
    caches = {each["name"]: each["value"] for each in container["env"]}["XDG_CACHE_HOME"]
    (volume,) = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == "work")
    assert caches.startswith(f"{volume}/")


def test_a_cluster_of_ipv6_alone_can_be_served(helm: Helm) -> None:
    objects = helm.render({"listenAddress": "[::]", "metrics": {"enabled": True}})
    assert "--liveness=http://[::]:8080/healthz" in arguments(objects)
    assert "--metrics=http://[::]:9090/metrics" in arguments(objects)
