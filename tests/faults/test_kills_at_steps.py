"""SIGKILL at each step of a trial's life: before it is carried out, and after it was and nobody was told."""

from __future__ import annotations

import pytest
from tests.faults.endings import ends_well
from tests.faults.moments import When, step
from tests.faults.world import World

BOTH = (When.ARRIVED, When.DONE)
WRITES = (
    "hold sweep",
    "create trial",
    "journal Pending",
    "journal Succeeded",
    "trial Succeeded",
    "release trial",
    "create configmap",
    "sweep Succeeded",
    "release sweep",
)
"""What the operator writes during a sweep at a company that deploys nothing, in order."""
CALLS = ("look up", "look for data", "upload", "create", "answer", "delete data")
"""What it asks of the company."""
DEPLOYING = ("AzureOpenAI", "Bedrock")
SERVING = (
    "serving Pending",
    "deploy",
    "look at deployment",
    "serving Active",
    "serving Deleting",
    "undeploy",
)
ALL = ("OpenAI", "AzureOpenAI", "VertexAI", "GoogleAIStudio", "Bedrock", "Cohere")
BUYS_AGAIN_WITH_ITS_KEY = {"GoogleAIStudio", "Bedrock"}
"""Where the same key cannot buy twice, nobody has to be asked."""


def killed_once(world: World, kind: str, name: str, when: When) -> None:
    """A sweep of one trial whose operator is killed at one step; it ends, with nothing bought twice, lost or leaked."""
    trap = world.moments.at(step(name, when), world.kill)
    world.apply(kind, trials=1)
    (trial,) = ends_well(world, trap)
    assert world.kills == 1
    assert len(world.servers[kind].jobs) == 1
    assert trial["status"]["phase"] == "Succeeded", trial["status"]


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("kind", ALL)
def test_a_create_call_is_cut_off(world: World, kind: str, when: When) -> None:
    killed_once(world, kind, "create", when)
    # Nothing proves that a call which was never taken is not taken late: where it could buy twice, a person is asked.
    asks = when is When.ARRIVED and kind not in BUYS_AGAIN_WITH_ITS_KEY
    assert list(world.person.asked.values()) == ["retry"] * asks


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_to_the_api_server_is_cut_off(world: World, name: str, when: When) -> None:
    killed_once(world, "OpenAI", name, when)


@pytest.mark.parametrize("when", BOTH)
def test_the_write_that_a_model_is_evaluated_is_cut_off(world: World, when: When) -> None:
    # At a company that deploys nothing it is no write of its own where the model answers at once.
    killed_once(world, "AzureOpenAI", "trial Evaluating", when)


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("name", [each for each in CALLS if each != "create"])
def test_a_call_to_the_company_is_cut_off(world: World, name: str, when: When) -> None:
    killed_once(world, "OpenAI", name, when)


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("name", SERVING)
@pytest.mark.parametrize("kind", DEPLOYING)
def test_a_deployment_is_cut_off(world: World, kind: str, name: str, when: When) -> None:
    killed_once(world, kind, name, when)


@pytest.mark.parametrize("when", BOTH)
@pytest.mark.parametrize("kind", ["VertexAI", "Bedrock", "Cohere"])
def test_the_deletion_of_datasets_is_cut_off(world: World, kind: str, when: When) -> None:
    killed_once(world, kind, "delete data", when)
