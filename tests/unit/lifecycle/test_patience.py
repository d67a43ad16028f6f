"""No model is asked, and paid by the hour, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.fakes.company import CompanyProvider
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.serving import CREATION_MAY_TAKE_S
from finetune_operator.lifecycle.store import NotFound
from finetune_operator.resources import TrialPhase
from finetune_operator.resources.trial import CancelRequest
from finetune_providers.base import Conversation, InferenceSession
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse

ONE = {"limits": {"maxTrials": 1}}
HOUR_S = 3600.0
OUTAGE = TransientProviderError("503 from the inference service")


async def evaluating_bench(make_bench: MakeBench, *, deployed: bool) -> Bench:
    """A bench whose one trial's model is being asked, for all that its provider does."""
    bench = await make_bench(**ONE)
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=deployed)
    await bench.launched()
    return bench


async def is_asked(bench: Bench) -> None:
    async def so() -> bool:
        status = (await bench.trial()).status
        served = status.serving is None or status.serving.state == "Active"
        return status.fine_tuned_model is not None and served and bench.trial_key() in bench.context.patience

    await bench.until(bench.trial_key(), so)


async def fails(bench: Bench) -> None:
    """The model is asked, and an outage ends that."""
    for _ in range(200):
        try:
            await bench.look(bench.trial_key())
        except TransientProviderError:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("no outage was met")


class Mute:
    batch_size = 1
    concurrency = 1

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()


@pytest.mark.parametrize(("deployed", "hours"), [(True, 1), (False, 24)])
async def test_an_outage_of_inference_ends_the_trial_after_its_time(
    make_bench: MakeBench, deployed: bool, hours: int
) -> None:
    bench = await evaluating_bench(make_bench, deployed=deployed)
    bench.company.inference_fault = OUTAGE
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    bench.later(hours * HOUR_S - 60)
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    assert not (await bench.trial()).terminal
    bench.later(120)
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "EvaluationTimedOut")
    assert f"no new answer for {hours} h" in str(trial.status.message)
    assert "503 from the inference service" in str(trial.status.message)
    assert bench.company.deployments == {}


async def test_a_deployed_model_that_never_answers_is_taken_down(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def inference(self: CompanyProvider, model: str) -> AsyncIterator[InferenceSession]:
        yield Mute()

    monkeypatch.setattr(CompanyProvider, "inference", inference)
    bench = await evaluating_bench(make_bench, deployed=True)
    await is_asked(bench)
    again = await bench.look(bench.trial_key())
    assert again is not None
    assert again <= 900.0
    bench.later(HOUR_S + 1)
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "EvaluationTimedOut")
    assert bench.company.deployments == {}
    assert bench.context.background.names() == () or ("evaluation", bench.trial_key()) not in (
        bench.context.background.names()
    )


async def test_new_answers_give_a_model_more_time_and_old_ones_do_not(make_bench: MakeBench) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.inference_fault = OUTAGE
    await is_asked(bench)
    bench.later(50 * 60)
    patience = bench.context.patience[bench.trial_key()]
    patience.answered(3, bench.now)
    assert patience.answered_at is None, "answers that were there before the first look are not new"
    patience.answered(4, bench.now)
    bench.later(50 * 60)
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    assert not (await bench.trial()).terminal
    bench.later(11 * 60)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "EvaluationTimedOut"


async def test_a_restart_knows_when_the_last_answer_came_and_tries_once_more(make_bench: MakeBench) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.inference_fault = OUTAGE
    await is_asked(bench)
    bench.later(30 * 60)
    patience = bench.context.patience[bench.trial_key()]
    patience.answered(1, bench.now)
    patience.answered(2, bench.now)
    await fails(bench)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.answered_at == bench.now
    bench.context.patience.clear()  # as after a restart
    bench.later(59 * 60)
    await fails(bench)
    bench.later(4 * 60)
    await fails(bench)
    assert not (await bench.trial()).terminal, "the first minutes after a restart are for one more try"
    bench.later(2 * 60)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "EvaluationTimedOut"


async def test_a_provider_that_asks_for_a_day_of_patience_does_not_get_it_for_a_deployed_model(
    make_bench: MakeBench,
) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.inference_fault = TransientProviderError("quota of a day", retry_after_s=86_400.0)
    with pytest.raises(TransientProviderError) as caught:
        await bench.evaluated()
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s <= HOUR_S


async def test_models_that_wait_for_their_turn_do_not_run_out_of_time(make_bench: MakeBench) -> None:
    bench = await evaluating_bench(make_bench, deployed=False)

    async def trained() -> bool:
        account = await bench.context.accounts.get("default", "acme")
        if not account.evaluations.locked():
            await account.evaluations.acquire()
            await account.evaluations.acquire()
        return (await bench.trial()).phase is TrialPhase.EVALUATING

    await bench.until(bench.trial_key(), trained)
    await bench.look(bench.trial_key())
    await asyncio.sleep(0.05)  # until the evaluation stands in line
    bench.later(100 * HOUR_S)
    await bench.look(bench.trial_key())
    assert not (await bench.trial()).terminal
    account = await bench.context.accounts.get("default", "acme")
    account.evaluations.release()
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_a_deployment_that_cannot_be_asked_about_is_given_up(make_bench: MakeBench) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.deploy_fault = TransientProviderError("500")
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    bench.later(CREATION_MAY_TAKE_S + 60)
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "DeploymentFailed")
    assert "500" in str(trial.status.message)


