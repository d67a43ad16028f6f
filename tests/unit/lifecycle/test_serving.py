"""Models that answer only from machines: deployed once, deleted before the trial ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.contract.patience import PATIENCE_S
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.serving import CREATION_MAY_TAKE_S
from finetune_operator.resources import TrialPhase
from finetune_operator.resources.trial import CancelRequest
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    QuotaExceeded,
    TransientProviderError,
)

ONE = {"limits": {"maxTrials": 1}}
THREE = {"limits": {"maxTrials": 3, "parallelTrials": 3}}


async def serving_bench(make_bench: MakeBench, **changes: Any) -> Bench:
    bench = await make_bench(**{**ONE, **changes})
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=True)
    bench.company.deploy_looks = 2
    await bench.launched()
    return bench


async def deployed(bench: Bench, index: int = 0) -> None:
    async def so() -> bool:
        serving = (await bench.trial(index)).status.serving
        return serving is not None and serving.state in {"Pending", "Active"}

    await bench.until(bench.trial_key(index), so)


async def test_a_model_is_deployed_evaluated_and_its_deployment_deleted(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    await bench.evaluated()
    trial = await bench.trial()
    assert trial.phase is TrialPhase.SUCCEEDED
    assert trial.status.score == 0.75
    serving = trial.status.serving
    assert serving is not None
    assert (serving.name, serving.state) == (f"{trial.spec.run_key}-serve", "Deleted")
    assert set(bench.company.deployed) == {serving.name}
    assert bench.company.deployments == {}
    assert not trial.has_finalizer


async def test_the_deployment_is_journaled_before_it_is_asked_for_and_found_after_a_restart(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_fault = TransientProviderError("no answer")
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    serving = (await bench.trial()).status.serving
    assert serving is not None
    assert serving.state == "Pending"
    assert not bench.company.deployments
    bench.company.deploy_fault = None
    bench.forget_accounts()
    await bench.evaluated()
    assert set(bench.company.deployed) == {serving.name}
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_a_deployment_that_was_asked_for_while_another_operator_ended_the_trial_is_taken_back(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    await deployed(bench)
    trial = await bench.trial()
    assert trial.status.serving is not None
    ended = trial.status.model_copy(
        update={
            "phase": TrialPhase.SUCCEEDED,
            "score": 0.5,
            "serving": trial.status.serving.model_copy(update={"state": "Deleted"}),
        }
    )
    await bench.store.write_trial_status(trial, ended)
    assert bench.company.deployments
    await bench.look(bench.trial_key())
    assert bench.company.deployments == {}


async def test_deployments_that_came_late_are_deleted_before_the_sweep_is_let_go(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    await bench.evaluated()
    serving = (await bench.trial()).status.serving
    assert serving is not None
    bench.company.deployments[serving.name] = 1
    bench.company.undeploy_fault = TransientProviderError("no answer")
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    with pytest.raises(TransientProviderError):
        await bench.look(bench.sweep_key)
    assert (await bench.sweep()).has_finalizer
    bench.company.undeploy_fault = None
    await bench.look(bench.sweep_key)
    assert bench.company.deployments == {}
    assert not (await bench.sweep()).has_finalizer


async def test_no_trial_ends_while_its_deployment_cannot_be_deleted(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.undeploy_fault = TransientProviderError("no answer")
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    trial = await bench.trial()
    assert not trial.terminal
    assert trial.status.score == 0.75
    looks = len(bench.company.deployed)
    bench.company.undeploy_fault = None
    await (
        bench.context.background.close()
    )  # a restart: the evaluation's outcome is known from the status alone
    bench.forget_accounts()
    await bench.evaluated()
    ended = await bench.trial()
    assert (ended.phase, ended.status.score, ended.status.reason) == (TrialPhase.SUCCEEDED, 0.75, "Succeeded")
    assert bench.company.deployments == {}
    assert len(bench.company.deployed) == looks, "it was deployed again though its score was known"


async def test_a_refused_deployment_fails_the_trial(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_fault = PermanentProviderError("the region has no such machines")
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "DeploymentRefused")
    assert "no such machines" in str(trial.status.message)


async def test_a_deployment_beyond_a_quota_waits(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_fault = QuotaExceeded("10 deployments at a time", retry_after_s=33.0)
    await deployed(bench)
    assert await bench.look(bench.trial_key()) == 33.0
    bench.company.deploy_fault = None
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_a_deployment_that_never_becomes_active_is_deleted_and_fails_the_trial(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_looks = 10_000
    await deployed(bench)
    await bench.look(bench.trial_key())
    bench.later(CREATION_MAY_TAKE_S + 60)
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "DeploymentFailed")
    assert bench.company.deployments == {}


async def test_a_deleted_trial_takes_its_deployment_with_it(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench, deletionPolicy="Orphan")
    bench.company.deploy_looks = 10_000
    await deployed(bench)
    await bench.look(bench.trial_key())
    assert bench.company.deployments
    await bench.store.delete_trial(await bench.trial())
    bench.company.undeploy_fault = TransientProviderError("no answer")
    assert await bench.look(bench.trial_key()) is not None
    assert len(await bench.store.list_trials(bench.sweep_key)) == 1
    bench.company.undeploy_fault = None
    await bench.look(bench.trial_key())
    assert bench.company.deployments == {}
    assert await bench.store.list_trials(bench.sweep_key) == ()


async def test_a_deployment_that_nobody_can_delete_holds_its_trial(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_looks = 10_000
    await deployed(bench)
    bench.forget_accounts()
    bench.store._contents.providers.remove("acme")
    await bench.store.delete_trial(await bench.trial())
    assert await bench.look(bench.trial_key()) is not None
    message = str((await bench.trial()).status.message)
    assert "-serve, which may cost by the hour, at provider acme cannot be ended" in message
    assert "or delete the deployment at the provider's console" in message


async def _succeeds_though_its_cancellation_is_asked(bench: Bench) -> None:
    bench.company.hold = True
    await bench.training()
    await bench.edit_trial(cancel=CancelRequest(reason="GoalReached", message="the sweep ended"))
    bench.company.cancel_fault = TransientProviderError("too late")
    with pytest.raises(TransientProviderError):
        await bench.look(bench.trial_key())
    bench.company.jobs["job-1"] = bench.company._ended(bench.company.jobs["job-1"])

    async def seen() -> bool:
        try:
            await bench.look(bench.trial_key())
        except TransientProviderError:
            return False
        return (await bench.trial()).phase is not TrialPhase.TRAINING

    async with asyncio.timeout(PATIENCE_S):
        while not await seen():  # noqa: ASYNC110 (nobody here can set an event)
            await asyncio.sleep(0.005)
    await bench.evaluated()


async def test_a_model_that_the_search_no_longer_needs_is_not_put_on_machines(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    await _succeeds_though_its_cancellation_is_asked(bench)
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.CANCELLED, "GoalReached")
    assert bench.company.deployed == []
    assert trial.status.fine_tuned_model is not None
    assert f"its model {trial.status.fine_tuned_model} is not deployed" in str(trial.status.message)
    assert trial.status.cost is not None


async def test_a_model_that_needs_no_machines_is_evaluated_though_its_cancellation_was_asked(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(**ONE)
    await bench.launched()
    await _succeeds_though_its_cancellation_is_asked(bench)
    trial = await bench.trial()
    assert (trial.phase, trial.status.score) == (TrialPhase.SUCCEEDED, 0.75)


async def test_few_models_are_on_machines_at_once(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench, **THREE)
    bench.company.deploy_looks = 10_000
    for index in range(2):
        await deployed(bench, index)
    for _ in range(50):
        await bench.look(bench.trial_key(2))
    assert (await bench.trial(2)).status.serving is None
    bench.company.deploy_looks = 0
    await bench.evaluated(0)
    await bench.evaluated(2)


async def test_hours_on_machines_are_part_of_the_cost(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=True)
    bench.company.deploy_looks = 10_000
    bench.edit_price(serving_per_hour=Decimal("1.70"))
    await bench.launched()
    estimate = (await bench.trial()).spec.estimated_cost
    assert estimate is not None
    assert estimate >= Decimal("1.70")
    await deployed(bench)
    bench.later(2 * 3600)
    bench.company.deploy_looks = 0
    await bench.evaluated()
    status = (await bench.trial()).status
    assert status.serving_cost == Decimal("3.40")
    assert status.trained_tokens is not None
    # 1000.00 for a million trained tokens, as the bench's provider says.
    assert status.cost == Decimal(status.trained_tokens) / 1000 + Decimal("3.40")


async def test_a_budget_needs_the_price_of_serving_too(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE, limits__budget={"maxCost": "100.00"})
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=True)
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.condition("Stalled"))
    accepted = bench.store.sweep.status.condition("Accepted")
    assert accepted is not None
    assert "the price of serving tiny-1" in accepted.message


async def test_a_sweep_that_is_deleted_with_orphan_leaves_no_deployment_behind(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench, deletionPolicy="Orphan")
    bench.company.deploy_looks = 10_000
    await deployed(bench)
    await bench.look(bench.trial_key())
    assert bench.company.deployments
    bench.delete_sweep()
    for _ in range(3):
        await bench.look(bench.sweep_key)
        await bench.look(bench.trial_key())
    assert bench.company.deployments == {}
    assert bench.company.cancelled == []
    assert await bench.store.get_sweep(bench.sweep_key) is None


async def test_a_trial_whose_finalizer_was_taken_away_gets_it_back_before_its_model_is_deployed(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_looks = 10_000
    await bench.training()
    await bench.store.remove_finalizer(await bench.trial())
    await deployed(bench)
    assert (await bench.trial()).has_finalizer


async def test_nothing_is_deployed_for_a_sweep_that_is_being_deleted(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    await bench.training()

    async def evaluating() -> bool:
        return (await bench.trial()).phase is TrialPhase.EVALUATING

    await bench.until(bench.trial_key(), evaluating)
    assert (await bench.trial()).status.serving is None
    bench.delete_sweep()
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.serving is None
    assert bench.company.deployed == []


async def test_a_model_whose_score_is_known_is_taken_down_though_its_sweep_is_found_wanting(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    bench.company.undeploy_fault = TransientProviderError("no answer")
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    bench.company.undeploy_fault = None
    await refused(bench)
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED
    assert bench.company.deployments == {}


async def refused(bench: Bench) -> None:
    """The sweep's data cannot be had any more, and is checked again."""
    bench.store._contents.documents.config_maps["data"] = {}
    bench.context.admissions.forget(bench.sweep_key)
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.condition("Stalled"))


