"""Sweeps that are deleted while their jobs train, in every way that Kubernetes knows, on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.operator_account import Person, is_gone, person, until
from tests.cluster.test_kube_scenarios import NAME, KubeWorld
from tests.contract.scenario_contract import DATA, PROVIDER, sweep_with
from tests.fakes.company import factory

from controlplane.fixtures import Kubectl
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import EVENTS
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.resources import TrialPhase
from finetune_providers.errors import PermanentProviderError

__all__ = ["person"]

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "acme-key"},
    "stringData": {"KEY": "abc"},
}
CASCADES = ["background", "foreground", "orphan"]


class DeletingWorld(KubeWorld):
    """A world whose operator waits for a stated time where a job cannot be cancelled."""

    release_within_s = 3600.0

    def _engine(self, store: KubeStore) -> Engine:
        return Engine(
            store=store,
            work_dir=self._work_dir,
            make_provider=factory(self.company),
            release_within_s=self.release_within_s,
        )

    async def events(self, reason: str) -> list[str]:
        listing = await self._person.client.list(EVENTS, self._namespace)
        return [event["message"] for event in listing.items if event["reason"] == reason]


@pytest.fixture
async def world(
    person: Person, kubeconfig: Path, namespace: str, tmp_path: Path
) -> AsyncIterator[DeletingWorld]:
    # An operator whose rights are not in the namespace, with which they would go.
    access = ClusterAccess(kubeconfig=kubeconfig)
    world = DeletingWorld(person, access, namespace=namespace, work_dir=tmp_path)
    world.company.hold = True
    yield world
    await world.stop()


async def trains(world: DeletingWorld, **changes: Any) -> None:
    """An operator, and two trials whose jobs train, with a provider that has a Secret."""
    provider = deepcopy(PROVIDER)
    provider["spec"]["credentialsSecretRef"] = {"name": "acme-key"}
    limits = {"maxTrials": 2, "parallelTrials": 2}
    await world.apply(SECRET, DATA, provider, sweep_with(limits=limits, **changes))
    await world.start()

    async def both() -> bool:
        return [trial.phase for trial in await world.trials()] == [TrialPhase.TRAINING] * 2

    await until(both)


async def gone(world: DeletingWorld, person: Person) -> None:
    async def nothing_is_left() -> bool:
        return await is_gone(person, "FinetuneSweep", NAME) and not await world.trials()

    await until(nothing_is_left)


def namespace_is_gone(kubectl: Kubectl, namespace: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        shown = await asyncio.to_thread(kubectl, "get", "namespace", namespace, check=False)
        return "NotFound" in shown.stderr

    return look


@pytest.mark.parametrize("cascade", CASCADES)
async def test_a_deleted_sweep_cancels_its_jobs_and_goes(
    world: DeletingWorld, person: Person, kubectl: Kubectl, namespace: str, cascade: str
) -> None:
    await trains(world)
    kubectl("delete", "fts", NAME, f"--cascade={cascade}", "--wait=false", "-n", namespace)
    await gone(world, person)
    assert set(world.company.cancelled) == {"job-1", "job-2"}
    assert world.company.files == {}


@pytest.mark.parametrize("cascade", CASCADES)
async def test_a_sweep_with_the_policy_orphan_leaves_its_jobs_alone(
    world: DeletingWorld, person: Person, kubectl: Kubectl, namespace: str, cascade: str
) -> None:
    await trains(world, deletionPolicy="Orphan")
    kubectl("delete", "fts", NAME, f"--cascade={cascade}", "--wait=false", "-n", namespace)
    await until(lambda: is_gone(person, "FinetuneSweep", NAME))
    if cascade == "orphan":
        # Nobody asked for the deletion of the trials; what holds them up is nothing of ours.
        assert not any(trial.deleting or trial.has_finalizer for trial in await world.trials())
    else:
        await gone(world, person)
    assert world.company.cancelled == []
    assert world.company.files


async def test_a_namespace_goes_with_its_jobs_though_its_provider_and_secret_go_first(
    world: DeletingWorld, kubectl: Kubectl, namespace: str
) -> None:
    await trains(world)
    kubectl("delete", "secret", "acme-key", "-n", namespace)
    kubectl("delete", "namespace", namespace, "--wait=false")
    await until(namespace_is_gone(kubectl, namespace))
    assert set(world.company.cancelled) == {"job-1", "job-2"}


async def test_a_namespace_goes_after_the_limit_where_a_restart_left_no_way_to_the_provider(
    world: DeletingWorld,
    person: Person,
    kubectl: Kubectl,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await trains(world)
    await world.stop()
    kubectl("delete", "namespace", namespace, "--wait=false")
    await until(lambda: is_gone(person, "FinetuneProvider", "acme"))
    assert len(await world.trials()) == 2
    world.release_within_s = 2.0
    await world.start()
    await until(namespace_is_gone(kubectl, namespace))
    assert world.company.cancelled == []
    for job in ("job-1", "job-2"):
        assert f"although job {job} at provider acme could not be ended and may go on and cost" in caplog.text


async def test_a_sweep_that_cannot_cancel_says_so_and_ends_its_wait_when_it_is_told_to_leave_its_jobs(
    world: DeletingWorld, person: Person, kubectl: Kubectl, namespace: str
) -> None:
    await trains(world)
    world.company.cancel_fault = PermanentProviderError("403: the key may not cancel")
    kubectl("delete", "fts", NAME, "--wait=false", "-n", namespace)

    async def all_say_so() -> bool:
        ready = (await world.sweep()).status.condition("Ready")
        told = ready is not None and ready.reason == "Deleting" and "403: the key may not" in ready.message
        blocked = [trial.status.reason for trial in await world.trials()] == ["ReleaseBlocked"] * 2
        return told and blocked and len(await world.events("ReleaseBlocked")) == 2

    await until(all_say_so)
    for trial in await world.trials():
        assert "deletionPolicy: Orphan" in str(trial.status.message)
    kubectl(
        "patch", "fts", NAME, "--type=merge", "-p", '{"spec":{"deletionPolicy":"Orphan"}}', "-n", namespace
    )
    await gone(world, person)
    assert world.company.cancelled == []


async def test_what_cannot_be_cancelled_is_let_go_after_the_limit_with_a_warning(
    world: DeletingWorld, person: Person, kubectl: Kubectl, namespace: str
) -> None:
    world.release_within_s = 1.0
    await trains(world)
    world.company.cancel_fault = PermanentProviderError("403: the key may not cancel")
    kubectl("delete", "fts", NAME, "--wait=false", "-n", namespace)
    await gone(world, person)
    told = await world.events("LetGo")
    assert len(told) == 2
    assert all("may go on and cost" in message for message in told)
