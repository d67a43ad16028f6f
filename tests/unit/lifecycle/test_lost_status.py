"""Trials whose status was lost, as in a restore: what else is known of their purchases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.company import CompanyProvider
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.resolution import ATTEMPTS, attempts_of, noted_attempts
from finetune_operator.resources import TrialPhase
from finetune_operator.resources.trial import CancelRequest
from finetune_providers.base import JobSnapshot
from finetune_providers.errors import AmbiguousProviderError, PermanentProviderError, TransientProviderError

ONE = {"limits": {"maxTrials": 1}}


async def bought_at_the_second_attempt(make_bench: MakeBench, *, lookup: bool = True) -> Bench:
    """A trial whose first create call was in doubt, and of which a person said that nothing was bought."""
    bench = await make_bench(**ONE)
    company = bench.company
    company.hold = True
    company.capabilities = replace(company.capabilities, finds_by_key=lookup)
    company.before = [AmbiguousProviderError("connection reset")]
    await bench.launched()

    async def stalled() -> bool:
        return (await bench.trial()).phase is TrialPhase.STALLED

    await bench.until(bench.trial_key(), stalled)
    await bench.annotate("1 retry")
    await bench.training()
    assert [each.key[-3:] for each in company.purchases] == ["-a2"]
    return bench


async def several_looks(bench: Bench) -> None:
    for _ in range(4):
        await bench.look(bench.trial_key())


async def test_the_job_of_a_second_attempt_is_found_though_the_status_was_lost(make_bench: MakeBench) -> None:
    bench = await bought_at_the_second_attempt(make_bench)
    assert noted_attempts(await bench.trial()) == 2
    await bench.lose_status()
    await several_looks(bench)
    trial = await bench.trial()
    assert trial.phase is TrialPhase.TRAINING
    assert trial.status.create is not None
    assert (trial.status.create.attempt, trial.status.create.external_id) == (2, "job-1")
    assert len(bench.company.purchases) == 1


async def test_the_job_of_an_earlier_attempt_is_found_though_the_status_was_lost(
    make_bench: MakeBench,
) -> None:
    bench = await bought_at_the_second_attempt(make_bench)
    job = bench.company.jobs["job-1"]
    bench.company.jobs["job-1"] = replace(job, key=str(job.key).replace("-a2", "-a1"))
    await bench.lose_status()
    await several_looks(bench)
    assert (await bench.trial()).phase is TrialPhase.TRAINING
    assert len(bench.company.purchases) == 1


async def test_jobs_of_several_attempts_are_a_person_s_to_choose_from(make_bench: MakeBench) -> None:
    bench = await bought_at_the_second_attempt(make_bench)
    job = bench.company.jobs["job-1"]
    bench.company.jobs["job-2"] = replace(job, job_id="job-2", key=str(job.key).replace("-a2", "-a1"))
    await bench.lose_status()
    await several_looks(bench)
    trial = await bench.trial()
    assert trial.phase is TrialPhase.STALLED
    assert "job-1, job-2" in str(trial.status.message)


@pytest.mark.parametrize("lookup", [True, False], ids=["looks up", "cannot look up"])
async def test_a_second_attempt_that_left_no_trace_is_doubted_and_not_made_again(
    make_bench: MakeBench, lookup: bool
) -> None:
    bench = await bought_at_the_second_attempt(make_bench, lookup=lookup)
    bench.company.jobs.clear()  # no list shows it
    await bench.lose_status()
    await several_looks(bench)
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.STALLED, "CreateOutcomeUnknown")
    assert trial.status.create is not None
    assert trial.status.create.attempt == 2
    assert len(bench.company.purchases) == 1


async def test_a_person_s_retry_alone_tells_of_the_second_attempt(make_bench: MakeBench) -> None:
    bench = await bought_at_the_second_attempt(make_bench)
    trial = await bench.trial()
    annotations = {k: v for k, v in (trial.metadata.annotations or {}).items() if k != ATTEMPTS}
    metadata = trial.metadata.model_copy(update={"annotations": annotations})
    bench.store._update(bench.store._contents.trials, trial, metadata=metadata)
    await bench.lose_status()
    await several_looks(bench)
    assert (await bench.trial()).phase is TrialPhase.TRAINING
    assert len(bench.company.purchases) == 1


async def test_an_only_attempt_is_doubted_where_its_provider_cannot_look_it_up(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    bench.company.capabilities = replace(bench.company.capabilities, finds_by_key=False)
    await bench.launched()
    await bench.training()
    await bench.lose_status()
    await several_looks(bench)
    assert (await bench.trial()).phase is TrialPhase.STALLED
    assert len(bench.company.purchases) == 1


async def test_an_only_attempt_of_a_provider_that_looks_up_takes_no_further_write(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    assert (await bench.trial()).metadata.annotations is None


async def test_a_job_that_a_person_named_is_adopted_again(make_bench: MakeBench) -> None:
    bench = await bought_at_the_second_attempt(make_bench, lookup=False)
    await bench.annotate("2 adopt=job-1")
    await bench.lose_status()
    await several_looks(bench)
    trial = await bench.trial()
    assert trial.phase is TrialPhase.TRAINING
    assert trial.status.create is not None
    assert trial.status.create.external_id == "job-1"


async def test_a_job_that_a_list_shows_twice_is_one_job(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where another job is created while a list is read page by page.
    bench = await bought_at_the_second_attempt(make_bench)
    find = CompanyProvider.find

    async def twice(provider: CompanyProvider, key: str) -> tuple[JobSnapshot, ...]:
        return 2 * await find(provider, key)

    monkeypatch.setattr(CompanyProvider, "find", twice)
    await bench.lose_status()
    await several_looks(bench)
    trial = await bench.trial()
    assert trial.phase is TrialPhase.TRAINING
    assert trial.status.create is not None
    assert trial.status.create.external_id == "job-1"


async def test_a_trial_that_a_person_gave_up_is_not_taken_up_again(make_bench: MakeBench) -> None:
    bench = await bought_at_the_second_attempt(make_bench, lookup=False)
    await bench.annotate("2 abandon")
    await bench.lose_status()
    await several_looks(bench)
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "Abandoned")
    # What nobody denies was bought counts against the budget, as it does where the journal was not lost.
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.trials.failed == 1)
    cost = bench.store.sweep.status.cost
    assert cost is not None
    assert cost.spent == trial.spec.estimated_cost


async def test_the_job_of_a_second_attempt_is_cancelled_with_its_trial_though_the_status_was_lost(
    make_bench: MakeBench,
) -> None:
    bench = await bought_at_the_second_attempt(make_bench)
    await bench.lose_status()
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert bench.company.cancelled == ["job-1"]


async def test_a_job_that_a_person_named_is_cancelled_with_its_trial_though_the_status_was_lost(
    make_bench: MakeBench,
) -> None:
    bench = await bought_at_the_second_attempt(make_bench, lookup=False)
    await bench.annotate("2 adopt=job-1")
    await bench.lose_status()
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert bench.company.cancelled == ["job-1"]


async def test_a_deleted_trial_does_not_claim_that_a_second_attempt_bought_nothing(
    make_bench: MakeBench,
) -> None:
    bench = await bought_at_the_second_attempt(make_bench, lookup=False)
    await bench.lose_status()
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    (message,) = bench.events("Released")
    assert "nobody can say whether a job with key" in message
    assert "-a2" in message


async def test_a_deleted_trial_that_may_have_bought_waits_for_its_provider(make_bench: MakeBench) -> None:
    bench = await bought_at_the_second_attempt(make_bench)
    await bench.lose_status()
    bench.forget_accounts()
    bench.store._contents.providers.remove("acme")
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert trial.has_finalizer
    assert "-a2 or " in str(trial.status.message)


@pytest.mark.parametrize("text", ["", "0", "-1", "1000", "many", "2 "])
async def test_an_annotation_that_nobody_here_wrote_tells_of_no_attempt(
    make_bench: MakeBench, text: str
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    trial = await bench.store.annotate_trial(await bench.trial(), {ATTEMPTS: text})
    assert attempts_of(trial) == 0


async def served_without_a_status(make_bench: MakeBench, **changes: Any) -> Bench:
    """A trial whose model was deployed before its status was lost."""
    bench = await make_bench(**{**ONE, **changes})
    company = bench.company
    company.hold = True
    company.capabilities = replace(company.capabilities, needs_deployment=True)
    await bench.launched()
    await bench.training()
    company.deployments[f"{(await bench.trial()).spec.run_key}-serve"] = 1
    await bench.lose_status()
    return bench


@pytest.mark.parametrize("looks", [0, 4], ids=["at once", "once its job was found again"])
@pytest.mark.parametrize("policy", ["Cancel", "Orphan"])
async def test_a_deleted_trial_that_lost_its_status_leaves_no_deployment(
    make_bench: MakeBench, policy: str, looks: int
) -> None:
    bench = await served_without_a_status(make_bench, deletionPolicy=policy)
    for _ in range(looks):
        await bench.look(bench.trial_key())
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert bench.company.deployments == {}
    assert await bench.store.get_trial(bench.trial_key()) is None


async def test_a_deployment_that_must_not_be_deleted_is_told_of_and_holds_no_trial(
    make_bench: MakeBench,
) -> None:
    bench = await served_without_a_status(make_bench)
    bench.company.undeploy_fault = PermanentProviderError("the key may not delete deployments")
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert await bench.store.get_trial(bench.trial_key()) is None
    (message,) = bench.events("DeploymentNotDeleted")
    assert "-serve" in message
    assert "the key may not delete deployments" in message


async def test_a_job_is_cancelled_though_deployments_cannot_be_deleted_for_now(make_bench: MakeBench) -> None:
    bench = await served_without_a_status(make_bench)
    bench.company.undeploy_fault = TransientProviderError("no answer")
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert bench.company.cancelled == ["job-1"]
    assert (await bench.trial()).has_finalizer
    bench.company.undeploy_fault = None
    await bench.look(bench.trial_key())
    assert bench.company.deployments == {}
    assert await bench.store.get_trial(bench.trial_key()) is None


async def test_a_trial_whose_job_may_go_on_needs_no_provider_to_be_let_go(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE, deletionPolicy="Orphan")
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    bench.forget_accounts()
    bench.store._contents.providers.remove("acme")
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert await bench.store.get_trial(bench.trial_key()) is None


@pytest.mark.parametrize("second", [False, True], ids=["its only attempt", "its second attempt"])
async def test_the_job_of_a_cancelled_trial_is_cancelled_though_the_status_was_lost(
    make_bench: MakeBench, second: bool
) -> None:
    if second:
        bench = await bought_at_the_second_attempt(make_bench)
    else:
        bench = await make_bench(**ONE)
        bench.company.hold = True
        await bench.launched()
        await bench.training()
    await bench.lose_status()
    await bench.edit_trial(cancel=CancelRequest(reason="GoalReached", message="the goal is reached"))
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.CANCELLED
    assert bench.company.cancelled == ["job-1"]
