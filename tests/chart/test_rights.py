"""Who may do what where the chart is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.objects import Objects, arguments, of_kind, the
from tests.chart.permutations import PERMUTATIONS

from gotools.helm_command import Helm

RBAC = Path(__file__).parents[2] / "examples" / "operator" / "rbac.yaml"


def example_rules() -> list[dict[str, Any]]:
    documents = yaml.safe_load_all(RBAC.read_text("utf-8"))
    rules: list[dict[str, Any]] = next(each for each in documents if each["kind"] == "Role")["rules"]
    return rules


@pytest.mark.parametrize("name", PERMUTATIONS)
def test_no_release_holds_a_secret_or_a_right_beyond_the_example(helm: Helm, name: str) -> None:
    objects = helm.render(PERMUTATIONS[name])
    assert not of_kind(objects, "Secret")
    wanted = example_rules()
    names = PERMUTATIONS[name].get("rbac", {}).get("secretNames")
    for rule in wanted:
        if names and rule["resources"] == ["secrets"]:
            rule["resourceNames"] = names
    roles = [
        role
        for role in (*of_kind(objects, "Role"), *of_kind(objects, "ClusterRole"))
        if not any("aggregate" in label for label in role["metadata"]["labels"])
    ]
    assert all(role["rules"] == wanted for role in roles)
    assert bool(roles) == (name != "rights by somebody else")


def test_of_one_namespace_the_operator_has_a_role_there_alone(helm: Helm) -> None:
    objects = helm.render()
    assert the(objects, "Role")["metadata"]["namespace"] == "finetune"
    assert not of_kind(objects, "ClusterRoleBinding")
    assert arguments(objects)[1:2] == ["--namespace=finetune"]


def test_of_several_namespaces_the_operator_has_a_role_in_each(helm: Helm) -> None:
    objects = helm.render({"watchNamespaces": ["team-a", "team-b"]})
    for kind in ("Role", "RoleBinding"):
        assert [each["metadata"]["namespace"] for each in of_kind(objects, kind)] == ["team-a", "team-b"]
    for binding in of_kind(objects, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == ("finetune-operator", "finetune")
    assert arguments(objects)[1:3] == ["--namespace=team-a", "--namespace=team-b"]


def test_cluster_wide_the_operator_has_one_cluster_role(helm: Helm) -> None:
    objects = helm.render({"clusterWide": True})
    assert not of_kind(objects, "Role")
    assert arguments(objects)[1] == "--all-namespaces"
    binding = the(objects, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == "finetune-finetune-operator"


def granted(objects: Objects, to: str) -> set[tuple[str, str]]:
    """Resources and verbs that aggregation adds to a role of the cluster."""
    label = f"rbac.authorization.k8s.io/aggregate-to-{to}"
    return {
        (resource, verb)
        for role in of_kind(objects, "ClusterRole")
        if role["metadata"]["labels"].get(label) == "true"
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_who_may_edit_makes_sweeps_but_neither_trials_nor_statuses_nor_providers(helm: Helm) -> None:
    objects = helm.render()
    assert {verb for _, verb in granted(objects, "view")} == {"get", "list", "watch"}
    edit = granted(objects, "edit")
    assert ("finetunesweeps", "create") in edit
    assert ("finetunetrials", "create") not in edit
    assert ("finetuneproviders", "create") not in edit
    assert ("finetuneproviders", "create") in granted(objects, "admin")
    assert not [resource for resource, _ in edit | granted(objects, "admin") if "/" in resource]


@pytest.mark.parametrize(("providers", "roles"), [("edit", {"edit", "admin"}), ("none", set())])
def test_who_may_write_providers_is_a_value(helm: Helm, providers: str, roles: set[str]) -> None:
    objects = helm.render({"rbac": {"providers": providers}})
    may = {
        role
        for role in ("view", "edit", "admin")
        if ("finetuneproviders", "create") in granted(objects, role)
    }
    assert may == roles
