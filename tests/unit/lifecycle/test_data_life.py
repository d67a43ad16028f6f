"""Datasets at providers: uploaded once, deleted at the end, and never a reason to lose a result."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.contract.patience import PATIENCE_S
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.admission import data_scope
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.data_life import PATIENCE_AFTER_END_S, PATIENCE_AT_DELETION_S
from finetune_operator.lifecycle.store import Key, Refused
from finetune_operator.lifecycle.trial_life import LANE_AGAIN_S
from finetune_operator.lifecycle.uploads import FAILURE_IS_NEWS_S, Uploads
from finetune_operator.resources import TrialPhase
from finetune_providers.base import DatasetFile
from finetune_providers.errors import NotReached, PermanentProviderError, TransientProviderError

ONE = {"limits": {"maxTrials": 1}}
THREE = {"limits": {"maxTrials": 3, "parallelTrials": 3}}


async def finished(bench: Bench) -> None:
    await bench.launched()
    await bench.evaluated()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)


async def ended(make_bench: MakeBench, **changes: Any) -> Bench:
    bench = await make_bench(**{**ONE, **changes})
    await finished(bench)
    return bench


async def test_what_was_uploaded_is_deleted_once_the_result_is_written(make_bench: MakeBench) -> None:
    bench = await ended(make_bench)
    assert set(bench.company.files) == {data_scope(bench.store.sweep)}
    assert bench.store.sweep.has_finalizer
    await bench.look(bench.sweep_key)
    assert bench.company.files == {}
    assert not bench.store.sweep.has_finalizer


async def test_a_person_may_keep_the_data(make_bench: MakeBench) -> None:
    bench = await ended(make_bench, keepData=True)
    await bench.look(bench.sweep_key)
    assert bench.company.files
    assert not bench.store.sweep.has_finalizer


async def test_a_provider_that_is_down_does_not_hold_the_result_up_and_is_asked_again(
    make_bench: MakeBench,
) -> None:
    bench = await ended(make_bench)
    bench.company.delete_data_fault = TransientProviderError("no answer")
    with pytest.raises(TransientProviderError):
        await bench.look(bench.sweep_key)
    assert bench.store.sweep.status.phase == "Succeeded"
    assert bench.store.sweep.has_finalizer
    bench.later(PATIENCE_AFTER_END_S + 60)
    await bench.look(bench.sweep_key)
    assert not bench.store.sweep.has_finalizer
    assert bench.events("DataNotDeleted")


async def test_data_that_must_not_be_deleted_is_told_of(make_bench: MakeBench) -> None:
    bench = await ended(make_bench)
    bench.company.delete_data_fault = PermanentProviderError("the key may not delete files")
    await bench.look(bench.sweep_key)
    assert not bench.store.sweep.has_finalizer
    (message,) = bench.events("DataNotDeleted")
    assert "the key may not delete files" in message
    assert data_scope(bench.store.sweep) in message


async def test_a_secret_that_must_not_be_read_does_not_hold_a_sweep_up(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await ended(make_bench)

    async def refuse(*_: object) -> None:
        raise Refused("secrets are forbidden")

    monkeypatch.setattr(bench.context.accounts, "get", refuse)
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert "secrets are forbidden" in bench.events("DataNotDeleted")[0]


async def test_a_deleted_sweep_takes_its_data_with_it_but_does_not_wait_for_ever(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    await bench.training()
    await bench.evaluated()
    bench.delete_sweep()
    bench.company.delete_data_fault = TransientProviderError("no answer")
    with pytest.raises(TransientProviderError):
        await bench.look(bench.sweep_key)
    bench.later(PATIENCE_AT_DELETION_S + 1)
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is None


async def test_data_of_trials_that_are_gone_before_their_sweep_is_deleted_too(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    assert bench.company.files
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    await bench.look(bench.trial_key())
    assert await bench.store.get_trial(bench.trial_key()) is None
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert not bench.company.files


async def test_a_restore_with_another_uid_uploads_under_the_old_name_and_deletes_all(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 2, "parallelTrials": 1})
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    before = data_scope(bench.store.sweep)
    assert set(bench.company.files) == {before}
    bench.restore_with_new_uids()
    assert data_scope(bench.store.sweep) != before
    bench.company.hold = False
    await bench.evaluated(0)
    await bench.until(bench.sweep_key, lambda: bench.store._contents.trials.get("intents-1"))
    assert (await bench.trial(1)).spec.data_scope == before
    await bench.evaluated(1)
    assert set(bench.company.files) == {before}
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    await bench.look(bench.sweep_key)
    assert bench.company.files == {}
    assert not bench.store.sweep.has_finalizer


async def test_trials_without_a_scope_of_their_own_upload_under_their_sweep_s(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 2, "parallelTrials": 1})
    await bench.launched()
    trial = await bench.trial()
    spec = trial.spec.model_copy(update={"data_scope": None})  # an earlier version made it
    bench.store._update(bench.store._contents.trials, trial, spec=spec)
    await bench.evaluated(0)
    assert set(bench.company.files) == {data_scope(bench.store.sweep)}
    await bench.until(bench.sweep_key, lambda: bench.store._contents.trials.get("intents-1"))
    assert (await bench.trial(1)).spec.data_scope == data_scope(bench.store.sweep)


async def test_data_is_deleted_under_every_name_that_trials_have(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    bench.restore_with_new_uids()
    bench.company.files[data_scope(bench.store.sweep)] = {"of an earlier version"}
    bench.delete_sweep()
    for _ in range(3):
        await bench.look(bench.sweep_key)
        await bench.look(bench.trial_key())
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert bench.company.files == {}, "the trials, which had the names, were gone before"


async def test_a_running_trial_takes_its_finalizer_up_again_unless_its_sweep_let_it_go(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE, deletionPolicy="Orphan")
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    await bench.store.remove_finalizer(await bench.trial())
    await bench.look(bench.trial_key())
    assert (await bench.trial()).has_finalizer
    bench.delete_sweep()
    await bench.store.remove_finalizer(await bench.trial())
    await bench.look(bench.trial_key())
    assert not (await bench.trial()).has_finalizer


async def test_jobs_that_go_on_without_their_sweep_keep_their_data(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE, deletionPolicy="Orphan")
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert bench.company.files


async def test_trials_that_begin_together_upload_once(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE, search={"method": "Grid"}, candidates=[GRID])
    bench.company.hold = True
    uploads: list[DatasetFile] = []
    bench.company.on_upload = uploads.append
    await bench.launched()
    for index in range(3):
        await bench.training(index)
    assert len(uploads) == 1


GRID = {
    "name": "small",
    "providerRef": {"name": "acme"},
    "baseModels": ["tiny-1"],
    "parameters": {"epochs": {"values": ["1", "2", "3"]}},
}


async def test_a_dataset_that_a_provider_would_refuse_is_told_of_before_anything_is_sent(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.data_fault = PermanentProviderError("needs at least 10 examples", field="training")
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.condition("Stalled"))
    accepted = bench.store.sweep.status.condition("Accepted")
    assert accepted is not None
    assert "spec.dataset.training" in accepted.message
    assert "at least 10 examples" in accepted.message
    assert not bench.company.files


async def test_a_provider_that_cannot_be_reached_is_waited_for_and_not_doubted(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.before = [NotReached("no such host")]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not bench.company.before)
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.PENDING, "ProviderNotReached")
    wait_s = await bench.look(bench.trial_key())
    assert wait_s is not None
    assert 10 < wait_s <= 15
    bench.later(16)
    await bench.training()
    (entry,) = {(await bench.trial()).status.create}
    assert entry is not None
    assert entry.attempt == 1
    assert len(bench.company.purchases) == 1


async def test_a_hanging_provider_leaves_workers_free_for_others(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 12, "parallelTrials": 12})
    await bench.launched()
    account = await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    gate = asyncio.Event()

    async def hang(_: str) -> tuple[()]:
        await gate.wait()
        return ()

    account.provider.find = hang  # type: ignore[method-assign]
    looks = [asyncio.ensure_future(bench.look(bench.trial_key(index))) for index in range(12)]
    done: set[Any] = set()
    async with asyncio.timeout(PATIENCE_S):
        while len(done) < 4:
            done, _ = await asyncio.wait(looks, timeout=0.05)
    assert all(each.result() == LANE_AGAIN_S for each in done)
    gate.set()
    await asyncio.gather(*looks)


async def test_a_sweep_that_is_deleted_while_its_trials_train_takes_its_data_with_it(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    assert bench.company.files
    bench.delete_sweep()
    for _ in range(3):
        await bench.look(bench.sweep_key)
        await bench.look(bench.trial_key())
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert bench.company.files == {}


class Slow:
    """An upload that arrives when the test lets it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.gate = asyncio.Event()
        self.calls = 0

    async def install(self) -> None:
        account = await self.bench.context.accounts.get(self.bench.sweep_key.namespace, "acme")
        upload = account.provider.upload

        async def slow(dataset: DatasetFile, *, base_model: str) -> str:
            self.calls += 1
            await self.gate.wait()
            return await upload(dataset, base_model=base_model)

        account.provider.upload = slow  # type: ignore[method-assign]

    async def begun(self) -> None:
        async def so() -> bool:
            return self.calls > 0

        await self.bench.until(self.bench.trial_key(), so)


