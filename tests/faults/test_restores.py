"""Objects that come back from a backup: without their status, without annotations, as other objects."""

from __future__ import annotations

import copy

import pytest
from tests.faults.cluster_api import Raw
from tests.faults.endings import ends_well, nothing_goes_on
from tests.faults.moments import When, step
from tests.faults.world import World

KINDS = ("FinetuneProvider", "FinetuneSweep", "FinetuneTrial")
SERVER_S_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


def back_up(world: World) -> list[Raw]:
    """What a backup holds."""
    return [copy.deepcopy(each) for kind in KINDS for each in world.api.list(kind)]


def wipe_out(world: World) -> None:
    """The namespace's objects are gone, and nobody was asked: as in a cluster that is made anew."""
    for kind in reversed(KINDS):
        for each in world.api.list(kind):
            name = each["metadata"]["name"]
            world.api.patch(kind, name, {"metadata": {"finalizers": None}})
            world.api.delete(kind, name)
    left = [each["metadata"]["name"] for kind in KINDS for each in world.api.list(kind)]
    assert left == []


def bring_back(world: World, objects: list[Raw], *, status: bool, owners: str = "renamed") -> None:
    """What `velero restore` does: creates objects anew, with new UIDs.

    Args:
        world: Where.
        objects: The backup.
        status: Whether the status comes back too, which is another call.
        owners: What becomes of a trial's owner: `kept` as it was, which names a UID that is gone; `dropped`;
            `renamed` to the sweep's new UID, as tools for etcd-less migration do.
    """
    uids: dict[str, str] = {}
    for each in objects:
        old = each["metadata"]
        manifest = {**each, "metadata": {k: v for k, v in old.items() if k not in SERVER_S_OWN}}
        manifest.pop("status", None)
        if owners == "dropped":
            manifest["metadata"].pop("ownerReferences", None)
        for reference in manifest["metadata"].get("ownerReferences", ()):
            reference["uid"] = uids[reference["uid"]] if owners == "renamed" else reference["uid"]
        created = world.api.create(manifest)
        uids[old["uid"]] = created["metadata"]["uid"]
        if status and "status" in each:
            world.api.patch(each["kind"], old["name"], {"status": each["status"]}, part="status")


def amid_training(world: World, *kinds: str) -> None:
    """Sweeps whose trials train, and an operator that is gone."""
    world.apply(*kinds)
    for server in world.servers.values():
        server.training_s = 1e5  # no job ends before all of them train
    assert world.run(lambda: sum(_trains(trial) for trial in world.trials()) == 2 * len(kinds))
    world.kill()


def _trains(trial: Raw) -> bool:
    return bool(trial.get("status", {}).get("phase") == "Training")


@pytest.mark.parametrize("status", [True, False], ids=["with-status", "without-status"])
def test_restored_objects_with_new_uids_buy_nothing_again(world: World, status: bool) -> None:
    amid_training(world, "OpenAI", "Bedrock")
    objects = back_up(world)
    wipe_out(world)
    bring_back(world, objects, status=status)
    for server in world.servers.values():
        server.finish_training()
    ends_well(world)
    assert {kind: len(server.jobs) for kind, server in world.servers.items()} == {"OpenAI": 2, "Bedrock": 2}


def test_a_status_that_is_lost_in_place_buys_nothing_again(world: World) -> None:
    amid_training(world, "OpenAI", "Cohere")
    for kind in KINDS[1:]:
        for each in world.api.list(kind):
            world.api.patch(kind, each["metadata"]["name"], {"status": None}, part="status")
    for server in world.servers.values():
        server.finish_training()
    ends_well(world)


def test_a_second_attempt_is_not_made_again_though_its_status_is_lost(world: World) -> None:
    world.apply("OpenAI", trials=1)
    server = world.servers["OpenAI"]
    server.training_s = 1e5
    trap = world.moments.at(step("create", When.ARRIVED), world.kill)
    assert world.run(lambda: trap.wait(0.0) and any(_trains(trial) for trial in world.trials())), world.log()
    world.kill()
    (trial,) = world.trials()
    assert trial["status"]["create"]["attempt"] == 2
    objects = back_up(world)
    wipe_out(world)
    bring_back(world, objects, status=False)
    server.finish_training()
    ends_well(world)
    assert len(server.jobs) == 1


def test_objects_without_annotations_labels_and_finalizers_go_on(world: World) -> None:
    amid_training(world, "OpenAI")
    bare = {"annotations": None, "labels": None, "finalizers": None}
    for kind in KINDS:
        for each in world.api.list(kind):
            world.api.patch(kind, each["metadata"]["name"], {"metadata": bare})
    for server in world.servers.values():
        server.finish_training()
    ends_well(world)


def test_trials_that_came_back_before_their_sweep_wait_for_it(world: World) -> None:
    amid_training(world, "OpenAI")
    objects = back_up(world)
    wipe_out(world)
    provider, sweep, *trials = objects
    bring_back(world, [provider, *trials], status=True, owners="dropped")

    def all_stalled() -> bool:
        return all(trial.get("status", {}).get("reason") == "SweepMissing" for trial in world.trials())

    assert world.run(all_stalled), world.log()
    created = world.api.create({**sweep, "metadata": {"name": sweep["metadata"]["name"]}, "status": {}})
    owner = _owner(created)
    for trial in world.trials():
        world.api.patch(
            "FinetuneTrial", trial["metadata"]["name"], {"metadata": {"ownerReferences": [owner]}}
        )
    for server in world.servers.values():
        server.finish_training()
    ends_well(world)
    assert len(world.servers["OpenAI"].jobs) == 2


def test_what_was_uploaded_before_a_restore_is_deleted_at_the_end(world: World) -> None:
    amid_training(world, "OpenAI")
    objects = back_up(world)
    wipe_out(world)
    bring_back(world, objects, status=True)
    for server in world.servers.values():
        server.finish_training()
    ends_well(world)


def test_a_trial_that_lost_its_finalizer_leaves_no_job_when_its_sweep_is_deleted(world: World) -> None:
    amid_training(world, "OpenAI")
    for server in world.servers.values():
        server.training_s = 1e6
    for kind in KINDS[1:]:
        for each in world.api.list(kind):
            world.api.patch(kind, each["metadata"]["name"], {"metadata": {"finalizers": None}})

    def held() -> bool:
        objects = [*world.api.list("FinetuneSweep"), *world.trials()]
        return all(each["metadata"].get("finalizers") for each in objects)

    assert world.run(held), world.log()
    world.api.delete("FinetuneSweep", world.sweeps[0])
    assert world.run(lambda: not world.api.list("FinetuneSweep") and not world.api.list("FinetuneTrial"))
    nothing_goes_on(world)


def _owner(sweep: Raw) -> Raw:
    metadata = sweep["metadata"]
    return {
        **{key: sweep[key] for key in ("apiVersion", "kind")},
        **{key: metadata[key] for key in ("name", "uid")},
        "controller": True,
        "blockOwnerDeletion": True,
    }