async def test_a_deployed_model_is_taken_down_though_its_sweep_cannot_be_checked(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.inference_fault = OUTAGE
    await is_asked(bench)

    async def check(self: CompanyProvider, base_models: object) -> None:
        raise TransientProviderError("no answer")

    monkeypatch.setattr(CompanyProvider, "check", check)
    bench.context.admissions.forget(bench.sweep_key)
    bench.later(HOUR_S + 60)
    await bench.look(bench.trial_key())
    assert (await bench.trial()).status.reason == "EvaluationTimedOut"
    assert bench.company.deployments == {}


async def test_a_model_of_a_refused_sweep_is_asked_again_once_a_person_has_mended_it(
    make_bench: MakeBench,
) -> None:
    bench = await evaluating_bench(make_bench, deployed=False)
    bench.company.inference_fault = OUTAGE
    await is_asked(bench)
    await fails(bench)
    bench.company.data_fault = PermanentProviderError("a line is too long", field="training")
    bench.context.admissions.forget(bench.sweep_key)

    async def refused() -> bool:
        accepted = bench.store.sweep.status.condition("Accepted")
        return accepted is not None and accepted.status == "False"

    await bench.until(bench.sweep_key, refused)
    await bench.look(bench.trial_key())
    bench.later(100 * HOUR_S)
    bench.company.inference_fault = bench.company.data_fault = None
    bench.context.admissions.forget(bench.sweep_key)
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_an_evaluation_that_its_sweep_s_end_does_not_wait_for_ends_with_what_was_wrong(
    make_bench: MakeBench,
) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.inference_fault = OUTAGE
    await is_asked(bench)
    await fails(bench)
    request = CancelRequest(reason="EvaluationTimedOut", message="the sweep ended (limits.maxDuration)")
    await bench.edit_trial(cancel=request)
    await bench.look(bench.trial_key())
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "EvaluationTimedOut")
    assert bench.company.deployments == {}


async def test_a_deployment_whose_answers_are_not_understood_is_given_up(make_bench: MakeBench) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.deploy_fault = UnexpectedResponse("the deployment has no state")
    with pytest.raises(UnexpectedResponse):
        await bench.evaluated()
    bench.later(CREATION_MAY_TAKE_S + 60)
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "DeploymentFailed")
    assert "has no state" in str(trial.status.message)


async def test_a_refused_model_is_taken_down_though_its_provider_s_resource_stays_away(
    make_bench: MakeBench,
) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.inference_fault = PermanentProviderError("the model does not load")
    await is_asked(bench)
    bench.store._contents.providers.remove("acme")
    with pytest.raises(NotFound):
        await bench.evaluated()
    assert not (await bench.trial()).terminal, "the provider may be back soon, with another key"
    bench.later(HOUR_S + 60)
    await bench.evaluated()
    trial = await bench.trial()
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "EvaluationFailed")
    assert "the model does not load" in str(trial.status.message)
    assert bench.company.deployments == {}


async def test_the_time_in_which_a_model_waited_for_its_turn_is_not_held_against_it(
    make_bench: MakeBench,
) -> None:
    bench = await evaluating_bench(make_bench, deployed=False)

    async def trained() -> bool:
        account = await bench.context.accounts.get("default", "acme")
        if not account.evaluations.locked():
            await account.evaluations.acquire()
            await account.evaluations.acquire()
        return (await bench.trial()).phase is TrialPhase.EVALUATING

    await bench.until(bench.trial_key(), trained)
    await bench.look(bench.trial_key())
    await asyncio.sleep(0.05)  # until the evaluation stands in line
    bench.later(100 * HOUR_S)
    bench.company.inference_fault = OUTAGE
    account = await bench.context.accounts.get("default", "acme")
    account.evaluations.release()
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    bench.later(HOUR_S)
    with pytest.raises(TransientProviderError):
        await bench.evaluated()
    bench.company.inference_fault = None
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_a_refused_deployment_is_taken_down_though_its_provider_s_resource_stays_away(
    make_bench: MakeBench,
) -> None:
    bench = await evaluating_bench(make_bench, deployed=True)
    bench.company.deploy_looks = 1_000_000

    async def asked_for() -> bool:
        return bool(bench.company.deployments)

    await bench.until(bench.trial_key(), asked_for)
    bench.company.deploy_fault = PermanentProviderError("this key is not valid")
    bench.store._contents.providers.remove("acme")
    with pytest.raises(NotFound):
        await bench.evaluated()
    bench.later(CREATION_MAY_TAKE_S + 60)
    await bench.evaluated()
    assert (await bench.trial()).status.reason == "DeploymentRefused"
    assert bench.company.deployments == {}