async def test_no_model_stays_on_machines_while_its_sweep_waits_for_a_person(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=True)
    bench.company.deploy_looks = 10_000
    bench.edit_price(serving_per_hour=Decimal("2.00"))
    await bench.launched()
    await deployed(bench)
    await bench.look(bench.trial_key())
    data = dict(bench.store._contents.documents.config_maps["data"])
    await refused(bench)
    await bench.look(bench.trial_key())
    assert bench.company.deployments, "what is mended soon need not be deployed again"
    bench.later(3600)
    await bench.look(bench.trial_key())
    waiting = await bench.trial()
    assert bench.company.deployments == {}
    assert (waiting.phase, waiting.status.serving) == (TrialPhase.EVALUATING, None)
    assert waiting.status.serving_cost == Decimal("2.00")
    bench.store._contents.documents.config_maps["data"] = data
    bench.context.admissions.forget(bench.sweep_key)
    await bench.until(bench.sweep_key, lambda: not bench.store.sweep.status.condition("Stalled"))
    await deployed(bench)
    bench.later(3600)
    bench.company.deploy_looks = 0
    await bench.evaluated()
    trial = await bench.trial()
    assert trial.phase is TrialPhase.SUCCEEDED
    assert trial.status.serving_cost == Decimal("4.00")
    assert trial.status.trained_tokens is not None
    assert trial.status.cost == Decimal(trial.status.trained_tokens) / 1000 + Decimal("4.00")


