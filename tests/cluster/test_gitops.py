"""A sweep that is applied again and again, as Argo CD and Flux do it, through its whole life."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.hosted_world import Example, HostedWorld, load_example
from tests.cluster.operator_account import Person, operator_kubeconfig, person
from tests.cluster.operator_process import Team
from tests.contract.patience import PATIENCE_S
from tests.gitops.argocd_lua import run_lua
from tests.gitops.states import CUSTOMIZATIONS

from controlplane.fixtures import Kubectl
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.resources import dump_yaml
from gotools.fixtures import kstatus
from gotools.kstatus_command import KStatus

__all__ = ["kstatus", "operator_kubeconfig", "person"]

EXAMPLES = Path(__file__).parents[2] / "examples"
APPLICATION = "support-sweeps"
TRACKING = {
    "labels": {"app.kubernetes.io/instance": APPLICATION, "kustomize.toolkit.fluxcd.io/name": APPLICATION},
    "annotations": {"argocd.argoproj.io/tracking-id": f"{APPLICATION}:its"},
}
"""How Argo CD and Flux mark what they apply, and what they prune."""
MODES = {
    "client-side": ["--server-side=false"],
    "server-side": ["--server-side", "--field-manager=argocd-controller"],
}


class GitOps:
    """Applies what is in Git, tells whether the cluster differs, and how all of it is."""

    def __init__(
        self, team: Team, kstatus: KStatus, example: Example, *, flags: list[str], folder: Path
    ) -> None:
        self._team = team
        self._kstatus = kstatus
        self._file = folder / "in-git.yaml"
        self.server_side = "--server-side" in flags
        self._flags = [*flags, f"--filename={self._file}"]
        # Secrets are never in Git.
        self.manifests = [copy.deepcopy(each) for each in example.manifests if each["kind"] != "Secret"]
        for each in self.manifests:
            each["metadata"] = {**each["metadata"], **TRACKING}
        self.sweep = next(each for each in self.manifests if each["kind"] == "FinetuneSweep")

    def commit(self) -> None:
        """Put the manifests as they are now into Git."""
        self._file.write_text("---\n".join(map(dump_yaml, self.manifests)), encoding="utf-8")

    def apply(self, *flags: str) -> str:
        """What a sync does."""
        return self._team.kubectl("apply", *self._flags, *flags).stdout

    def difference(self) -> str:
        """What another sync would change.

        Kubectl reads twice, and what the operator writes in between looks like a difference: one that is real stays.
        """
        before: list[str] = []
        while True:
            told = self._team.kubectl("diff", *self._flags, check=False).stdout.splitlines()
            # The headers name temporary files and times.
            told = [line for line in told if not line.startswith(("diff ", "--- ", "+++ "))]
            if not told or told == before:
                return "\n".join(told)
            before = told

    def live(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind, with who wrote which field."""
        got = self._team.kubectl("get", kind, "--output=json", "--show-managed-fields").stdout
        items: list[dict[str, Any]] = json.loads(got)["items"]
        return items

    def seen(self, kind: str) -> list[tuple[str, str]]:
        """Health and kstatus of all objects of a kind."""
        objects = self.live(kind)
        script = CUSTOMIZATIONS / kind / "health.lua"
        healths = [run_lua(script, each)["status"] for each in objects]
        return list(zip(healths, self._kstatus(objects), strict=True))


@pytest.fixture
def example() -> Iterator[Example]:
    its = load_example("openai.yaml")
    its.sweep_manifest["spec"]["search"] = {"method": "Random", "seed": 1}
    its.sweep_manifest["spec"]["limits"] |= {"maxTrials": 3, "parallelTrials": 1}
    yield its
    its.close()


