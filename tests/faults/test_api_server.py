"""The API server, and the way to it, at their worst."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.contract.patience import PATIENCE_S
from tests.faults.endings import ends_well
from tests.faults.moments import Moment, When, step
from tests.faults.proxy import Instead
from tests.faults.world import World

KINDS = ("OpenAI", "Bedrock")


def writes(moment: Moment) -> bool:
    """A write, before it is carried out."""
    return moment.place == "api" and moment.call.method != "GET" and moment.when is When.ARRIVED


def written(moment: Moment) -> bool:
    """A write that was stored and is not answered yet."""
    return moment.place == "api" and moment.call.method != "GET" and moment.when is When.DONE


def often(seed: int) -> Callable[[Moment], bool]:
    """A deed that swallows a third of the calls."""
    rng = random.Random(seed)
    return lambda _: rng.random() < 1 / 3


@pytest.mark.parametrize(
    "answer", [None, Instead(409, "Conflict"), Instead(429, "TooManyRequests"), Instead(500, "")]
)
def test_writes_that_are_refused_or_lost_are_made_again(world: World, answer: Instead | None) -> None:
    world.proxy.instead = lambda _: answer
    trap = world.moments.at(writes, often(1), times=40)
    world.apply(*KINDS)
    ends_well(world, trap)


@pytest.mark.parametrize("answer", [None, Instead(409, "Conflict"), Instead(504, "Timeout")])
def test_writes_that_were_stored_though_the_answer_says_otherwise_buy_nothing_twice(
    world: World, answer: Instead | None
) -> None:
    world.proxy.instead = lambda _: answer
    trap = world.moments.at(written, often(2), times=40)
    world.apply(*KINDS)
    ends_well(world, trap)


def test_writes_that_arrive_twice_buy_nothing_twice(world: World) -> None:
    # The second one meets another resource version: who wrote is told that somebody else did.
    rng = random.Random(3)
    world.proxy.twice = lambda call: call.method in {"POST", "PATCH"} and rng.random() < 1 / 3
    world.apply(*KINDS)
    ends_well(world)


def test_a_journal_that_was_written_though_a_conflict_was_answered_is_taken_up(world: World) -> None:
    world.proxy.instead = lambda _: Instead(409, "Conflict")
    trap = world.moments.at(step("journal Pending", When.DONE), lambda _: True)
    world.apply("Bedrock", trials=1)
    ends_well(world, trap)
    assert len(world.servers["Bedrock"].jobs) == 1


def test_old_lists_and_late_events_lose_and_double_no_trial(world: World) -> None:
    world.proxy.watch_delay_s = 0.4
    trap = world.moments.at(step("journal Succeeded", When.DONE), world.kill, skip=1)
    world.apply(*KINDS, trials=3)
    assert world.run(lambda: trap.wait(0.0), start=True)
    # The next operator is told of the cluster as it was when the first one started.
    world.proxy.stale = True
    assert world.run(lambda: len(world.trials()) == 6 and world.kills == 1)
    world.proxy.stale = False
    ends_well(world, trap)


def test_connections_that_break_again_and_again_cost_nothing(world: World) -> None:
    world.apply(*KINDS, trials=3)
    for jobs in (1, 3, 5):
        assert world.run(lambda jobs=jobs: sum(len(each.jobs) for each in world.servers.values()) >= jobs)
        world.proxy.cut()
    ends_well(world)


@pytest.mark.parametrize("what", ["api_server", "etcd"])
def test_a_control_plane_that_is_killed_amid_purchases_costs_nothing(world: World, what: str) -> None:
    component = getattr(world.plane, what)

    def crash(_: Moment) -> bool:
        component.kill()
        return False

    # The company has sold, and the API server that is to hear of it is gone.
    trap = world.moments.at(step("create", When.DONE), crash)
    world.apply(*KINDS)
    world.start()
    try:
        assert trap.wait(PATIENCE_S), world.log()
    finally:
        component.start()
        world.plane.api_server.start()
        world.plane.controller_manager.start()
    ends_well(world, trap)
    assert world.kills == 0
    assert world.person.asked == {}
