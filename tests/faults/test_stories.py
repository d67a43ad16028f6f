"""Ten ways in which other operators and trackers are known to have failed, each told as a test.

Where a story is about one function, a unit test tells it too: `docs/reliability.md` names both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.http_server import DROPPED
from tests.faults.cluster_api import Raw
from tests.faults.endings import ends_well, nothing_goes_on
from tests.faults.moments import When, step
from tests.faults.world import World

SMALL = {"epochs": {"values": ["1", "3"]}, "batchSize": {"values": ["1", "2"]}}


def by_epochs(hyperparameters: Mapping[str, Any]) -> float:
    """The more epochs, the better."""
    return min(1.0, int(hyperparameters["n_epochs"]) / 5)


def apply_openai(world: World, change: Callable[[Raw], None], **spec: Any) -> Raw:
    """OpenAI's example with a changed spec; returns the sweep."""
    manifests = world.manifests("OpenAI")
    sweep = next(each for each in manifests if each["kind"] == "FinetuneSweep")
    sweep["spec"] |= {"search": {"method": "Random", "seed": 7}, **spec}
    change(sweep["spec"])
    world.sweeps.append(sweep["metadata"]["name"])
    for manifest in manifests:
        world.api.create(manifest)
    return sweep


def unchanged(_: Raw) -> None:
    """The example's search space."""


def one_candidate(spec: Raw) -> None:
    """Four points in all."""
    spec["candidates"][0] |= {"baseModels": ["gpt-4.1-mini-2025-04-14"], "parameters": SMALL}


def condition(world: World, kind: str) -> Raw:
    """A condition of the sweep."""
    sweep = world.api.find("FinetuneSweep", world.sweeps[0])
    assert sweep is not None
    conditions = sweep.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def phase(world: World) -> str | None:
    """The sweep's phase."""
    sweep = world.api.find("FinetuneSweep", world.sweeps[0])
    assert sweep is not None
    found: str | None = sweep.get("status", {}).get("phase")
    return found


def test_story_1_a_space_smaller_than_the_sweep_ends_it(world: World) -> None:
    apply_openai(world, one_candidate, limits={"maxTrials": 8, "parallelTrials": 4})
    assert world.run(), world.log()
    assert (
        "SpaceExhausted" in str(world.api.find("FinetuneSweep", world.sweeps[0]))
        or "exhausted" in world.log()
    )
    assert len(world.trials()) == len(world.servers["OpenAI"].jobs) == 4


def test_story_2_an_old_list_after_a_creation_reuses_no_index(world: World) -> None:
    world.proxy.stale = True  # every list, for ever, shows the namespace as it was first seen
    trap = world.moments.at(step("create trial", When.DONE), world.kill)
    world.apply("OpenAI", trials=3)
    assert world.run(lambda: len(world.trials()) == 3)
    world.proxy.stale = False
    trials = ends_well(world, trap)
    assert len({trial["spec"]["runKey"] for trial in trials}) == 3


def test_story_3_a_crash_between_a_sale_and_its_record_leaks_nothing(world: World) -> None:
    world.person.patient = False
    world.apply("OpenAI", trials=1)
    world.servers["OpenAI"].list_lag_s = 1000.0
    trap = world.moments.at(step("journal Succeeded", When.ARRIVED), world.kill)
    ends_well(world, trap)
    assert len(world.servers["OpenAI"].jobs) == 1


def test_story_4_a_guard_that_a_crash_left_opens_by_itself(world: World) -> None:
    world.person.patient = False
    world.apply("OpenAI", trials=1)
    trap = world.moments.at(step("create", When.DONE), world.kill)
    (trial,) = ends_well(world, trap)
    assert not trial["metadata"].get("annotations")


def test_story_5_a_trial_of_somebody_else_is_neither_taken_over_nor_passed_over(world: World) -> None:
    sweep = apply_openai(world, unchanged, limits={"maxTrials": 1, "parallelTrials": 1})
    foreign = {
        "apiVersion": sweep["apiVersion"],
        "kind": "FinetuneTrial",
        "metadata": {"name": f"{sweep['metadata']['name']}-0"},
        "spec": {
            "sweepRef": {"name": sweep["metadata"]["name"]},
            "index": 0,
            "candidate": "gpt",
            "providerRef": {"name": "openai"},
            "baseModel": "gpt-4.1-mini-2025-04-14",
            "hyperparameters": {"epochs": 1},
            "runKey": "ft-00000000000000000000",
        },
    }
    world.api.create(foreign)
    assert world.run(lambda: condition(world, "Reconciling").get("reason") == "EarlierTrials"), world.log()
    assert world.servers["OpenAI"].jobs == {}
    world.api.delete("FinetuneTrial", foreign["metadata"]["name"])
    world.ever.clear()
    ends_well(world)


