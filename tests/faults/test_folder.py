"""`finetune run` as a process: killed at each call to a company, on a full disk, without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.contract.patience import PATIENCE_S
from tests.faults.folder_world import FolderWorld
from tests.faults.moments import When, step
from tests.faults.nursery import Nursery

from finetune_operator.cli.exits import ExitCode

ALL = ("OpenAI", "AzureOpenAI", "VertexAI", "GoogleAIStudio", "Bedrock", "Cohere")
Make = Callable[[str], FolderWorld]


@pytest.fixture
def folder_world(nursery: Nursery, tmp_path: Path) -> Iterator[Make]:
    """Makes a folder with a sweep of two trials."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(FolderWorld(kind, nursery, tmp_path / "folder"))


def ends_well(world: FolderWorld) -> None:
    assert world.run(), f"exit codes {world.codes}\n{world.log.read_text()[-4000:]}"
    findings = world.judge()
    assert not findings, f"{findings}\n{world.log.read_text()[-4000:]}"


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("kind", ALL)
def test_a_run_that_is_killed_at_its_create_call_goes_on_with_the_same_command(
    folder_world: Make, kind: str, when: When
) -> None:
    world = folder_world(kind)
    trap = world.moments.at(step("create", when), world.kill)
    ends_well(world)
    assert (len(trap.sprung), world.kills, len(world.server.jobs)) == (1, 1, 2)


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("name", ["upload", "deploy", "answer", "undeploy", "delete data"])
def test_a_run_that_is_killed_later_goes_on_with_the_same_command(
    folder_world: Make, name: str, when: When
) -> None:
    world = folder_world("Bedrock")
    trap = world.moments.at(step(name, when), world.kill)
    ends_well(world)
    assert (len(trap.sprung), world.kills, len(world.server.jobs)) == (1, 1, 2)


def test_a_run_whose_files_may_not_grow_buys_nothing_that_it_cannot_remember(folder_world: Make) -> None:
    """A limit on the size of files stands for the full disk: every write of a trial's file fails half-way."""
    world = folder_world("Bedrock")
    world.start(RLIMIT_FSIZE=2500)
    assert world.process is not None
    world.process.wait(15.0)
    bought = len(world.server.jobs)
    world.process.kill()
    ends_well(world)
    assert bought <= 2
    assert len(world.server.jobs) == 2


@pytest.mark.parametrize("megabytes", [700, 1100])
def test_a_run_that_gets_no_memory_goes_on_once_there_is_some(folder_world: Make, megabytes: int) -> None:
    world = folder_world("OpenAI")
    world.start(RLIMIT_AS=megabytes * 2**20)
    assert world.process is not None
    world.process.wait(6.0)
    world.process.kill()
    ends_well(world)
    assert len(world.server.jobs) == 2


@pytest.mark.parametrize("kind", ["OpenAI", "VertexAI"])
def test_a_run_whose_only_slot_is_held_by_a_stalled_trial_ends_and_asks(
    nursery: Nursery, tmp_path: Path, kind: str
) -> None:
    with FolderWorld(kind, nursery, tmp_path / "folder", slots=1) as world:
        world.moments.at(step("create", When.ARRIVED), world.kill)
        ends_well(world)
        assert ExitCode.NEEDS_A_PERSON in world.codes
        assert list(world.asked.values()) == ["retry"]


def test_two_runs_of_one_folder_are_not_at_work_at_once(folder_world: Make) -> None:
    world = folder_world("OpenAI")
    world.server.training_s = 1e5  # the first one is at work until the second has ended
    world.start()
    first = world.process
    assert first is not None
    while not world.server.jobs:
        assert not first.wait(0.05), world.log.read_text()
    world.start()
    assert world.process is not None
    assert world.process.wait(PATIENCE_S)
    assert world.process.exit_code not in {0, None}
    assert first.running
    world.process = first
    world.server.finish_training()
    ends_well(world)
