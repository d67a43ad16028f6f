"""Purchases, one line after another: nothing twice, nothing lost, nothing in a hurry."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.cli.session import Ending, ending_of
from finetune_operator.decisions import MEDIAN_STOPPED
from finetune_operator.lifecycle import transitions
from finetune_operator.lifecycle.doubt import adopt
from finetune_operator.lifecycle.purchase import PROBE_S
from finetune_operator.lifecycle.resolution import noted_attempts
from finetune_operator.lifecycle.store import NotFound, Refused, StoreUnavailable
from finetune_operator.lifecycle.trial_life import SUSPENDED_AGAIN_S
from finetune_operator.resources import FinetuneTrial, TrialPhase, TrialStatus
from finetune_operator.resources.trial import CancelRequest
from finetune_providers.base import JobRequest, JobSnapshot, JobState
from finetune_providers.errors import AmbiguousProviderError, PermanentProviderError, QuotaExceeded

ONE = {"limits": {"maxTrials": 1}}
TWO = {"limits": {"maxTrials": 2, "parallelTrials": 2}}


async def test_a_quota_is_not_asked_again_before_its_time(make_bench: MakeBench) -> None:
    bench = await make_bench(**TWO)
    bench.company.before = [QuotaExceeded("3 jobs at a time", retry_after_s=90.0) for _ in range(9)]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: len(bench.company.before) == 8)
    # The write of the refusal has the trial looked at again at once, as any write does.
    again = [await bench.look(bench.trial_key(index)) for index in (0, 1, 0, 1)]
    assert len(bench.company.before) == 8
    assert all(delay is not None and 80 < delay <= 90 for delay in again)
    bench.later(91)
    await bench.look(bench.trial_key())
    assert len(bench.company.before) == 7


async def test_a_quota_of_a_day_is_shown_with_the_moment_at_which_it_goes_on(make_bench: MakeBench) -> None:
    bench = await make_bench(**TWO)
    bench.company.hold = True
    bench.company.before = [QuotaExceeded("10 jobs a day", retry_after_s=86_400.0) for _ in range(2)]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: len(bench.company.before) == 1)

    async def both_say_so() -> bool:
        await bench.look(bench.trial_key(1))
        return (await bench.trial(1)).status.waits_until is not None

    await bench.until(bench.trial_key(), both_say_so)
    for index, why in enumerate(["QuotaExceeded", "WaitingForQuota"]):
        status = (await bench.trial(index)).status
        assert status.reason == why
        assert status.waits_until == bench.now + timedelta(days=1)
        assert "FinetuneProvider acme" in str(status.message)
        assert "10 jobs a day" in str(status.message)
        assert "2026-11-25 12:00:00 UTC" in str(status.message)
    await bench.look(bench.sweep_key)
    ready, stalled = (bench.store.sweep.status.condition(kind) for kind in ("Ready", "Stalled"))
    assert ready is not None
    assert (ready.status, ready.reason, stalled) == ("False", "WaitingForQuota", None)
    assert "FinetuneProvider acme" in ready.message
    assert "next try at 2026-11-25 12:00:00 UTC" in ready.message
    versions = [(await bench.trial(index)).metadata.resource_version for index in (0, 1)]
    assert [await bench.look(bench.trial_key(index)) for index in (0, 1)] == [86_400.0, 86_400.0]
    assert [(await bench.trial(index)).metadata.resource_version for index in (0, 1)] == versions

    bench.later(86_400)
    await bench.look(bench.trial_key())  # it is refused again
    assert len(bench.company.before) == 0
    assert (await bench.trial()).status.waits_until == bench.now + timedelta(days=1)
    assert len(bench.events("QuotaExceeded")) == 1, "an event for each try"
    assert len(bench.events("Submitting")) == 1, "an event for each try"
    bench.later(86_400)
    await bench.training()
    assert len(bench.events("Training")) == 1
    assert (await bench.trial()).status.waits_until is None


async def test_after_a_restart_one_trial_asks_a_full_quota_again_and_the_others_see(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**TWO)
    bench.company.before = [QuotaExceeded("10 jobs a day", retry_after_s=86_400.0) for _ in range(9)]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: len(bench.company.before) == 8)

    async def both_say_so() -> bool:
        await bench.look(bench.trial_key(1))
        return (await bench.trial(1)).status.waits_until is not None

    await bench.until(bench.trial_key(), both_say_so)
    others: list[float | None] = []

    async def submit(request: JobRequest) -> JobSnapshot:
        others.append(await bench.look(bench.trial_key(1)))
        raise QuotaExceeded("10 jobs a day", retry_after_s=86_400.0)

    bench.forget_accounts()
    bench.later(3600)
    account = await bench.context.accounts.get("default", "acme")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account.provider, "submit", submit)
        await bench.until(bench.trial_key(), lambda: others)
    assert others == [PROBE_S]
    assert [await bench.look(bench.trial_key(index)) for index in (0, 1)] == [86_400.0, 86_400.0]


async def test_a_quota_that_has_room_again_lets_the_others_go_on_at_once(make_bench: MakeBench) -> None:
    bench = await make_bench(**TWO)
    bench.company.hold = True
    bench.company.before = [QuotaExceeded("wait", retry_after_s=90.0)]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not bench.company.before)
    await bench.look(bench.trial_key(1))
    bench.later(90)
    await bench.training(0)
    await bench.training(1)
    assert len(bench.company.purchases) == 2


async def test_a_job_that_was_bought_after_a_quota_is_found_when_the_status_is_lost(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    bench.company.before = [QuotaExceeded("wait", retry_after_s=1.0)]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not bench.company.before)
    bench.later(2)
    await bench.training()
    trial = await bench.trial()
    await bench.store.write_trial_status(trial, type(trial.status)())  # a restore without statuses
    await bench.look(bench.trial_key())
    assert len(bench.company.purchases) == 1
    assert (await bench.trial()).phase is TrialPhase.TRAINING


async def test_a_refusal_of_the_second_call_says_nothing_of_the_first(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    company = bench.company
    company.capabilities = replace(company.capabilities, finds_by_key=False, idempotent_create=True)
    company.after = [AmbiguousProviderError("time-out")]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not company.after)
    company.before = [PermanentProviderError("the key was revoked")]
    bench.later(6)
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert trial.phase is TrialPhase.STALLED
    assert "the key was revoked" in str(trial.status.message)
    assert len(company.purchases) == 1


async def test_a_quota_that_refuses_the_second_call_leaves_the_first_in_doubt(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    company = bench.company
    company.capabilities = replace(company.capabilities, finds_by_key=False, idempotent_create=True)
    company.after = [AmbiguousProviderError("time-out")]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not company.after)
    company.before = [QuotaExceeded("one job at a time", retry_after_s=30.0)]
    bench.later(6)
    assert await bench.look(bench.trial_key()) == 30.0
    entry = (await bench.trial()).status.create
    assert entry is not None
    assert (entry.state, entry.attempt) == ("Unknown", 1)


async def test_an_outage_is_not_answered_with_a_stream_of_create_calls(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    company = bench.company
    company.capabilities = replace(company.capabilities, finds_by_key=False, idempotent_create=True)
    company.before = [AmbiguousProviderError(f"503, request {number}") for number in range(9)]
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: len(company.before) == 8)
    assert [await bench.look(bench.trial_key()) for _ in range(2)] == [5.0, 5.0]
    assert len(company.before) == 8
    bench.later(5)
    await bench.look(bench.trial_key())
    assert len(company.before) == 7


async def test_the_window_of_a_look_up_counts_from_the_end_of_the_call(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    company = bench.company
    company.capabilities = replace(company.capabilities, lookup_window_s=30.0)
    company.before = [AmbiguousProviderError("time-out after 60 s")]
    company.on_submit = lambda: bench.later(60)
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not company.before)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).phase is TrialPhase.SUBMITTING
    bench.later(31)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "NothingWasBought"


async def test_a_clock_that_jumped_ahead_makes_nobody_buy_early(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    company = bench.company
    company.capabilities = replace(company.capabilities, lookup_window_s=30.0)
    company.before = [AmbiguousProviderError("time-out")]
    company.hold = True
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: not company.before)
    await bench.look(bench.trial_key())
    bench.now += timedelta(hours=2)
    assert await bench.look(bench.trial_key()) == 5.0
    assert (await bench.trial()).phase is TrialPhase.SUBMITTING
    bench.monotonic += 29.0
    assert await bench.look(bench.trial_key()) == 1.0
    bench.monotonic += 1.0
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert trial.status.reason == "NothingWasBought"
    await bench.training()
    assert noted_attempts(await bench.trial()) == 2


async def test_a_process_that_finds_an_old_doubt_waits_itself_before_it_buys(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.capabilities = replace(bench.company.capabilities, lookup_window_s=30.0)
    await bench.launched()
    await bench.edit_trial(phase=TrialPhase.SUBMITTING, create=bench.journal("Pending"))
    bench.later(3600)
    bench.restart()

    async def looked() -> bool:
        return bool(bench.context.doubted)

    await bench.until(bench.trial_key(), looked)
    assert (await bench.trial()).phase is TrialPhase.SUBMITTING
    bench.later(30)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "NothingWasBought"


async def test_a_person_can_answer_although_the_status_with_the_journal_was_lost(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    trial = await bench.trial()
    bench.company.jobs["job-2"] = replace(bench.company.jobs["job-1"], job_id="job-2")
    await bench.store.write_trial_status(trial, type(trial.status)())
    await bench.look(bench.trial_key())
    assert (await bench.trial()).phase is TrialPhase.STALLED
    await bench.annotate("1 adopt=job-2")
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert trial.phase is TrialPhase.TRAINING
    assert trial.status.create is not None
    assert trial.status.create.external_id == "job-2"


async def test_a_job_of_another_trial_is_not_adopted(make_bench: MakeBench) -> None:
    # Its score would be told of other hyperparameters than it was trained with.
    bench = await make_bench(**TWO)
    bench.company.hold = True
    bench.company.capabilities = replace(bench.company.capabilities, finds_by_key=False)
    await bench.launched()
    await bench.training()
    bench.company.before = [AmbiguousProviderError("connection reset")]

    async def stalled() -> bool:
        return (await bench.trial(1)).phase is TrialPhase.STALLED

    await bench.until(bench.trial_key(1), stalled)
    await bench.annotate("1 adopt=job-1", 1)
    await bench.look(bench.trial_key(1))
    trial = await bench.trial(1)
    assert trial.phase is TrialPhase.STALLED
    assert "job-1, which was named, is that of trial intents-0" in (trial.status.message or "")
    await bench.look(bench.trial_key(1))
    assert await bench.trial(1) == trial, "what was said is not written again"
    await bench.annotate("1 retry", 1)
    await bench.training(1)


async def test_a_deleted_trial_s_answer_cancels_no_job_of_another_trial(make_bench: MakeBench) -> None:
    bench = await make_bench(**TWO)
    bench.company.hold = True
    bench.company.capabilities = replace(bench.company.capabilities, finds_by_key=False)
    await bench.launched()
    await bench.training()
    await bench.edit_trial(1, phase=TrialPhase.STALLED, create=bench.journal("Unknown"))
    await bench.annotate("1 adopt=job-1", 1)
    await bench.store.delete_trial(await bench.trial(1))
    await bench.look(bench.trial_key(1))
    assert await bench.store.get_trial(bench.trial_key(1)) is None
    assert bench.company.cancelled == []


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("Succeeded", TrialPhase.TRAINING),
        ("Pending", TrialPhase.SUBMITTING),
        ("Failed", TrialPhase.PENDING),
    ],
)
async def test_a_trial_whose_sweep_comes_back_goes_on_where_it_was(
    make_bench: MakeBench, state: Literal["Succeeded", "Pending", "Failed"], phase: TrialPhase
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    await bench.edit_trial(
        phase=TrialPhase.STALLED, reason="SweepMissing", message="gone", create=bench.journal(state)
    )
    await bench.look(bench.trial_key())
    assert (await bench.trial()).phase is phase


async def test_a_trial_of_a_suspended_sweep_is_not_bought(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    bench.edit_sweep(suspend=True)
    assert await bench.look(bench.trial_key()) == SUSPENDED_AGAIN_S
    assert not bench.company.purchases
    bench.edit_sweep(suspend=False)
    await bench.training()


async def test_nothing_is_bought_for_a_sweep_that_is_being_deleted(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    bench.delete_sweep()
    assert await bench.look(bench.trial_key()) is None
    assert not bench.company.purchases


async def test_a_trial_whose_finalizer_was_taken_away_gets_it_back_before_it_is_bought(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    await bench.store.remove_finalizer(await bench.trial())
    bench.company.hold = True
    await bench.training()
    assert (await bench.trial()).has_finalizer


async def test_a_dataset_that_the_provider_refuses_is_a_failed_trial(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    bench.company.upload_fault = PermanentProviderError("the file has too few examples")
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "UploadRefused")
    assert "too few examples" in str(trial.status.message)
    assert not trial.has_finalizer


async def test_a_suspended_sweep_with_a_trial_that_waits_to_be_bought_has_nothing_left_to_do(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    bench.edit_sweep(suspend=True)
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.phase == "Suspended")
    assert ending_of(bench.store.sweep, [await bench.trial()]) is Ending.SUSPENDED


async def test_the_id_of_a_bought_job_is_written_although_the_store_refuses_for_a_while(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    write, faults = bench.store.write_trial_status, [Refused("403: no permission"), StoreUnavailable("503")]

    async def moody(trial: FinetuneTrial, status: TrialStatus) -> FinetuneTrial:
        if status.phase is TrialPhase.TRAINING and faults:
            raise faults.pop(0)
        return await write(trial, status)

    monkeypatch.setattr(bench.store, "write_trial_status", moody)
    monkeypatch.setattr(transitions, "CRITICAL_RETRY_S", 0.0)
    await bench.training()
    assert not faults
    assert "job-1" in caplog.text


async def test_a_job_of_a_trial_that_is_gone_is_named(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    bench.company.on_submit = lambda: bench.store._contents.trials.remove("intents-0")
    with pytest.raises(NotFound, match="job-1"):
        await bench.training()


async def test_a_job_that_its_provider_does_not_show_yet_has_not_vanished(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    company = bench.company
    company.capabilities = replace(company.capabilities, lookup_window_s=600.0)
    company.hold = True
    await bench.launched()
    await bench.training()
    company.jobs.clear()
    await bench.until(bench.trial_key(), lambda: bench.context.accounts.watched()[0].watcher.gone("job-1"))
    assert await bench.look(bench.trial_key()) == 600.0
    assert (await bench.trial()).phase is TrialPhase.TRAINING
    bench.later(601)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "JobVanished"


@pytest.mark.parametrize(
    ("reason", "phase"),
    [("DeadlineExceeded", TrialPhase.CANCELLED), (MEDIAN_STOPPED, TrialPhase.EARLY_STOPPED)],
)
async def test_a_job_that_is_gone_once_its_cancellation_was_asked_for_is_no_failure(
    make_bench: MakeBench, reason: str, phase: TrialPhase
) -> None:
    # As where deleting is a provider's way of cancelling, and the operator's disk went with its pod.
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    await bench.edit_trial(cancel=CancelRequest(reason=reason, message="the sweep ended"))
    bench.company.jobs.clear()
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (phase, reason)
    assert "job-1 is no longer at the provider: the sweep ended" in (trial.status.message or "")


async def test_a_state_that_nobody_knows_counts_as_training_and_is_told_once(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    known = frozenset({"queued", "running", "succeeded"})
    bench.company.capabilities = replace(bench.company.capabilities, native_states=known)
    await bench.launched()
    await bench.training()
    (job_id,) = bench.company.jobs
    strange = replace(bench.company.jobs[job_id], state=JobState.RUNNING, native_state="pondering")
    bench.company.jobs[job_id] = strange
    await bench.until(bench.trial_key(), lambda: bench.events("UnknownJobState"))
    for _ in range(20):
        await bench.look(bench.trial_key())
    (message,) = bench.events("UnknownJobState")
    assert '"pondering"' in message
    assert (await bench.trial()).phase is TrialPhase.TRAINING
    bench.company.jobs[job_id] = replace(strange, native_state="running")
    bench.company.hold = False
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_the_id_of_a_bought_job_is_not_written_on_a_later_trial_of_the_same_name(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    earlier = await bench.trial()
    await bench.store.remove_finalizer(earlier)
    await bench.store.delete_trial(await bench.trial())
    later = await bench.store.create_trial(earlier, owner=bench.store.sweep)
    with pytest.raises(NotFound, match=r"it was to say: job job-1 trains"):
        await adopt(bench.context, earlier, "job-1", bench.journal("Pending"))
    assert await bench.trial() == later
