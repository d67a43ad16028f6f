"""What the store writes to a real API server, and what the server makes of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.cluster.operator_account import (
    CountingClient,
    Person,
    is_gone,
    operator_client,
    operator_kubeconfig,
    person,
    store,
    sweep,
    sweep_key,
    sweep_manifest,
    trial,
    until,
)
from tests.contract.store_contract import (
    SWEEP,
    a_trial,
    key_of,
)

from controlplane.fixtures import Kubectl
from finetune_operator.cluster.client import (
    CONFIG_MAPS,
    SECRETS,
    SWEEPS,
    TRIALS,
    KubeClient,
)
from finetune_operator.cluster.store import KubeStore
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import (
    AlreadyExists,
    Conflict,
    Key,
    NotFound,
    Refused,
)
from finetune_operator.resources import (
    CreateJournal,
    FinetuneSweep,
    FinetuneTrial,
    TrialPhase,
    TrialStatus,
)
from finetune_operator.resources.trial import SeriesPoint

__all__ = ["operator_client", "operator_kubeconfig", "person", "store", "sweep", "sweep_key", "trial"]


async def test_the_server_refuses_a_write_that_memory_takes_for_fresh(
    store: KubeStore, person: Person, trial: FinetuneTrial
) -> None:
    await person.edit("FinetuneTrial", trial.name, {"metadata": {"labels": {"seen-by": "a-person"}}})
    with pytest.raises(Conflict, match="the object has been modified"):
        await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.SUBMITTING))
    # What made it stale is in memory now, without any watch: the next attempt can succeed.
    fresh = await store.get_trial(key_of(trial))
    assert fresh is not None
    assert (
        await store.write_trial_status(fresh, TrialStatus(phase=TrialPhase.SUBMITTING))
    ).phase == "Submitting"


async def test_a_store_that_missed_a_trial_finds_its_name_taken_and_learns_of_it(
    store: KubeStore, operator_client: KubeClient, sweep: FinetuneSweep, namespace: str
) -> None:
    rival = KubeStore(operator_client, namespaces=(namespace,))
    await rival.resync()
    bought = await store.create_trial(a_trial(0, namespace=namespace), owner=sweep)
    with pytest.raises(AlreadyExists, match=bought.name):
        await rival.create_trial(a_trial(0, namespace=namespace), owner=sweep)
    assert await rival.get_trial(key_of(bought)) == bought


async def test_a_write_on_a_trial_that_a_person_deleted_is_refused_and_remembered(
    store: KubeStore, person: Person, trial: FinetuneTrial
) -> None:
    await person.edit("FinetuneTrial", trial.name, {"metadata": {"finalizers": None}})
    await person.delete("FinetuneTrial", trial.name)
    with pytest.raises(NotFound, match=trial.name):
        await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.SUBMITTING))
    assert await store.get_trial(key_of(trial)) is None


async def test_fields_that_a_status_no_longer_has_are_gone_from_the_server(
    store: KubeStore, person: Person, trial: FinetuneTrial
) -> None:
    full = TrialStatus(
        phase=TrialPhase.TRAINING,
        message="waiting",
        metrics={"trainingLoss": 2.0, "accuracy": 0.5},
        score=0.5,
    )
    written = await store.write_trial_status(trial, full)
    bare = TrialStatus(phase=TrialPhase.EVALUATING, metrics={"accuracy": 0.5})
    await store.write_trial_status(written, bare)
    assert (await person.get("FinetuneTrial", trial.name))["status"] == bare.to_dict()


async def test_an_unchanged_status_of_a_finished_trial_costs_no_call(
    store: KubeStore, operator_client: CountingClient, trial: FinetuneTrial
) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    status = TrialStatus(
        observed_generation=1,
        phase=TrialPhase.SUCCEEDED,
        create=CreateJournal(state="Succeeded", key=trial.spec.run_key, external_id="job-1", at=moment),
        score=1.0,
        score_text="1",
        metrics={"accuracy": 1.0, "trainingLoss": 1e-5},
        series=(SeriesPoint(step=1, values={"trainingLoss": 2.0}),),
        cost=Decimal("1.50"),
        finished_at=moment,
    )
    written = await store.write_trial_status(trial, status)
    operator_client.calls.clear()
    assert await store.write_trial_status(written, status) is written
    read_back = await store.get_trial(key_of(trial))
    assert read_back is not None
    await store.write_trial_status(read_back, read_back.status)
    await store.list_trials(key_of(trial).sibling("FinetuneSweep", SWEEP))
    assert operator_client.calls == []


async def test_a_status_that_the_crd_does_not_know_is_refused_rather_than_dropped(
    operator_client: KubeClient, trial: FinetuneTrial, namespace: str
) -> None:
    with pytest.raises(Refused, match=r"status\.jurnal"):
        await operator_client.patch(
            TRIALS, namespace, trial.name, body={"status": {"jurnal": {}}}, subresource="status"
        )


async def test_what_the_schema_forbids_is_refused_with_the_servers_words(
    store: KubeStore, trial: FinetuneTrial
) -> None:
    with pytest.raises(Refused, match="Too long: may not be more than 1024"):
        await store.write_trial_status(trial, TrialStatus(reason="x" * 1025))


async def test_a_whole_trial_takes_five_writes(
    store: KubeStore, operator_client: CountingClient, sweep: FinetuneSweep, namespace: str
) -> None:
    operator_client.calls.clear()
    trial = await store.create_trial(a_trial(0, namespace=namespace), owner=sweep)
    journal = CreateJournal(state="Pending", key=trial.spec.run_key)
    trial = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.SUBMITTING, create=journal))
    bought = journal.model_copy(update={"state": "Succeeded", "external_id": "job-1"})
    trial = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING, create=bought))
    trial = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.SUCCEEDED, create=bought))
    await store.remove_finalizer(trial)
    name = f"{namespace}/finetunetrials/{trial.name}"
    assert operator_client.calls == [
        f"POST {namespace}/finetunetrials",
        *[f"PATCH {name}/status"] * 3,
        f"PATCH {name}",
    ]


async def test_a_trial_takes_no_labels_and_annotations_from_its_sweep(
    store: KubeStore, person: Person, namespace: str
) -> None:
    marks = {"app.kubernetes.io/instance": "an-application"}
    await person.create(sweep_manifest("tracked", labels=marks, annotations={"argocd.argoproj.io/x": "y"}))
    await store.resync()
    owner = await store.get_sweep(Key("FinetuneSweep", namespace, "tracked"))
    assert owner is not None
    await store.create_trial(a_trial(4, namespace=namespace, sweep="tracked"), owner=owner)
    metadata = (await person.get("FinetuneTrial", "tracked-4"))["metadata"]
    assert metadata["labels"] == {
        "finetune-operator.dev/sweep": "tracked",
        "finetune-operator.dev/trial-index": "4",
    }
    assert "annotations" not in metadata
    (reference,) = metadata["ownerReferences"]
    assert reference["uid"] == owner.metadata.uid
    assert reference["controller"] is True
    assert reference["blockOwnerDeletion"] is True


async def test_trials_of_a_deleted_sweep_go_once_they_are_released(
    store: KubeStore, person: Person, trial: FinetuneTrial
) -> None:
    await person.delete("FinetuneSweep", SWEEP)

    async def trial_is_doomed() -> bool:
        await store.resync()
        known = await store.get_trial(key_of(trial))
        return known is not None and known.deleting

    await until(trial_is_doomed)
    doomed = await store.get_trial(key_of(trial))
    assert doomed is not None
    last_words = await store.write_trial_status(doomed, TrialStatus(phase=TrialPhase.CANCELLED))
    await store.remove_finalizer(last_words)
    await until(lambda: is_gone(person, "FinetuneTrial", trial.name))
    assert await store.get_trial(key_of(trial)) is None


async def test_the_output_outlives_its_sweep(store: KubeStore, person: Person, sweep: FinetuneSweep) -> None:
    await store.write_output(sweep, "support-model", {"model": "ft:1"})
    metadata = (await person.get("ConfigMap", "support-model"))["metadata"]
    assert metadata["labels"] == {"finetune-operator.dev/sweep": SWEEP}
    assert "ownerReferences" not in metadata


async def test_an_unchanged_output_is_not_written_again(
    store: KubeStore, operator_client: CountingClient, sweep: FinetuneSweep
) -> None:
    await store.write_output(sweep, "support-model", {"model": "ft:1"})
    operator_client.calls.clear()
    await store.write_output(sweep, "support-model", {"model": "ft:1"})
    assert not [call for call in operator_client.calls if not call.startswith("GET")]


async def test_kubectl_describe_tells_the_story(
    store: KubeStore, sweep: FinetuneSweep, trial: FinetuneTrial, kubectl: Kubectl, namespace: str
) -> None:
    await store.record_event(trial, "Submitted", "fine-tuning job job-1 was created")
    await store.record_event(sweep, "BudgetReached", "20.00 USD are reserved or spent " * 100, warning=True)
    story = kubectl("describe", "finetunetrial", trial.name, "-n", namespace).stdout
    assert re.search(r"Normal +Submitted +\S+ +finetune-operator +fine-tuning job job-1 was created", story)
    assert re.search(
        r"Warning +BudgetReached +\S+ +finetune-operator +20.00 USD are reserved",
        kubectl("describe", "finetunesweep", SWEEP, "-n", namespace).stdout,
    )


async def test_an_event_that_cannot_be_posted_is_only_logged(
    store: KubeStore, trial: FinetuneTrial, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = trial.model_copy(
        update={"metadata": trial.metadata.model_copy(update={"namespace": "default"})}
    )
    await store.record_event(elsewhere, "Submitted", "fine-tuning job job-1 was created")
    assert "event Submitted was not posted: 403 Forbidden" in caplog.text


async def test_the_role_opens_no_other_door(operator_client: KubeClient, namespace: str) -> None:
    for resource in (SECRETS, CONFIG_MAPS):
        with pytest.raises(Refused, match="forbidden"):
            await operator_client.list(resource, namespace)
    with pytest.raises(Refused, match="forbidden"):
        await operator_client.delete(SWEEPS, namespace, SWEEP, uid=None)
    with pytest.raises(Refused, match="forbidden"):
        await operator_client.list(SWEEPS, "default")
    with pytest.raises(Refused, match="forbidden"):
        await operator_client.get(SECRETS, "kube-system", "anything")


async def test_a_sweep_that_cannot_be_read_is_refused_once_in_its_status(
    operator_client: CountingClient, store: KubeStore, person: Person, sweep_key: Key, namespace: str
) -> None:
    broken = await person.get("FinetuneSweep", SWEEP)
    broken["spec"]["limits"]["maxDuration"] = "0h"
    stranger = KubeStore(operator_client, namespaces=(namespace,))
    stranger.cache.put("FinetuneSweep", broken)
    with pytest.raises(InvalidManifest) as caught:
        await stranger.get_sweep(sweep_key)
    await stranger.refuse(sweep_key, caught.value.problems)
    status = (await person.get("FinetuneSweep", SWEEP))["status"]
    accepted, ready, stalled = status["conditions"]
    assert (accepted["type"], accepted["status"]) == ("Accepted", "False")
    assert accepted["message"] == "spec.limits.maxDuration: must be longer than zero"
    assert (ready["type"], ready["status"]) == ("Ready", "False")
    assert (stalled["type"], stalled["status"]) == ("Stalled", "True")
    assert status["observedGeneration"] == 1
    operator_client.calls.clear()
    await stranger.refuse(sweep_key, caught.value.problems)
    assert operator_client.calls == []


async def test_a_deleted_sweep_that_cannot_be_read_is_looked_at_and_can_be_let_go(
    operator_client: CountingClient,
    store: KubeStore,
    sweep: FinetuneSweep,
    person: Person,
    sweep_key: Key,
    namespace: str,
) -> None:
    await store.add_finalizer(sweep)
    stranger = KubeStore(operator_client, namespaces=(namespace,))
    for deleting in (False, True):
        if deleting:
            await person.client.delete(SWEEPS, namespace, SWEEP, uid=None)
        broken = await person.get("FinetuneSweep", SWEEP)
        broken["spec"]["search"]["method"] = "Later"
        stranger.cache.put("FinetuneSweep", broken)
        assert (await stranger.remains(sweep_key) is not None) is deleting
        assert sweep_key in set(stranger.unfinished())
    remains = await stranger.remains(sweep_key)
    assert remains is not None
    await stranger.record_event(remains, "LetGo", "it cannot be read", warning=True)
    await stranger.let_go(remains)
    assert await stranger.get_sweep(sweep_key) is None
    with pytest.raises(NotFound):
        await person.get("FinetuneSweep", SWEEP)


async def test_a_deleted_trial_that_cannot_be_read_is_unfinished_until_it_is_let_go(
    operator_client: CountingClient, store: KubeStore, trial: FinetuneTrial, person: Person, namespace: str
) -> None:
    stranger = KubeStore(operator_client, namespaces=(namespace,))
    key = Key("FinetuneTrial", namespace, trial.name)
    await store.delete_trial(trial)
    broken = await person.get("FinetuneTrial", trial.name)
    broken["spec"]["baseModel"] = 7
    stranger.cache.put("FinetuneTrial", broken)
    assert await stranger.get_trial(key) is None
    assert await stranger.unreadable_trials(key.sibling("FinetuneSweep", SWEEP)) == (trial.name,)
    assert set(stranger.unfinished()) == {key}
    remains = await stranger.remains(key)
    assert remains is not None
    await stranger.let_go(remains)
    assert set(stranger.unfinished()) == set()
    with pytest.raises(NotFound):
        await person.get("FinetuneTrial", trial.name)
