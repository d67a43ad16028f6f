"""Two operators serve one namespace at once: a rollout that surges, or a node that came back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contract.patience import PATIENCE_S
from tests.faults.endings import ends_well
from tests.faults.moments import Moment, When, step
from tests.faults.nursery import Child
from tests.faults.proxy import ApiProxy
from tests.faults.world import World


@pytest.fixture
def second(world: World) -> Iterator[Child]:
    """Another operator, behind a proxy of its own, with a folder of its own."""
    authority = world.plane.layout.certificates.authority.public
    with ApiProxy(world.plane.server, authority, world.moments) as proxy:
        child = world.bear(proxy, "second")
        yield child
        child.kill()


def test_two_operators_buy_each_job_once(world: World, second: Child) -> None:
    world.person.patient = False
    world.apply("OpenAI", "Bedrock", trials=4, parallel=4)
    ends_well(world)
    assert second.running


def test_two_operators_of_which_one_dies_again_and_again_buy_each_job_once(
    world: World, second: Child
) -> None:
    traps = [
        world.moments.at(step("journal Pending", When.DONE), world.kill),
        world.moments.at(step("create", When.DONE), world.kill, skip=1),
        world.moments.at(step("journal Succeeded", When.ARRIVED), world.kill, skip=2),
    ]
    world.apply("Bedrock", "GoogleAIStudio", trials=4, parallel=2)
    ends_well(world, *traps)
    assert second.running


def test_an_operator_that_slept_through_another_s_purchase_buys_nothing(world: World) -> None:
    world.apply("OpenAI", trials=1)

    # The first one is to write its journal, and stands still there; the other one does it all meanwhile.
    def stands_still(_: Moment) -> bool:
        world.freeze()
        return True  # the write is lost with the connection

    trap = world.moments.at(step("journal Pending", When.ARRIVED), stands_still)
    world.start()
    assert trap.wait(PATIENCE_S)
    authority = world.plane.layout.certificates.authority.public
    with ApiProxy(world.plane.server, authority, world.moments) as proxy:
        other = world.bear(proxy, "other")
        assert world.run(lambda: len(world.servers["OpenAI"].jobs) == 1, start=False)
        world.thaw()
        ends_well(world, trap)
        other.kill()
    assert len(world.servers["OpenAI"].jobs) == 1