async def test_an_upload_that_goes_on_when_its_sweep_is_deleted_leaves_nothing_behind(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    slow = Slow(bench)
    await slow.install()
    await slow.begun()
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    await bench.look(bench.trial_key())
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is not None
    bench.told.clear()
    slow.gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.sweep_key in bench.told
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert bench.company.files == {}


async def test_an_upload_that_nobody_took_is_not_believed_in_after_the_data_was_deleted(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 1, "maxDuration": "1h"})
    await bench.launched()
    await bench.look(bench.trial_key())  # it begins to upload
    await asyncio.sleep(0.01)
    assert bench.company.files
    bench.later(3601)
    await bench.look(bench.sweep_key)  # the trial is cancelled
    await bench.evaluated()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    await bench.look(bench.sweep_key)
    assert bench.company.files == {}
    assert not bench.store.sweep.has_finalizer
    limits = bench.store.sweep.spec.limits
    bench.edit_sweep(limits=limits.model_copy(update={"max_trials": 2, "max_duration": None}))
    await bench.until(bench.sweep_key, lambda: bench.store._contents.trials.get("intents-1"))
    await bench.training(1)
    assert bench.company.files, "its job was given a file that is not there any more"


async def test_an_upload_to_an_account_that_was_replaced_meanwhile_is_made_again(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    slow = Slow(bench)
    await slow.install()
    await slow.begun()
    uploads: list[DatasetFile] = []
    bench.company.on_upload = uploads.append
    bench.edit_provider(region="us-west-2")
    await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    slow.gate.set()
    await bench.training()
    assert len(uploads) == 2


async def test_a_refusal_by_an_account_that_was_replaced_meanwhile_fails_no_trial(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    slow = Slow(bench)
    await slow.install()
    await slow.begun()
    bench.company.upload_fault = PermanentProviderError("the key was revoked")
    bench.edit_provider(region="us-west-2")
    await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    slow.gate.set()
    for _ in range(20):
        await asyncio.sleep(0)
    bench.company.upload_fault = None
    await bench.training()


async def test_an_upload_that_failed_is_told_to_all_that_wait_for_it(make_bench: MakeBench) -> None:
    bench = await make_bench(**THREE, search={"method": "Grid"}, candidates=[GRID])
    await bench.launched()
    slow = Slow(bench)
    await slow.install()
    await slow.begun()
    for index in (1, 2):
        await bench.look(bench.trial_key(index))
    bench.company.upload_fault = TransientProviderError("the bucket is away")
    slow.gate.set()
    await asyncio.sleep(0.01)
    for index in (2, 0, 1):
        with pytest.raises(TransientProviderError, match="the bucket is away"):
            await bench.look(bench.trial_key(index))
    assert slow.calls == 1
    bench.company.upload_fault = None
    await bench.training(1)
    assert slow.calls == 2


async def test_a_failed_upload_is_old_news_for_who_comes_later(make_bench: MakeBench) -> None:
    told: list[Key] = []
    now = 0.0
    background = BackgroundWork()
    uploads = Uploads(background, enqueue=told.append, clock=lambda: now)
    bench = await make_bench(**THREE)
    await bench.launched()
    account = await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    dataset = DatasetFile(bench.state / "x.jsonl", "0" * 64, 1, "fts-0")

    def asked(index: int) -> str | None:
        waiter = bench.trial_key(index)
        return uploads.reference(account, "default", dataset, base_model="tiny-1", waiter=waiter)

    bench.company.upload_fault = PermanentProviderError("the file has too few examples")
    assert asked(0) is None
    assert asked(1) is None
    await asyncio.sleep(0.01)
    assert sorted(told) == [bench.trial_key(0), bench.trial_key(1)]
    with pytest.raises(PermanentProviderError):
        asked(0)
    now = FAILURE_IS_NEWS_S + 1.0
    bench.company.upload_fault = None
    assert asked(1) is None, "it may have been mended since: it is tried again"
    await asyncio.sleep(0.01)
    assert asked(1) is not None
    await background.close()
