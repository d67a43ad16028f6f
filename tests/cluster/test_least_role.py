"""Every right in `examples/operator/rbac.yaml` is needed, and no other one is."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from tests.cluster.least_role import BEHAVIOURS, Scene, failures
from tests.cluster.operator_account import Grant, Person, grants, person, rbac_for, role, without
from tests.contract.store_contract import MANIFESTS

from controlplane.access import write_service_account_kubeconfig
from controlplane.plane import ControlPlane
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import KubeClient
from finetune_operator.resources import dump_yaml, load_yaml_documents

__all__ = ["person"]

RULES_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
GRANTS = grants(role())


async def scene_with(
    its_role: dict[str, Any], plane: ControlPlane, person: Person, namespace: str
) -> tuple[Scene, KubeClient]:
    """A scene whose operator has a role; returns when the API server has learned of the role."""
    manifests = [each for each in load_yaml_documents(rbac_for(namespace)) if each["kind"] != "Role"]
    its_role["metadata"]["namespace"] = namespace
    plane.kubectl("apply", "-f", "-", stdin="---\n".join(map(dump_yaml, (*manifests, its_role))))
    for manifest in MANIFESTS:
        await person.create(copy.deepcopy(manifest))
    access = ClusterAccess(kubeconfig=write_service_account_kubeconfig(plane, namespace, "finetune-operator"))
    operator = await KubeClient.connect(access)
    async with asyncio.timeout(20):
        while await held(operator, namespace) != set(grants(its_role)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return await Scene.make(person, operator, access, namespace), operator


async def held(client: KubeClient, namespace: str) -> set[Grant]:
    """What a client's account may do in a namespace with the kinds of the role."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    answer = await client._send(
        "POST",
        RULES_REVIEW,
        body={**review, "spec": {"namespace": namespace}},
        content_type="application/json",
    )
    rules = answer["status"]["resourceRules"]
    # Every account may ask what it may do.
    return {grant for grant in grants({"rules": rules}) if not grant[0].startswith("selfsubject")}


@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: f"{grant[1]} {grant[0]}")
async def test_without_one_right_exactly_what_needs_it_fails(
    grant: Grant, control_plane: ControlPlane, person: Person, namespace: str
) -> None:
    scene, operator = await scene_with(without(role(), grant), control_plane, person, namespace)
    try:
        failed = await failures(scene)
    finally:
        await operator.close()
    assert set(failed) == {name for name, (_, needs) in BEHAVIOURS.items() if grant in needs}, failed
    for text in failed.values():
        assert text.startswith(("Refused: 403 Forbidden", "NotSeen")), text


async def test_with_the_role_as_it_is_nothing_fails(
    control_plane: ControlPlane, person: Person, namespace: str
) -> None:
    scene, operator = await scene_with(role(), control_plane, person, namespace)
    try:
        assert await failures(scene) == {}
    finally:
        await operator.close()


def test_every_right_is_needed_by_a_behaviour_and_no_behaviour_needs_another() -> None:
    needed = {grant for _, needs in BEHAVIOURS.values() for grant in needs}
    assert needed == set(GRANTS)
    assert len(GRANTS) == len(set(GRANTS))
    assert not any("*" in part for grant in GRANTS for part in grant)
