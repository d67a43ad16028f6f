"""Every hosted provider's example, applied with the real kubectl, sweeps to its best model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.hosted_world import Example, HostedWorld, load_example
from tests.cluster.operator_account import Person, operator_kubeconfig, person
from tests.cluster.operator_process import Team
from tests.fakes.azure_openai_server import AzureOpenAIServer, Identity
from tests.fakes.http_server import DROPPED

from controlplane.fixtures import Kubectl
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_providers.azure_openai import provider as azure_openai

__all__ = ["operator_kubeconfig", "person"]

METHODS = {
    "openai": "Bayesian",
    "azure-openai": "Bayesian",
    "vertex-ai": "Bayesian",
    "bedrock": "Bayesian",
    "google-ai-studio": "Grid",
    "cohere": "Random",
}
"""The examples by the method with which they search."""


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Microsoft Entra is asked over TLS alone; who logs in there is all that is left out of these tests."""
    identity = Identity(AzureOpenAIServer.secret)
    monkeypatch.setattr(azure_openai, "credential_of", lambda config: identity)


@pytest.fixture
def team(kubectl: Kubectl, namespace: str, person: Person) -> Team:
    return Team(kubectl, namespace, person)


@pytest.fixture
async def world(
    team: Team, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> AsyncIterator[HostedWorld]:
    access = ClusterAccess(kubeconfig=operator_kubeconfig)
    world = HostedWorld(team, access, namespace=namespace, work_dir=tmp_path / "work")
    await world.start()
    yield world
    await world.stop()


LoadExample = Callable[[str], Example]


@pytest.fixture
def example() -> Iterator[LoadExample]:
    loaded: list[Example] = []

    def load(name: str) -> Example:
        loaded.append(load_example(f"{name}.yaml"))
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()


def by_epochs(hyperparameters: Mapping[str, Any]) -> float:
    """The more epochs, the better; whatever the company calls them."""
    epochs = next(int(value) for name, value in hyperparameters.items() if "epoch" in name.lower())
    return 1.0 if epochs >= 3 else 0.3


def epochs_of(trial: FinetuneTrial) -> int:
    return int(trial.spec.hyperparameters["epochs"])


@pytest.mark.parametrize("name", METHODS)
async def test_a_provider_s_example_sweeps_to_its_best_model(
    world: HostedWorld, example: LoadExample, name: str
) -> None:
    its = example(name)
    its.server.quality = by_epochs
    world.team.apply(*its.manifests)
    sweep = await world.team.finished(its.sweep)
    ready = sweep.status.condition("Ready")
    assert ready is not None
    assert (ready.status, sweep.status.phase) == ("True", "Succeeded"), ready.message
    assert sweep.spec.search.method == METHODS[name]
    trials = await world.team.trials(its.sweep)
    assert {trial.phase for trial in trials} == {TrialPhase.SUCCEEDED}, [t.status.message for t in trials]
    assert len(trials) == sweep.spec.limits.max_trials == len(its.server.jobs)
    best = sweep.status.best
    assert best is not None
    winner = next(trial for trial in trials if trial.name == best.trial)
    assert epochs_of(winner) >= 3
    assert best.score == max(trial.status.score or 0.0 for trial in trials)
    assert best.fine_tuned_model == winner.status.fine_tuned_model
    assert getattr(its.server, "violations", []) == []
    shown = world.team.kubectl("get", "finetunesweeps", its.sweep).stdout
    assert str(sweep.status.best_score) in shown
    everything = world.team.kubectl("get", "fts,ftt,ftp,events", "-o", "yaml").stdout
    assert its.server.secret not in everything


async def test_one_sweep_over_three_providers_picks_the_best_of_all(
    world: HostedWorld, example: LoadExample
) -> None:
    its = example("three-providers")
    shares = {"OpenAI": 0.35, "VertexAI": 1.0, "Bedrock": 0.55}
    for kind, server in its.servers.items():
        server.quality = lambda _, share=shares[kind]: share
    world.team.apply(*its.manifests)
    sweep = await world.team.finished(its.sweep)
    best = sweep.status.best
    assert best is not None
    assert (best.provider, best.base_model, best.score) == ("vertex", "gemini-2.5-flash", 1.0)
    assert {trial.spec.provider_ref.name for trial in await world.team.trials(its.sweep)} == {
        "openai",
        "vertex",
        "bedrock",
    }
    output = world.team.kubectl("get", "configmap", "three-providers-model", "-o", "jsonpath={.data.model}")
    assert output.stdout == best.fine_tuned_model
    cost = sweep.status.cost
    assert cost is not None
    assert 0 < cost.spent < 50


async def test_a_provider_that_is_down_does_not_hold_up_the_others_trials(
    world: HostedWorld, example: LoadExample
) -> None:
    its = example("three-providers")
    its.sweep_manifest["spec"]["search"] = {"method": "Random", "seed": 1}
    its.sweep_manifest["spec"]["limits"]["parallelTrials"] = 9
    down = its.servers["Bedrock"]
    # It goes down once its trials are bought: from then on nobody can say how they are.
    world.team.apply(*its.manifests)
    await world.team.until(its.sweep, lambda _, trials: len(trials) == 9 and len(down.jobs) > 0)
    down.always("*", DROPPED)

    def others_are_done(_: Any, trials: list[FinetuneTrial]) -> bool:
        others = [trial for trial in trials if trial.spec.provider_ref.name != "bedrock"]
        return len(others) > 0 and all(trial.phase is TrialPhase.SUCCEEDED for trial in others)

    await world.team.until(its.sweep, others_are_done)
    assert not (await world.team.sweep(its.sweep)).status.finished
    down.always("*", None)
    sweep = await world.team.finished(its.sweep)
    assert sweep.status.phase == "Succeeded"
    assert len(down.jobs) == sum(
        trial.spec.provider_ref.name == "bedrock" for trial in await world.team.trials(its.sweep)
    )


async def test_an_operator_that_dies_again_and_again_buys_each_job_once(
    world: HostedWorld, example: LoadExample
) -> None:
    its = example("openai")
    world.team.apply(*its.manifests)
    for jobs in (1, 2, 4):
        await world.team.until(its.sweep, lambda *_, jobs=jobs: len(its.server.jobs) >= jobs)
        await world.crash()
        await asyncio.sleep(0.05)
        await world.start()
    sweep = await world.team.finished(its.sweep)
    assert len(its.server.jobs) == sweep.status.trials.succeeded == sweep.spec.limits.max_trials
