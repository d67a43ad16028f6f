"""A company that is not there, answers late, or shows late what it sold."""

from __future__ import annotations

import pytest
from tests.fakes.http_server import DONE_THEN_DROPPED, DROPPED, MALFORMED, Fault, done_then, refused
from tests.faults.endings import ends_well, nothing_goes_on
from tests.faults.moments import When, step
from tests.faults.world import World

CREATE = {"OpenAI": "jobs.create", "Bedrock": "create", "VertexAI": "create", "Cohere": "create"}


@pytest.mark.parametrize(
    "fault", [DONE_THEN_DROPPED, done_then(500), MALFORMED], ids=["cut", "500", "no-json"]
)
@pytest.mark.parametrize("kind", ["OpenAI", "VertexAI", "Cohere"])
def test_a_sale_without_a_clear_answer_is_found_and_made_once(world: World, kind: str, fault: Fault) -> None:
    world.apply(kind, trials=1)
    world.servers[kind].fault(CREATE[kind], fault)
    ends_well(world)
    assert len(world.servers[kind].jobs) == 1
    assert world.person.asked == {}


@pytest.mark.parametrize("kind", ["OpenAI", "Bedrock"])
def test_a_sale_that_lists_show_late_is_found_after_a_kill(world: World, kind: str) -> None:
    world.person.patient = False
    world.apply(kind, trials=1)
    # Twelve seconds of ours: two looks find nothing.
    world.servers[kind].list_lag_s = 6000.0
    trap = world.moments.at(step("create", When.DONE), world.kill)
    ends_well(world, trap)
    assert len(world.servers[kind].jobs) == 1
    assert world.person.asked == {}


@pytest.mark.parametrize("during", ["create", "training", "answer", "delete data"])
def test_a_company_that_goes_away_is_waited_for(world: World, during: str) -> None:
    world.apply("OpenAI")
    server = world.servers["OpenAI"]

    def goes_away(_: object) -> bool:
        server.always("*", DROPPED)
        return True

    name = {"training": "look up"}.get(during, during)
    trap = world.moments.at(step(name, When.ARRIVED), goes_away, skip=3 if during == "training" else 0)
    assert world.run(lambda: trap.wait(0.0)), world.log()
    world.kill()
    assert world.run(lambda: server.count("jobs.list") + server.count("files.list") > 0)
    server.always("*", None)
    ends_well(world, trap)


def test_a_daily_cap_is_waited_for_and_fails_no_trial(world: World) -> None:
    world.apply("OpenAI")
    server = world.servers["OpenAI"]
    server.fault("jobs.create", *[refused(429, code="rate_limit_exceeded", retry_after="1")] * 3)
    trials = ends_well(world)
    assert [trial["status"]["phase"] for trial in trials] == ["Succeeded", "Succeeded"]


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("name", ["cancel", "delete data", "release trial", "release sweep"])
def test_a_deletion_that_is_cut_off_still_ends_every_job(world: World, name: str, when: When) -> None:
    world.apply("OpenAI")
    server = world.servers["OpenAI"]
    server.training_s = 1e6
    assert world.run(lambda: sum(t.get("status", {}).get("phase") == "Training" for t in world.trials()) == 2)
    trap = world.moments.at(step(name, when), world.kill)
    world.api.delete("FinetuneSweep", world.sweeps[0])
    gone = world.run(
        lambda: trap.wait(0.0) and not world.api.list("FinetuneSweep") and not world.api.list("FinetuneTrial")
    )
    assert gone, f"{world.states()}\n{world.log()}"
    nothing_goes_on(world)


@pytest.mark.parametrize("fault", [DROPPED, refused(403)], ids=["away", "refuses"])
def test_a_deletion_waits_for_a_company_and_says_so_and_then_cancels(world: World, fault: Fault) -> None:
    world.apply("OpenAI")
    server = world.servers["OpenAI"]
    server.training_s = 1e6
    assert world.run(lambda: sum(t.get("status", {}).get("phase") == "Training" for t in world.trials()) == 2)
    server.always("*", fault)
    world.api.delete("FinetuneSweep", world.sweeps[0])

    def says_so() -> bool:
        told = [trial["status"]["reason"] == "ReleaseBlocked" for trial in world.trials()]
        sweep = str(world.api.find("FinetuneSweep", world.sweeps[0]))
        return told == [True, True] and "'reason': 'Deleting'" in sweep and "deletionPolicy: Orphan" in sweep

    assert world.run(says_so), f"{world.states()}\n{world.log()}"
    world.kill()
    assert not any(job.cancelled_s for job in server.jobs.values())
    server.always("*", None)
    assert world.run(lambda: not world.api.list("FinetuneSweep") and not world.api.list("FinetuneTrial"))
    nothing_goes_on(world)


def test_a_deleted_trial_whose_purchase_was_cut_off_leaves_no_job(world: World) -> None:
    world.apply("OpenAI", trials=1)
    server = world.servers["OpenAI"]
    server.training_s = 1e6
    trap = world.moments.at(step("create", When.DONE), world.kill)
    assert world.run(lambda: trap.wait(0.0), start=True)
    world.api.delete("FinetuneSweep", world.sweeps[0])
    assert world.run(lambda: not world.api.list("FinetuneSweep") and not world.api.list("FinetuneTrial"))
    assert len(server.jobs) == 1
    nothing_goes_on(world)