def test_story_6_a_goal_that_is_met_ends_every_job_and_fewer_at_once_cancels_none(world: World) -> None:
    limits = {"maxTrials": 6, "parallelTrials": 4}
    apply_openai(world, unchanged, limits=limits, objective={"metric": "accuracy", "goal": 0.9})
    server = world.servers["OpenAI"]
    server.training_s = 1e5
    assert world.run(lambda: len(server.jobs) == 4)
    world.api.patch("FinetuneSweep", world.sweeps[0], {"spec": {"limits": {"parallelTrials": 1}}})
    world.kill()
    assert world.run(lambda: condition(world, "Accepted").get("observedGeneration") == 2), world.log()
    assert [job for job in server.jobs.values() if job.cancelled_s is not None] == []
    first = next(iter(server.jobs.values()))
    first.created_s -= 1e5
    assert world.run(), world.log()
    assert len(server.jobs) == 4
    assert {trial["status"]["phase"] for trial in world.trials()} == {"Succeeded", "Cancelled"}
    nothing_goes_on(world)


def test_story_7_failures_count_and_end_the_sweep(world: World) -> None:
    limits = {"maxTrials": 6, "parallelTrials": 1, "maxFailedTrials": 1}
    apply_openai(world, unchanged, limits=limits)
    server = world.servers["OpenAI"]

    def spoil(_: object) -> bool:
        server.next_failure = "the data are unusable"
        return False

    world.moments.at(step("create", When.ARRIVED), spoil, times=None)
    trap = world.moments.at(step("trial Failed", When.DONE), world.kill)
    assert world.run(lambda: world.settled() and trap.wait(0.0)), world.log()
    assert (phase(world), condition(world, "Ready").get("reason")) == ("Failed", "TooManyFailures")
    assert len(server.jobs) == 2
    nothing_goes_on(world)


def test_story_8_a_search_that_dies_amid_its_trials_proposes_the_same_points(
    world: World, another_world: Callable[[], World]
) -> None:
    found = []
    for each, dies in ((world, False), (another_world(), True)):
        search = {"method": "Bayesian", "seed": 3, "initialTrials": 2}
        limits = {"maxTrials": 5, "parallelTrials": 1}
        apply_openai(each, unchanged, search=search, limits=limits)
        each.servers["OpenAI"].quality = by_epochs
        steps = ("create trial", "journal Succeeded", "trial Succeeded") if dies else ()
        ends_well(each, *(each.moments.at(step(name, When.DONE), each.kill, skip=2) for name in steps))
        found.append([(t["spec"]["baseModel"], t["spec"]["hyperparameters"]) for t in each.trials()])
    assert sorted(map(str, found[0])) == sorted(map(str, found[1]))


def test_story_9_a_pause_an_edit_and_a_restart_buy_only_what_is_missing(world: World) -> None:
    apply_openai(
        world, one_candidate, search={"method": "Grid"}, limits={"maxTrials": 2, "parallelTrials": 1}
    )
    trap = world.moments.at(step("trial Succeeded", When.DONE), world.kill)
    name = world.sweeps[0]
    assert world.run(lambda: trap.wait(0.0))
    world.api.patch("FinetuneSweep", name, {"spec": {"suspend": True, "limits": {"maxTrials": 4}}})
    assert world.run(lambda: phase(world) == "Suspended"), world.log()
    world.kill()
    world.api.patch("FinetuneSweep", name, {"spec": {"suspend": False}})
    trials = ends_well(world)
    points = {str(sorted(trial["spec"]["hyperparameters"].items())) for trial in trials}
    assert len(points) == len(trials) == len(world.servers["OpenAI"].jobs) == 4


def test_story_10_a_finished_sweep_that_is_applied_again_buys_nothing(world: World) -> None:
    sweep = apply_openai(world, unchanged, limits={"maxTrials": 1, "parallelTrials": 1})
    ends_well(world)
    world.api.patch(
        "FinetuneSweep", world.sweeps[0], {"spec": sweep["spec"], "metadata": {"labels": {"by": "git"}}}
    )
    world.kill()
    world.start()
    ends_well(world)
    assert len(world.servers["OpenAI"].jobs) == 1


def test_story_10_a_deletion_ends_by_its_policy_though_the_company_is_down(world: World) -> None:
    apply_openai(
        world, unchanged, limits={"maxTrials": 2, "parallelTrials": 2}, deletionPolicy="Orphan", keepData=True
    )
    server = world.servers["OpenAI"]
    server.training_s = 1e6
    assert world.run(lambda: sum(t.get("status", {}).get("phase") == "Training" for t in world.trials()) == 2)
    server.always("*", DROPPED)
    world.kill()
    world.api.delete("FinetuneSweep", world.sweeps[0])
    assert world.run(lambda: not world.api.list("FinetuneSweep") and not world.api.list("FinetuneTrial"))
    assert len(server.jobs) == 2
