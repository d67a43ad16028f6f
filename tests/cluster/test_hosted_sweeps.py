"""Every hosted provider's example, applied with the real kubectl, sweeps to its best model."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.cluster.hosted_world import Example, HostedWorld, load_example
from tests.cluster.operator_account import Person, operator_kubeconfig, person
from tests.cluster.operator_process import Team
from tests.contract.finetune_process import COMMAND
from tests.fakes.azure_openai_server import AzureOpenAIServer, Identity
from tests.fakes.hosted import Job
from tests.fakes.http_server import DROPPED

from controlplane.fixtures import Kubectl
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_providers.azure_openai import provider as azure_openai
from finetune_providers.base import Capabilities, Provider, ProviderConfig
from finetune_providers.registry import create

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


async def test_a_job_that_trains_badly_is_cancelled_at_its_company_and_the_best_is_trained_again(
    world: HostedWorld, example: LoadExample
) -> None:
    its = example("openai")
    rates = ("1", "2", "0.5", "4")
    learnt = dict(zip((1.0, 2.0, 0.5, 4.0), (1.0, 0.9, 0.8, 0.1), strict=True))
    its.server.quality = lambda values: learnt[
        values["learning_rate_multiplier"]
    ]  # losses follow from it, too
    its.server.training_s = 500.0  # a second here; the fourth job goes on until somebody cancels it
    sell = its.server.sell

    def sell_the_fourth_without_end(*what: Any) -> Job:
        its.server.next_endless = len(its.server.jobs) == 3
        return sell(*what)

    its.server.sell = sell_the_fourth_without_end  # type: ignore[method-assign]
    spec = its.sweep_manifest["spec"]
    spec["candidates"][0]["baseModels"] = ["gpt-4.1-mini-2025-04-14"]
    spec["candidates"][0]["parameters"] = {"learningRateMultiplier": {"values": list(rates)}}
    points = [{"candidate": "gpt", "parameters": {"learningRateMultiplier": each}} for each in rates]
    spec["search"] = {"method": "Grid", "firstPoints": points}
    spec["earlyStopping"] = {"median": {"minTrials": 3, "minSteps": 1}}
    spec["confirm"] = {"top": 1, "repeats": 1}
    spec["limits"] = {"maxTrials": 5, "parallelTrials": 1}
    world.team.apply(*its.manifests)
    sweep = await world.team.finished(its.sweep)
    first, _, _, last, again = await world.team.trials(its.sweep)
    assert (last.phase, last.status.reason) == (TrialPhase.EARLY_STOPPED, "WorseThanMedian"), (
        last.status.message
    )
    states = [its.server.state(job) for job in its.server.jobs.values()]
    assert [state.value for state in states].count("Cancelled") == 1
    assert (again.spec.repeat_of, again.spec.hyperparameters) == (0, first.spec.hyperparameters)
    best = sweep.status.best
    assert best is not None
    assert (best.repeats, best.mean_score) == (1, 1.0)
    shown = world.team.kubectl("get", "finetunetrials").stdout
    assert "EarlyStopped" in shown
    described = world.team.kubectl("describe", "finetunetrial", last.name).stdout
    assert "the median of 3 earlier trials" in described
    assert getattr(its.server, "violations", []) == []


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
    down.training_s = 1e6  # none of its jobs ends before it is down
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
    down.training_s = 100.0
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


async def test_two_sweeps_of_one_account_take_turns_within_its_limit(
    world: HostedWorld, example: LoadExample
) -> None:
    its = example("openai")
    its.provider_manifest["spec"]["maxConcurrentJobs"] = 2
    its.server.training_s = 1000.0
    large, small = its.sweep_manifest, copy.deepcopy(its.sweep_manifest)
    small["metadata"]["name"] = "small"
    small["spec"].pop("output")
    for manifest, trials in ((large, 8), (small, 2)):
        manifest["spec"]["search"] = {"method": "Random", "seed": trials}
        manifest["spec"]["limits"] = {"maxTrials": trials, "parallelTrials": trials}
    world.team.apply(*its.manifests)
    await world.team.until(its.sweep, lambda _, trials: len(trials) == 8)
    world.team.apply(small)
    await world.team.finished("small")
    assert not (await world.team.sweep(its.sweep)).status.finished, "the small sweep waited for the large one"
    await world.team.finished(its.sweep)
    jobs = list(its.server.jobs.values())
    assert len(jobs) == 10
    for job in jobs:
        began = job.created_s
        at_once = sum(other.created_s <= began < other.created_s + its.server.training_s for other in jobs)
        assert at_once <= 2


async def test_a_purchase_in_doubt_waits_for_a_person_whose_word_is_one_command(
    world: HostedWorld, example: LoadExample, kubeconfig: Path, namespace: str
) -> None:
    its = example("openai")
    its.sweep_manifest["spec"]["limits"] = {"maxTrials": 1}
    world.make_provider = impatient
    await world.crash()
    await world.start()
    its.server.fault("jobs.create", DROPPED)
    world.team.apply(*its.manifests)
    trial = f"{its.sweep}-0"
    await world.team.until(
        its.sweep, lambda _, trials: bool(trials) and trials[0].phase is TrialPhase.STALLED
    )
    assert its.server.jobs == {}
    command = (*COMMAND, "resolve", trial, "-n", namespace)
    shown = await _output(*command, f"--kubeconfig={kubeconfig}")
    assert f"finetune resolve {trial} adopt=<job id>" in shown
    answered = await _output(*command, "retry", f"--kubeconfig={kubeconfig}")
    assert answered == f"{trial}: 1 retry. The operator goes on with that.\n"
    sweep = await world.team.finished(its.sweep)
    assert sweep.status.trials.succeeded == len(its.server.jobs) == 1


class Impatient:
    """A provider that looks half a second for a job that is in doubt, where the real one looks minutes."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    @property
    def capabilities(self) -> Capabilities:
        return replace(self._provider.capabilities, appears_within_s=0.5)


def impatient(config: ProviderConfig) -> Provider:
    return cast("Provider", Impatient(create(config)))


async def _output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0
    return told.decode()