@pytest.fixture
async def world(
    kubectl: Kubectl, person: Person, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> AsyncIterator[HostedWorld]:
    """The operator, not started yet."""
    access = ClusterAccess(kubeconfig=operator_kubeconfig)
    world = HostedWorld(
        Team(kubectl, namespace, person), access, namespace=namespace, work_dir=tmp_path / "work"
    )
    yield world
    await world.stop()


@pytest.mark.parametrize("mode", MODES)
async def test_nothing_differs_through_the_whole_life_of_a_sweep(
    world: HostedWorld, example: Example, kstatus: KStatus, mode: str, tmp_path: Path
) -> None:
    example.server.training_s = 1e6  # until it was looked at
    world.team.apply(*(each for each in example.manifests if each["kind"] == "Secret"))
    git = GitOps(world.team, kstatus, example, flags=MODES[mode], folder=tmp_path)
    git.sweep["spec"]["suspend"] = True
    git.commit()
    git.apply()
    # The operator does not run yet, so nobody may think that all is well.
    for kind in ("FinetuneSweep", "FinetuneProvider"):
        assert git.seen(kind) == [("Progressing", "InProgress")]
    assert git.difference() == ""

    await world.start()
    await world.team.until(example.sweep, lambda sweep, _: sweep.status.phase == "Suspended")
    assert git.seen("FinetuneSweep") == [("Suspended", "InProgress")]
    assert git.difference() == ""

    git.sweep["spec"]["suspend"] = False
    git.commit()
    assert "-  suspend: true" in git.difference()
    git.apply()
    moments: list[tuple[str, list[tuple[str, str]]]] = []
    async with asyncio.timeout(PATIENCE_S):
        while not (sweep := await world.team.sweep(example.sweep)).status.finished or sweep.has_finalizer:
            # In a thread: the operator works in this one.
            moments.append(await asyncio.to_thread(lambda: (git.difference(), git.seen("FinetuneSweep"))))
            if len(moments) == 3:
                example.server.training_s = 1000.0  # two seconds here: kubectl takes one to look
    assert {difference for difference, _ in moments} == {""}
    # The sweep may have ended while it was last looked at, but it cannot come back from there.
    healths = [health for _, seen in moments for health in seen]
    going, ended = ("Progressing", "InProgress"), ("Healthy", "Current")
    assert healths == sorted(healths, key=[going, ended].index)
    assert healths[0] == going
    for kind in ("FinetuneSweep", "FinetuneProvider", "FinetuneTrial"):
        assert set(git.seen(kind)) == {("Healthy", "Current")}, kind
    assert git.difference() == ""
    _check_who_owns_what(git)
    await _check_that_another_sync_does_nothing(world, git, example)


def _check_who_owns_what(git: GitOps) -> None:
    """People's fields stay people's, and what the operator makes carries its own marks alone."""
    (sweep,), trials = git.live("FinetuneSweep"), git.live("FinetuneTrial")
    owners: dict[str, set[str]] = {}
    for entry in sweep["metadata"]["managedFields"]:
        for field, inner in entry["fieldsV1"].items():
            parts = inner if field == "f:metadata" else [""]
            for part in parts:
                owners.setdefault(f"{field}/{part}".strip("/"), set()).add(entry["manager"])
    person = (
        {"argocd-controller"}
        if len(owners["f:spec"] & {"argocd-controller"})
        else {"kubectl-client-side-apply"}
    )
    assert owners["f:spec"] == owners["f:metadata/f:labels"] == owners["f:metadata/f:annotations"] == person
    assert owners["f:status"].isdisjoint(person)
    assert len(trials) == 3
    for trial in trials:
        (owner,) = trial["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["blockOwnerDeletion"]) == (sweep["metadata"]["uid"], True)
        marks = {**trial["metadata"].get("labels", {}), **trial["metadata"].get("annotations", {})}
        assert [name for name in marks if not name.startswith("finetune-operator.dev/")] == []


async def _check_that_another_sync_does_nothing(world: HostedWorld, git: GitOps, example: Example) -> None:
    """Applied again, and pruned of what is not in Git, a finished sweep and its trials stay as they are."""

    def versions() -> dict[str, str]:
        return {
            each["metadata"]["name"]: each["metadata"]["resourceVersion"]
            for kind in ("FinetuneSweep", "FinetuneTrial", "FinetuneProvider")
            for each in git.live(kind)
        }

    before, jobs = versions(), len(example.server.jobs)
    git.apply()
    assert versions() == before
    kinds = [f"finetune-operator.dev/v1alpha1/{kind}" for kind in ("FinetuneSweep", "FinetuneTrial")]
    allowed = [f"--prune-allowlist={kind}" for kind in (*kinds, "core/v1/ConfigMap")]
    selector = f"--selector=app.kubernetes.io/instance={APPLICATION}"
    if not git.server_side:  # kubectl prunes no other way
        assert "pruned" not in git.apply("--prune", selector, *allowed)
    marked = world.team.kubectl("get", "finetune,configmaps", selector, "--output=name").stdout.split()
    assert len(marked) == len(git.manifests)
    assert versions() == before
    assert len(example.server.jobs) == jobs
    output = world.team.kubectl("get", "configmaps", "--output=name").stdout
    assert "mail-openai-model" in output


@pytest.mark.parametrize("mode", MODES)
def test_the_example_of_a_team_s_repository_is_accepted(kubectl: Kubectl, namespace: str, mode: str) -> None:
    path = EXAMPLES / "argocd" / "sweep.yaml"
    flags = [*MODES[mode], "--dry-run=server", f"--namespace={namespace}", f"--filename={path}"]
    said = kubectl("apply", *flags).stdout
    count = len(list(yaml.safe_load_all(path.read_text("utf-8"))))
    assert said.count("created") + said.count("serverside-applied") == count