async def test_no_model_stays_on_machines_once_its_sweep_is_gone(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_looks = 10_000
    await deployed(bench)
    await bench.look(bench.trial_key())
    bench.store._contents.sweeps.remove("intents")
    await bench.look(bench.trial_key())
    await bench.look(bench.trial_key())
    assert bench.company.deployments == {}
    assert (await bench.trial()).status.reason == "SweepMissing"


async def test_a_model_is_taken_from_machines_though_its_provider_s_resource_is_gone(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_looks = 1
    await deployed(bench)
    await bench.look(bench.trial_key())
    assert bench.company.deployments
    bench.store._contents.providers.remove("acme")
    await bench.evaluated()
    assert bench.company.deployments == {}


async def test_models_on_machines_are_counted_after_a_restart_and_a_new_secret(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench, **THREE)
    bench.company.deploy_looks = 10_000
    for index in range(2):
        await deployed(bench, index)

    async def evaluating() -> bool:
        return (await bench.trial(2)).phase is TrialPhase.EVALUATING

    await bench.until(bench.trial_key(2), evaluating)
    bench.forget_accounts()
    for _ in range(5):
        await bench.look(bench.trial_key(2))
    assert (await bench.trial(2)).status.serving is None
    bench.edit_provider(region="us-west-2")
    for _ in range(5):
        await bench.look(bench.trial_key(2))
    assert (await bench.trial(2)).status.serving is None


async def test_trials_that_are_gone_keep_no_place_on_machines(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench, **THREE)
    bench.company.deploy_looks = 10_000
    for index in range(2):
        await deployed(bench, index)
        bench.store._contents.trials.remove(f"intents-{index}")  # a person took its finalizer away, too
        await bench.look(bench.trial_key(index))
    await deployed(bench, 2)


async def test_a_deployment_s_patience_does_not_count_from_an_earlier_trial_of_its_name(
    make_bench: MakeBench,
) -> None:
    bench = await serving_bench(make_bench)
    bench.company.deploy_looks = 10_000
    await deployed(bench)
    await bench.look(bench.trial_key())
    await bench.store.delete_trial(await bench.trial())
    await bench.look(bench.trial_key())
    assert await bench.store.list_trials(bench.sweep_key) == ()
    assert bench.context.deploying == {}


async def test_waiting_for_a_quota_of_deployments_is_told_of_and_costs_nothing(make_bench: MakeBench) -> None:
    bench = await make_bench(**ONE)
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=True)
    bench.edit_price(serving_per_hour=Decimal("2.00"))
    bench.company.deploy_fault = QuotaExceeded("0 model units are allowed", retry_after_s=33.0)
    await bench.launched()
    await deployed(bench)
    assert await bench.look(bench.trial_key()) == 33.0
    waiting = await bench.trial()
    assert (waiting.phase, waiting.status.reason) == (TrialPhase.EVALUATING, "QuotaExceeded")
    assert "0 model units are allowed" in str(waiting.status.message)
    version = waiting.metadata.resource_version
    assert await bench.look(bench.trial_key()) == 33.0
    assert (await bench.trial()).metadata.resource_version == version, "a write for each look"
    bench.later(5 * 3600)
    bench.company.deploy_fault = None
    bench.company.deploy_looks = 1
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "Deploying"
    bench.later(3600)
    await bench.evaluated()
    assert (await bench.trial()).status.serving_cost == Decimal("2.00")


async def test_a_deployment_that_went_away_while_it_answered_is_made_once_more(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.inference_fault = JobNotFound("the deployment is gone")
    await deployed(bench)

    async def told() -> bool:
        serving = (await bench.trial()).status.serving
        return serving is not None and serving.message is not None

    await bench.until(bench.trial_key(), told)
    bench.company.inference_fault = None
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.score) == (TrialPhase.SUCCEEDED, 0.75)
    assert bench.company.deployments == {}


async def test_a_deployment_that_goes_away_again_and_again_fails_the_trial(make_bench: MakeBench) -> None:
    bench = await serving_bench(make_bench)
    bench.company.inference_fault = JobNotFound("the deployment is gone")
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "EvaluationFailed")
    assert bench.company.deployments == {}
