"""Deleted trials: what was bought is cancelled, or said to be in doubt."""

from __future__ import annotations

import json

import pytest
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.store import NotFound
from finetune_operator.resources import TrialPhase
from finetune_providers.errors import AmbiguousProviderError

ONE = {"limits": {"maxTrials": 1}}


async def _delete(bench: Bench) -> None:
    await bench.store.delete_trial(await bench.trial())


def _forget_the_provider(bench: Bench) -> None:
    bench.store._contents.providers.remove("acme")


async def test_a_job_is_cancelled_though_its_provider_was_deleted_first(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    _forget_the_provider(bench)
    await _delete(bench)
    await bench.look(bench.trial_key())
    assert bench.company.cancelled == ["job-1"]
    assert await bench.store.list_trials(bench.sweep_key) == ()


async def test_a_trial_that_only_met_a_quota_goes_without_its_provider(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    await bench.edit_trial(phase=TrialPhase.PENDING, create=bench.journal("Failed"))
    bench.forget_accounts()
    _forget_the_provider(bench)
    await _delete(bench)
    await bench.look(bench.trial_key())
    assert await bench.store.list_trials(bench.sweep_key) == ()


async def test_a_job_that_nobody_can_cancel_holds_its_trial_and_says_how_to_go_on(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    await bench.edit_trial(phase=TrialPhase.TRAINING, create=bench.journal("Succeeded"))
    bench.forget_accounts()
    _forget_the_provider(bench)
    await _delete(bench)
    with pytest.raises(NotFound, match="deletionPolicy: Orphan"):
        await bench.look(bench.trial_key())


async def test_a_released_trial_does_not_claim_that_nothing_was_bought_where_nobody_knows(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.before = [AmbiguousProviderError("connection reset")]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not bench.company.before)
    await bench.look(bench.trial_key())
    await _delete(bench)
    await bench.look(bench.trial_key())
    last = json.loads((bench.state / "events.jsonl").read_text().splitlines()[-1])
    assert last["reason"] == "Released"
    assert "nobody can say whether a job with key" in last["message"]
