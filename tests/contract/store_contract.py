"""What every store promises; a store's tests inherit all of it and say only how the store is made.

A subclass gives four fixtures:

- `namespace`: the namespace of the store's objects.
- `store`: a store that holds exactly `MANIFESTS`, ready to use.
- `edit_max_trials`: changes `spec.limits.maxTrials` of a sweep as a person would and returns a store that
  sees it (the same one, or a new one where the change needs that).
- `new_sweep`, for StoreOfManySweepsContract only: makes one more sweep like `MANIFESTS`' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.contract.patience import PATIENCE_S

from finetune_operator.lifecycle.store import (
    AlreadyExists,
    Conflict,
    Key,
    NotFound,
    Refused,
    Store,
)
from finetune_operator.resources import (
    API_VERSION,
    FINALIZER,
    BestTrial,
    Condition,
    CreateJournal,
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    ObjectMeta,
    SweepStatus,
    TrialPhase,
    TrialSpec,
    TrialStatus,
)
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.provider import ProviderStatus
from finetune_operator.resources.sweep import SweepCost, TrialCounts
from finetune_operator.resources.trial import SeriesPoint

EditMaxTrials = Callable[[FinetuneSweep, int], Awaitable[Store]]
NewSweep = Callable[[str], Awaitable[FinetuneSweep]]

SWEEP = "support"
PROVIDER = "local"
SECRET = "local-credentials"
SECRET_VALUES = {"token": "s3cret: value", "region": "eu"}
CONFIG_MAP = "support-data"
CONFIG_MAP_DATA = {"train.jsonl": '{"messages": []}\n', "README": "Training data"}

SWEEP_MANIFEST: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "FinetuneSweep",
    "metadata": {"name": SWEEP},
    "spec": {
        "objective": {"metric": "accuracy", "goal": 0.95},
        "dataset": {
            "training": {"configMapRef": {"name": CONFIG_MAP, "key": "train.jsonl"}},
            "evaluation": {"configMapRef": {"name": CONFIG_MAP, "key": "train.jsonl"}},
        },
        "candidates": [
            {
                "name": "small",
                "providerRef": {"name": PROVIDER},
                "baseModels": ["smollm2-135m", "smollm2-360m"],
                "parameters": {
                    "epochs": {"int": {"min": 1, "max": 4}},
                    "learningRate": {"logUniform": {"min": 1e-5, "max": 1e-3}},
                },
            }
        ],
        "limits": {"maxTrials": 12, "budget": {"maxCost": "20.00", "currency": "USD"}},
        "output": {"configMap": "support-model"},
    },
}
MANIFESTS: tuple[dict[str, Any], ...] = (
    SWEEP_MANIFEST,
    {
        "apiVersion": API_VERSION,
        "kind": "FinetuneProvider",
        "metadata": {"name": PROVIDER},
        "spec": {"type": "Local", "credentialsSecretRef": {"name": SECRET}},
    },
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": SECRET_VALUES},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": CONFIG_MAP_DATA},
)


def a_trial(index: int, *, namespace: str, sweep: str = SWEEP) -> FinetuneTrial:
    """A trial that is not in any store yet."""
    return FinetuneTrial(
        api_version=API_VERSION,
        metadata=ObjectMeta(name=f"{sweep}-{index}", namespace=namespace),
        spec=TrialSpec(
            sweep_ref=NameRef(name=sweep),
            index=index,
            candidate="small",
            provider_ref=NameRef(name=PROVIDER),
            base_model="smollm2-135m",
            hyperparameters={"epochs": 2, "learningRate": 1e-5, "batchSize": "8"},
            run_key=f"key-{sweep}-{index}",
            estimated_cost=Decimal("1.50"),
        ),
    )


def key_of(resource: FinetuneSweep | FinetuneTrial | FinetuneProvider) -> Key:
    """The key of an object of a store."""
    assert resource.metadata.namespace is not None
    return Key(resource.kind, resource.metadata.namespace, resource.name)


class Recorder:
    """A listener that remembers the keys and can wait for one."""

    def __init__(self) -> None:
        self._seen: list[Key] = []
        self._changed = asyncio.Event()

    def __call__(self, key: Key) -> None:
        self._seen.append(key)
        self._changed.set()

    async def told_of(
        self,
        *keys: Key,
    ) -> None:
        """Wait until all the keys were heard, then forget all."""
        async with asyncio.timeout(PATIENCE_S):
            while not set(keys) <= set(self._seen):
                self._changed.clear()
                await self._changed.wait()
        self._seen.clear()


class StoreContract:
    """What the lifecycle relies on."""

    @pytest.fixture
    def sweep_key(self, namespace: str) -> Key:
        return Key("FinetuneSweep", namespace, SWEEP)

    @pytest.fixture
    async def sweep(self, store: Store, sweep_key: Key) -> FinetuneSweep:
        sweep = await store.get_sweep(sweep_key)
        assert sweep is not None
        return sweep

    @pytest.fixture
    async def trial(self, store: Store, sweep: FinetuneSweep, namespace: str) -> FinetuneTrial:
        return await store.create_trial(a_trial(0, namespace=namespace), owner=sweep)

    async def test_a_new_sweep_has_been_seen_by_nobody(self, sweep: FinetuneSweep, namespace: str) -> None:
        assert (sweep.name, sweep.metadata.namespace) == (SWEEP, namespace)
        assert sweep.metadata.generation == 1
        assert sweep.status.observed_generation == -1
        assert sweep.metadata.uid
        assert sweep.metadata.resource_version
        assert sweep.metadata.creation_timestamp is not None
        assert not sweep.deleting
        assert not sweep.has_finalizer

    async def test_what_is_not_there_is_none(self, store: Store, namespace: str) -> None:
        assert await store.get_sweep(Key("FinetuneSweep", namespace, "other")) is None
        assert await store.get_trial(Key("FinetuneTrial", namespace, f"{SWEEP}-7")) is None
        assert await store.get_provider(Key("FinetuneProvider", namespace, "other")) is None
        assert await store.get_sweep(Key("FinetuneSweep", "elsewhere", SWEEP)) is None

    async def test_a_provider_is_read(self, store: Store, namespace: str) -> None:
        provider = await store.get_provider(Key("FinetuneProvider", namespace, PROVIDER))
        assert provider is not None
        assert provider.spec.type == "Local"
        assert provider.status.observed_generation == -1

    async def test_secrets_and_config_maps_are_read_as_text(self, store: Store, namespace: str) -> None:
        assert await store.get_secret(namespace, SECRET) == SECRET_VALUES
        assert await store.get_config_map(namespace, CONFIG_MAP) == CONFIG_MAP_DATA

    async def test_a_missing_secret_is_named(self, store: Store, namespace: str) -> None:
        with pytest.raises(NotFound, match="no-such-secret"):
            await store.get_secret(namespace, "no-such-secret")

    async def test_a_missing_config_map_is_named(self, store: Store, namespace: str) -> None:
        with pytest.raises(NotFound, match="no-such-map"):
            await store.get_config_map(namespace, "no-such-map")

    async def test_a_created_trial_belongs_to_its_sweep(
        self, store: Store, sweep: FinetuneSweep, namespace: str
    ) -> None:
        wanted = a_trial(0, namespace=namespace)
        created = await store.create_trial(wanted, owner=sweep)
        assert created.spec == wanted.spec
        assert created.metadata.finalizers == (FINALIZER,)
        assert created.metadata.generation == 1
        assert created.status.observed_generation == -1
        owners = [(owner.kind, owner.name, owner.uid) for owner in created.metadata.owner_references or ()]
        assert owners == [("FinetuneSweep", SWEEP, sweep.metadata.uid)]
        assert await store.get_trial(key_of(created)) == created

    async def test_a_trials_name_is_the_lock(
        self, store: Store, sweep: FinetuneSweep, trial: FinetuneTrial
    ) -> None:
        rival = trial.model_copy(update={"spec": trial.spec.model_copy(update={"run_key": "key-of-a-rival"})})
        with pytest.raises(AlreadyExists, match=trial.name):
            await store.create_trial(rival, owner=sweep)
        assert await store.get_trial(key_of(trial)) == trial

    async def test_a_status_comes_back_as_it_was_written(self, store: Store, trial: FinetuneTrial) -> None:
        moment = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
        status = TrialStatus(
            observed_generation=1,
            phase=TrialPhase.TRAINING,
            message="step 10: loss 1e-05",
            create=CreateJournal(state="Succeeded", key=trial.spec.run_key, external_id="1e5", at=moment),
            metrics={"trainingLoss": 1e-5, "accuracy": 1.0},
            series=(SeriesPoint(step=1, values={"trainingLoss": 2.5}),),
            cost=Decimal("1.50"),
            conditions=(
                Condition(type="Ready", status="False", reason="Training", last_transition_time=moment),
            ),
            started_at=moment,
        )
        written = await store.write_trial_status(trial, status)
        assert written.status == status
        assert written.spec == trial.spec
        assert written.metadata.generation == trial.metadata.generation
        assert written.metadata.resource_version != trial.metadata.resource_version
        assert await store.get_trial(key_of(trial)) == written

    async def test_a_stale_status_write_is_refused(self, store: Store, trial: FinetuneTrial) -> None:
        first = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.SUBMITTING))
        with pytest.raises(Conflict, match=trial.name):
            await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.CANCELLED))
        assert await store.get_trial(key_of(trial)) == first

    async def test_of_two_writers_who_saw_the_same_trial_one_wins(
        self, store: Store, trial: FinetuneTrial
    ) -> None:
        writes = [
            store.write_trial_status(trial, TrialStatus(phase=TrialPhase.SUBMITTING, message=writer))
            for writer in ("first", "second", "third")
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert sum(isinstance(result, FinetuneTrial) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 2

    async def test_an_unchanged_status_is_not_written(self, store: Store, trial: FinetuneTrial) -> None:
        status = TrialStatus(observed_generation=1, phase=TrialPhase.TRAINING)
        first = await store.write_trial_status(trial, status)
        again = await store.write_trial_status(first, status)
        assert again.metadata.resource_version == first.metadata.resource_version

    async def test_a_status_is_replaced_not_merged(self, store: Store, trial: FinetuneTrial) -> None:
        full = TrialStatus(
            phase=TrialPhase.TRAINING, message="waiting", metrics={"trainingLoss": 2.0}, score=0.5
        )
        written = await store.write_trial_status(trial, full)
        bare = await store.write_trial_status(written, TrialStatus(phase=TrialPhase.EVALUATING))
        assert bare.status == TrialStatus(phase=TrialPhase.EVALUATING)
        assert await store.get_trial(key_of(trial)) == bare

    async def test_a_status_of_a_trial_that_is_gone_is_not_written(
        self, store: Store, trial: FinetuneTrial
    ) -> None:
        await store.remove_finalizer(trial)
        await store.delete_trial(trial)
        with pytest.raises(NotFound, match=trial.name):
            await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))

    async def test_trials_are_listed_in_order_of_their_index(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key, namespace: str
    ) -> None:
        for index in (10, 2, 0, 1):
            await store.create_trial(a_trial(index, namespace=namespace), owner=sweep)
        listed = await store.list_trials(sweep_key)
        assert [trial.spec.index for trial in listed] == [0, 1, 2, 10]
        assert await store.unreadable_trials(sweep_key) == ()

    async def test_a_listed_trial_is_the_one_that_was_written(
        self, store: Store, sweep_key: Key, trial: FinetuneTrial
    ) -> None:
        written = await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))
        assert await store.list_trials(sweep_key) == (written,)

    async def test_an_annotation_is_added_to_the_others(self, store: Store, trial: FinetuneTrial) -> None:
        first = await store.annotate_trial(trial, {"example.org/a": "1"})
        second = await store.annotate_trial(first, {"example.org/b": "2"})
        assert second.metadata.annotations == {"example.org/a": "1", "example.org/b": "2"}
        assert (second.spec, second.status) == (trial.spec, trial.status)
        assert await store.get_trial(key_of(second)) == second

    async def test_an_annotation_is_not_added_to_what_changed_since(
        self, store: Store, trial: FinetuneTrial
    ) -> None:
        await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))
        with pytest.raises(Conflict):
            await store.annotate_trial(trial, {"example.org/a": "1"})

    async def test_a_finalizer_is_added_once(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key
    ) -> None:
        held = await store.add_finalizer(sweep)
        assert held.has_finalizer
        assert await store.get_sweep(sweep_key) == held
        again = await store.add_finalizer(held)
        assert again.metadata.resource_version == held.metadata.resource_version

    async def test_a_finalizer_is_not_added_to_what_changed_since(
        self, store: Store, sweep: FinetuneSweep
    ) -> None:
        await store.write_sweep_status(sweep, SweepStatus(phase="Searching"))
        with pytest.raises(Conflict):
            await store.add_finalizer(sweep)

    async def test_a_finalizer_is_removed_once(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key
    ) -> None:
        await store.remove_finalizer(await store.add_finalizer(sweep))
        freed = await store.get_sweep(sweep_key)
        assert freed is not None
        assert not freed.has_finalizer
        await store.remove_finalizer(freed)
        assert await store.get_sweep(sweep_key) == freed

    async def test_a_deleted_trial_stays_until_its_finalizer_is_gone(
        self, store: Store, sweep_key: Key, trial: FinetuneTrial
    ) -> None:
        await store.delete_trial(trial)
        doomed = await store.get_trial(key_of(trial))
        assert doomed is not None
        assert doomed.deleting
        assert await store.list_trials(sweep_key) == (doomed,)
        last_words = await store.write_trial_status(doomed, TrialStatus(phase=TrialPhase.CANCELLED))
        await store.remove_finalizer(last_words)
        assert await store.get_trial(key_of(trial)) is None
        assert await store.list_trials(sweep_key) == ()

    async def test_a_finalizer_of_a_trial_that_is_gone_needs_no_removal(
        self, store: Store, trial: FinetuneTrial
    ) -> None:
        await store.delete_trial(trial)
        doomed = await store.get_trial(key_of(trial))
        assert doomed is not None
        await store.remove_finalizer(doomed)
        await store.remove_finalizer(doomed)
        assert await store.get_trial(key_of(trial)) is None

    async def test_a_trial_is_deleted_once(self, store: Store, trial: FinetuneTrial) -> None:
        await store.delete_trial(trial)
        doomed = await store.get_trial(key_of(trial))
        await store.delete_trial(trial)
        assert await store.get_trial(key_of(trial)) == doomed

    async def test_a_trial_without_finalizer_is_gone_when_deleted(
        self, store: Store, trial: FinetuneTrial
    ) -> None:
        await store.remove_finalizer(trial)
        await store.delete_trial(trial)
        assert await store.get_trial(key_of(trial)) is None
        await store.delete_trial(trial)

    async def test_a_deleted_trials_successor_is_not_taken_for_it(
        self, store: Store, sweep: FinetuneSweep, trial: FinetuneTrial, namespace: str
    ) -> None:
        await store.remove_finalizer(trial)
        await store.delete_trial(trial)
        successor = await store.create_trial(a_trial(0, namespace=namespace), owner=sweep)
        assert successor.metadata.uid != trial.metadata.uid
        with pytest.raises(Conflict):
            await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))

    async def test_a_listener_is_told_of_a_trial_and_its_sweep(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key, namespace: str
    ) -> None:
        recorder = Recorder()
        store.subscribe(recorder)
        trial = await store.create_trial(a_trial(3, namespace=namespace), owner=sweep)
        await recorder.told_of(key_of(trial), sweep_key)
        await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))
        await recorder.told_of(key_of(trial), sweep_key)
        await store.delete_trial(trial)
        await recorder.told_of(key_of(trial), sweep_key)
        doomed = await store.get_trial(key_of(trial))
        assert doomed is not None
        await store.remove_finalizer(doomed)
        await recorder.told_of(key_of(trial), sweep_key)

    async def test_every_listener_is_told_of_a_sweep(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key
    ) -> None:
        recorders = (Recorder(), Recorder())
        for recorder in recorders:
            store.subscribe(recorder)
        await store.write_sweep_status(sweep, SweepStatus(phase="Searching"))
        for recorder in recorders:
            await recorder.told_of(sweep_key)

    async def test_a_sweeps_status_comes_back_as_it_was_written(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key
    ) -> None:
        status = SweepStatus(
            observed_generation=1,
            phase="Searching",
            trials=TrialCounts(total=3, running=1, done=2, succeeded=2),
            best=BestTrial(
                trial=f"{SWEEP}-1",
                candidate="small",
                provider=PROVIDER,
                base_model="smollm2-135m",
                score=0.8125,
                hyperparameters={"epochs": 2, "learningRate": 1e-5, "batchSize": "8"},
            ),
            cost=SweepCost(reserved=Decimal("1.50"), spent=Decimal("3.00")),
            last_index=2,
        )
        written = await store.write_sweep_status(sweep, status)
        assert written.status == status
        assert written.metadata.generation == 1
        assert await store.get_sweep(sweep_key) == written

    async def test_a_stale_write_of_a_sweeps_status_is_refused(
        self, store: Store, sweep: FinetuneSweep
    ) -> None:
        written = await store.write_sweep_status(sweep, SweepStatus(phase="Searching"))
        with pytest.raises(Conflict, match=SWEEP):
            await store.write_sweep_status(sweep, SweepStatus(phase="Failed"))
        same = await store.write_sweep_status(written, SweepStatus(phase="Searching"))
        assert same.metadata.resource_version == written.metadata.resource_version

    async def test_a_change_of_the_spec_is_a_new_generation(
        self, store: Store, sweep: FinetuneSweep, sweep_key: Key, edit_max_trials: EditMaxTrials
    ) -> None:
        await store.write_sweep_status(sweep, SweepStatus(observed_generation=1, phase="Searching"))
        edited = await (await edit_max_trials(sweep, 20)).get_sweep(sweep_key)
        assert edited is not None
        assert edited.spec.limits.max_trials == 20
        assert edited.metadata.generation == 2
        assert edited.metadata.uid == sweep.metadata.uid
        assert edited.status == SweepStatus(observed_generation=1, phase="Searching")

    async def test_a_providers_status_is_guarded_too(self, store: Store, namespace: str) -> None:
        key = Key("FinetuneProvider", namespace, PROVIDER)
        provider = await store.get_provider(key)
        assert provider is not None
        ready = Condition(type="Ready", status="True", reason="Checked", observed_generation=1)
        status = ProviderStatus(observed_generation=1, conditions=(ready,))
        await store.write_provider_status(provider, status)
        written = await store.get_provider(key)
        assert written is not None
        assert written.status == status
        with pytest.raises(Conflict, match=PROVIDER):
            await store.write_provider_status(provider, ProviderStatus(observed_generation=2))
        await store.write_provider_status(written, status)
        assert await store.get_provider(key) == written

    async def test_the_output_is_created_and_replaced(
        self, store: Store, sweep: FinetuneSweep, namespace: str
    ) -> None:
        await store.write_output(sweep, "support-model", {"model": "ft:1", "score": "0.8"})
        assert await store.get_config_map(namespace, "support-model") == {"model": "ft:1", "score": "0.8"}
        await store.write_output(sweep, "support-model", {"model": "ft:2"})
        assert await store.get_config_map(namespace, "support-model") == {"model": "ft:2"}

    async def test_somebody_elses_config_map_is_not_overwritten(
        self, store: Store, sweep: FinetuneSweep, namespace: str
    ) -> None:
        with pytest.raises(Refused, match=CONFIG_MAP):
            await store.write_output(sweep, CONFIG_MAP, {"model": "ft:1"})
        assert await store.get_config_map(namespace, CONFIG_MAP) == CONFIG_MAP_DATA

    async def test_a_sweep_takes_over_the_output_of_its_predecessor_of_the_same_name(
        self, store: Store, sweep: FinetuneSweep, namespace: str
    ) -> None:
        await store.write_output(sweep, "support-model", {"model": "ft:1", "score": "0.8"})
        again = sweep.model_copy(
            update={"metadata": sweep.metadata.model_copy(update={"uid": "another-uid"})}
        )
        await store.write_output(again, "support-model", {"model": "ft:2"})
        assert await store.get_config_map(namespace, "support-model") == {"model": "ft:2"}

    async def test_recording_an_event_changes_nothing(
        self, store: Store, sweep: FinetuneSweep, trial: FinetuneTrial
    ) -> None:
        await store.record_event(trial, "Submitted", "job 7 was created")
        await store.record_event(sweep, "BudgetReached", "20.00 USD are spent", warning=True)
        assert await store.get_trial(key_of(trial)) == trial


class StoreOfManySweepsContract:
    """What a store that holds several sweeps promises as well."""

    async def test_trials_of_two_sweeps_are_not_mixed(
        self, store: Store, namespace: str, new_sweep: NewSweep
    ) -> None:
        one, other = await new_sweep("one"), await new_sweep("one-0")
        first = await store.create_trial(a_trial(0, namespace=namespace, sweep="one"), owner=one)
        second = await store.create_trial(a_trial(0, namespace=namespace, sweep="one-0"), owner=other)
        assert await store.list_trials(key_of(one)) == (first,)
        assert await store.list_trials(key_of(other)) == (second,)

    async def test_an_output_of_another_sweep_is_not_overwritten(
        self, store: Store, namespace: str, new_sweep: NewSweep
    ) -> None:
        one, other = await new_sweep("one"), await new_sweep("other")
        await store.write_output(one, "the-model", {"model": "ft:1"})
        with pytest.raises(Refused, match="the-model"):
            await store.write_output(other, "the-model", {"model": "ft:2"})
        assert await store.get_config_map(namespace, "the-model") == {"model": "ft:1"}
