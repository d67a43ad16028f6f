"""Deleted trials: what was bought is cancelled, or said to be in doubt."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.accounts import LANE_WIDTH
from finetune_operator.lifecycle.context import RELEASE_WITHIN_S
from finetune_operator.lifecycle.holding import FIRST_AGAIN_S, LONGEST_AGAIN_S, QUIET_S, SAY_AGAIN_S
from finetune_operator.lifecycle.trial_life import LANE_AGAIN_S
from finetune_operator.resources import TrialPhase
from finetune_providers.errors import (
    AmbiguousProviderError,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
)

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


async def test_deleted_trials_leave_workers_to_other_accounts_when_their_provider_hangs(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    (account,) = bench.context.accounts.watched()
    account.busy = LANE_WIDTH
    await _delete(bench)
    assert await bench.look(bench.trial_key()) == LANE_AGAIN_S
    assert bench.company.cancelled == []
    account.busy = 0
    assert await bench.look(bench.trial_key()) is None
    assert bench.company.cancelled == ["job-1"]


async def _trains(make_bench: MakeBench, **changes: Any) -> Bench:
    bench = await make_bench(**{**ONE, **changes})
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    return bench


async def test_a_job_that_nobody_can_cancel_holds_its_trial_and_says_how_to_go_on(
    make_bench: MakeBench,
) -> None:
    bench = await _trains(make_bench)
    bench.forget_accounts()
    _forget_the_provider(bench)
    await _delete(bench)
    for _ in range(3):
        assert await bench.look(bench.trial_key()) is not None
    status = (await bench.trial()).status
    assert status.reason == "ReleaseBlocked"
    for part in (
        "job job-1 at provider acme",
        "no FinetuneProvider 'acme'",
        "until 2026-11-25 12:00",
        "deletionPolicy: Orphan",
    ):
        assert part in str(status.message)
    assert bench.events("ReleaseBlocked") == [status.message]


@pytest.mark.parametrize(
    "fault",
    [TransientProviderError("no answer"), PermanentProviderError("403: the key may not cancel")],
    ids=["down", "refused"],
)
async def test_a_cancellation_that_fails_is_tried_until_it_succeeds(
    make_bench: MakeBench, fault: ProviderError
) -> None:
    bench = await _trains(make_bench)
    bench.company.cancel_fault = fault
    await _delete(bench)
    bench.later(QUIET_S + 1)
    for _ in range(3):
        assert await bench.look(bench.trial_key()) == FIRST_AGAIN_S
    bench.later(23 * 3600)
    assert await bench.look(bench.trial_key()) == LONGEST_AGAIN_S
    assert len(bench.events("ReleaseBlocked")) == 1
    bench.company.cancel_fault = None
    assert await bench.look(bench.trial_key()) is None
    assert bench.company.cancelled == ["job-1"]
    assert await bench.store.list_trials(bench.sweep_key) == ()


async def test_an_outage_of_a_moment_is_not_told(make_bench: MakeBench) -> None:
    bench = await _trains(make_bench)
    bench.company.cancel_fault = TransientProviderError("503")
    await _delete(bench)
    assert await bench.look(bench.trial_key()) == FIRST_AGAIN_S
    assert bench.events("ReleaseBlocked") == []
    assert (await bench.trial()).status.reason != "ReleaseBlocked"


async def test_messages_that_differ_at_each_call_are_not_written_at_each(make_bench: MakeBench) -> None:
    bench = await _trains(make_bench)
    await _delete(bench)
    versions = set()
    for number in range(4):
        bench.company.cancel_fault = PermanentProviderError(f"request {number} was refused")
        await bench.look(bench.trial_key())
        versions.add((await bench.trial()).metadata.resource_version)
    assert len(versions) == 1
    bench.later(SAY_AGAIN_S)
    await bench.look(bench.trial_key())
    assert "request 3" in str((await bench.trial()).status.message)
    assert len(bench.events("ReleaseBlocked")) == 1


async def test_a_trial_is_let_go_after_the_limit_and_its_job_is_named(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await _trains(make_bench)
    bench.company.cancel_fault = TransientProviderError("no answer", retry_after_s=7200.0)
    await _delete(bench)
    bench.later(QUIET_S + 1)
    assert await bench.look(bench.trial_key()) == 7200.0
    bench.later(RELEASE_WITHIN_S - 60)
    bench.forget_accounts()
    bench.context.said_held_at.clear()  # a restart
    assert await bench.look(bench.trial_key()) == 60.0
    assert bench.events("LetGo") == []
    bench.later(60)
    assert await bench.look(bench.trial_key()) is None
    (message,) = bench.events("LetGo")
    assert (
        "after 1 day, 0:00:00 although job job-1 at provider acme could not be ended and may go on" in message
    )
    assert message in caplog.text
    assert await bench.store.list_trials(bench.sweep_key) == ()


async def test_the_limit_counts_from_the_first_failure_not_from_a_deletion_that_nobody_was_there_to_see(
    make_bench: MakeBench,
) -> None:
    bench = await _trains(make_bench)
    bench.company.cancel_fault = TransientProviderError("no answer")
    await _delete(bench)
    bench.later(2 * RELEASE_WITHIN_S)
    assert await bench.look(bench.trial_key()) == FIRST_AGAIN_S
    bench.company.cancel_fault = None
    await bench.look(bench.trial_key())
    assert bench.company.cancelled == ["job-1"]


async def test_a_trial_whose_job_has_ended_waits_for_no_provider(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()

    async def evaluates() -> bool:
        return (await bench.trial()).phase is TrialPhase.EVALUATING

    await bench.until(bench.trial_key(), evaluates)
    bench.forget_accounts()
    _forget_the_provider(bench)
    await _delete(bench)
    assert await bench.look(bench.trial_key()) is None
    assert await bench.store.list_trials(bench.sweep_key) == ()
    assert bench.company.cancelled == []
    assert bench.events("Released") == ["the trial is deleted: its job had ended"]


async def test_a_deployment_that_cannot_be_deleted_is_named_when_its_trial_is_let_go(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE, deletionPolicy="Orphan")
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=True)
    bench.company.deploy_looks = 10_000
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: bench.company.deployments)
    (name,) = bench.company.deployments
    bench.company.undeploy_fault = PermanentProviderError("403")
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    await bench.look(bench.trial_key())
    bench.later(RELEASE_WITHIN_S)
    await bench.look(bench.trial_key())
    (message,) = bench.events("LetGo")
    assert f"deployment {name}, which may cost by the hour," in message
    assert "job-1" not in message
    await bench.look(bench.sweep_key)
    assert await bench.store.get_sweep(bench.sweep_key) is None


async def test_a_deleted_sweep_says_which_trials_it_waits_for_and_why(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 2, "parallelTrials": 2})
    bench.company.hold = True
    await bench.launched()
    for index in range(2):
        await bench.training(index)
    bench.company.cancel_fault = PermanentProviderError("403: the key may not cancel")
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    for index in range(2):
        await bench.look(bench.trial_key(index))
    await bench.look(bench.sweep_key)
    ready = bench.store.sweep.status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "Deleting")
    assert "2 trials (intents-0, intents-1) may hold at providers" in ready.message
    assert "403: the key may not cancel" in ready.message
    version = bench.store.sweep.metadata.resource_version
    await bench.look(bench.sweep_key)
    assert bench.store.sweep.metadata.resource_version == version


async def test_a_sweep_that_is_being_deleted_may_still_be_told_to_leave_its_jobs_alone(
    make_bench: MakeBench,
) -> None:
    bench = await _trains(make_bench)
    bench.company.cancel_fault = TransientProviderError("no answer")
    bench.delete_sweep()
    await bench.look(bench.sweep_key)
    bench.later(QUIET_S + 1)
    await bench.look(bench.trial_key())
    bench.edit_sweep(deletion_policy="Orphan")
    await bench.look(bench.sweep_key)
    assert await bench.store.list_trials(bench.sweep_key) == ()
    assert await bench.store.get_sweep(bench.sweep_key) is None
    assert "goes on at the provider" in bench.events("Released")[0]


async def test_the_log_keeps_what_became_of_the_job_of_a_deleted_trial(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await _trains(make_bench)
    with caplog.at_level(logging.INFO):
        await _delete(bench)
        await bench.look(bench.trial_key())
    assert f"{bench.trial_key()} is deleted: cancelled {bench.company.cancelled[0]}" in caplog.messages


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


async def test_the_job_that_a_person_named_is_cancelled_though_the_trial_is_deleted_before_it_is_adopted(
    make_bench: MakeBench,
) -> None:
    bench = await _trains(make_bench)
    bench.company.capabilities = replace(bench.company.capabilities, finds_by_key=False)
    await bench.edit_trial(
        phase=TrialPhase.STALLED, reason="CreateOutcomeUnknown", create=bench.journal("Unknown")
    )
    await bench.annotate("1 adopt=job-1")
    await _delete(bench)
    await bench.look(bench.trial_key())
    assert bench.company.cancelled == ["job-1"]
