"""A sweep's looks: what it waits for, what it forgets."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.contract.scenario_contract import GRID
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.context import CHECKS_SAID_AFTER_S
from finetune_operator.lifecycle.store import NotFound
from finetune_operator.lifecycle.sweep_life import OUTPUT_AGAIN_S
from finetune_operator.resources import FinetuneTrial, SweepStatus, TrialPhase
from finetune_operator.resources.common import NameRef, ObjectMeta
from finetune_operator.resources.trial import TrialSpec
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse


async def test_trials_of_an_earlier_sweep_of_the_name_are_not_taken_for_its_own(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    sweep = await bench.sweep()
    spec = TrialSpec(
        sweep_ref=NameRef(name=sweep.name),
        index=0,
        candidate="small",
        provider_ref=NameRef(name="acme"),
        base_model="tiny-1",
        hyperparameters={"epochs": 1},
        run_key="key-of-the-earlier-one",
    )
    earlier = sweep.model_copy(update={"metadata": sweep.metadata.model_copy(update={"uid": "earlier"})})
    trial = await bench.store.create_trial(
        FinetuneTrial(api_version=sweep.api_version, metadata=ObjectMeta(name=f"{sweep.name}-0"), spec=spec),
        owner=earlier,
    )
    trial = await bench.edit_trial(phase=TrialPhase.SUCCEEDED, score=1.0)

    async def told() -> bool:
        ready = (await bench.sweep()).status.condition("Ready")
        return ready is not None and ready.reason == "EarlierTrials"

    await bench.until(bench.sweep_key, told)
    assert (await bench.sweep()).status.best is None
    version = (await bench.sweep()).metadata.resource_version
    assert await bench.look(bench.sweep_key) is None
    assert (await bench.sweep()).metadata.resource_version == version
    await bench.store.remove_finalizer(trial)
    bench.told.clear()
    await bench.store.delete_trial(await bench.trial())
    assert bench.sweep_key in bench.told
    await bench.launched()
    assert (await bench.trial()).spec.run_key != "key-of-the-earlier-one"


async def test_a_refused_output_is_tried_again_until_a_person_has_mended_it(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 1}, output={"configMap": "model"})
    taken = bench.state / "output" / "model.yaml"
    taken.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: model}\n")
    await bench.launched()
    await bench.evaluated()

    async def refused() -> bool:
        ready = (await bench.sweep()).status.condition("Ready")
        return ready is not None and ready.reason == "OutputRefused"

    await bench.until(bench.sweep_key, refused)
    version = (await bench.sweep()).metadata.resource_version
    delays = [await bench.look(bench.sweep_key) for _ in range(4)]
    assert OUTPUT_AGAIN_S in delays
    assert (await bench.sweep()).metadata.resource_version == version
    taken.unlink()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    assert taken.exists()


async def test_a_finished_sweep_leaves_nothing_behind_in_memory(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    await bench.launched()
    await bench.evaluated()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    await bench.look(bench.sweep_key)
    await bench.look(bench.trial_key())
    assert bench.context.background.names() == ()
    assert bench.context.evaluating == {}


async def test_a_model_that_the_provider_will_not_delete_does_not_hold_the_end_up(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(
        limits={"maxTrials": 2, "parallelTrials": 2}, keepModels="Best", candidates=[GRID]
    )
    bench.company.quality = lambda request: request.hyperparameters["epochs"] / 8
    bench.company.delete_fault = PermanentProviderError("deletion needs the role of an owner")
    await bench.launched()
    await bench.evaluated(0)
    await bench.evaluated(1)
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    assert sorted([str((await bench.trial(n)).status.model_deleted) for n in (0, 1)]) == ["False", "None"]
    assert "role of an owner" in (bench.state / "events.jsonl").read_text()


async def _with_a_model_too_many(make_bench: MakeBench) -> Bench:
    """A sweep whose trials have ended, and whose provider cannot delete the model that is not the best."""
    bench = await make_bench(
        limits={"maxTrials": 2, "parallelTrials": 2}, keepModels="Best", candidates=[GRID]
    )
    bench.company.quality = lambda request: request.hyperparameters["epochs"] / 8
    bench.company.delete_fault = TransientProviderError("503, come again")
    await bench.launched()
    for index in (0, 1):
        await bench.evaluated(index)
    with pytest.raises(TransientProviderError):
        await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    return bench


async def test_what_cannot_be_deleted_at_the_end_is_said_and_how_to_let_go(make_bench: MakeBench) -> None:
    bench = await _with_a_model_too_many(make_bench)
    ready = bench.store.sweep.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "Retrying"
    assert "cannot be deleted and is tried again, later each time: 503, come again" in ready.message
    version = bench.store.sweep.metadata.resource_version
    bench.company.delete_fault = TransientProviderError("502 at half past")
    with pytest.raises(TransientProviderError):
        await bench.look(bench.sweep_key)
    assert bench.store.sweep.metadata.resource_version == version  # a write would be another try
    bench.forget_accounts()
    bench.store._contents.providers.remove("acme")
    with pytest.raises(NotFound, match=r"set spec\.keepModels: All"):
        await bench.look(bench.sweep_key)
    bench.edit_sweep(keep_models="All")
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    assert bench.store.sweep.status.phase == "Succeeded"


async def test_a_model_is_deleted_though_its_finetuneprovider_went_first(make_bench: MakeBench) -> None:
    bench = await _with_a_model_too_many(make_bench)
    bench.company.delete_fault = None
    bench.store._contents.providers.remove("acme")  # what is open still works
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    assert len(bench.company.deleted_models) == 1


@pytest.mark.parametrize("lost", [False, True], ids=["status", "status-lost"])
async def test_a_budget_in_another_currency_than_was_spent_is_refused(
    make_bench: MakeBench, lost: bool
) -> None:
    bench = await make_bench(limits__budget={"maxCost": "1000.00"})
    await bench.launched()
    await bench.look(bench.sweep_key)
    before = bench.store.sweep.status.cost
    assert before is not None
    assert before.reserved
    launched = await bench.store.list_trials(bench.sweep_key)
    bench.edit_price(currency="EUR")
    await bench.look(bench.provider_key)
    limits = bench.store.sweep.spec.limits
    budget = limits.budget
    assert budget is not None
    bench.edit_sweep(
        limits=limits.model_copy(update={"budget": budget.model_copy(update={"currency": "EUR"})})
    )
    if lost:
        await bench.store.write_sweep_status(bench.store.sweep, SweepStatus())
        bench.restart()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.condition("Stalled"))
    accepted = bench.store.sweep.status.condition("Accepted")
    assert accepted is not None
    assert "spec.limits.budget.currency" in accepted.message
    assert "counted in USD so far" in accepted.message
    assert bench.store.sweep.status.cost == (None if lost else before)
    assert await bench.store.list_trials(bench.sweep_key) == launched


async def test_a_trial_that_is_cancelled_for_the_budget_says_which_limit_was_exceeded(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits__budget={"maxCost": "1000.00", "atLimit": "CancelRunning"})
    bench.company.hold = True
    await bench.launched()
    limits = bench.store.sweep.spec.limits
    assert limits.budget is not None
    lowered = limits.budget.model_copy(update={"max_cost": Decimal("0.01")})
    bench.edit_sweep(limits=limits.model_copy(update={"budget": lowered}))

    async def asked() -> bool:
        return (await bench.trial()).status.cancel is not None

    await bench.until(bench.sweep_key, asked)
    cancel = (await bench.trial()).status.cancel
    assert cancel is not None
    assert (cancel.reason, cancel.exceeded) == ("BudgetExhausted", Decimal("0.01"))


async def test_a_price_that_is_taken_away_stops_a_sweep_with_a_budget(make_bench: MakeBench) -> None:
    bench = await make_bench(limits__budget={"maxCost": "1000.00"})
    bench.company.hold = True
    await bench.launched()
    launched = len(await bench.store.list_trials(bench.sweep_key))
    bench.edit_provider(prices=())
    await bench.look(bench.provider_key)

    async def refused() -> bool:
        accepted = bench.store.sweep.status.condition("Accepted")
        return accepted is not None and accepted.status == "False"

    await bench.until(bench.sweep_key, refused)
    accepted = bench.store.sweep.status.condition("Accepted")
    assert accepted is not None
    assert "cannot be kept; give it in spec.prices of FinetuneProvider acme" in accepted.message
    assert len(await bench.store.list_trials(bench.sweep_key)) == launched


async def test_a_sweep_ends_though_its_provider_s_answer_to_a_deletion_is_not_understood(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 2, "parallelTrials": 2}, keepModels="Best")
    bench.company.delete_fault = UnexpectedResponse("204 with a page about cookies")
    await bench.launched()
    for index in range(2):
        await bench.evaluated(index)

    async def finished() -> bool:
        return (await bench.sweep()).status.finished

    await bench.until(bench.sweep_key, finished)
    (message,) = bench.events("ModelNotDeleted")
    assert "cookies" in message


async def test_a_base_model_that_cannot_be_asked_for_a_day_does_not_hold_the_end_up(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    await bench.launched()
    await bench.evaluated()
    bench.company.inference_fault = TransientProviderError("no quota for the base model")

    async def finished() -> bool:
        return (await bench.sweep()).status.finished

    with pytest.raises(TransientProviderError):
        await bench.until(bench.sweep_key, finished)
    bench.later(23 * 3600)
    with pytest.raises(TransientProviderError):
        await bench.until(bench.sweep_key, finished)
    bench.later(2 * 3600)
    await bench.until(bench.sweep_key, finished)
    (baseline,) = (await bench.sweep()).status.baselines
    assert "no quota for the base model" in str(baseline.message)
    assert (await bench.sweep()).status.phase == "Succeeded"


async def test_a_check_that_is_over_in_a_moment_is_not_said_to_go_on(make_bench: MakeBench) -> None:
    bench = await make_bench()
    bench.context.checks_said_after_s = CHECKS_SAID_AFTER_S
    bench.context.admissions.get = lambda *_, **__: None  # type: ignore[method-assign]
    assert await bench.look(bench.sweep_key) == CHECKS_SAID_AFTER_S
    assert bench.store.sweep.status.conditions == ()
    bench.later(CHECKS_SAID_AFTER_S)
    assert await bench.look(bench.sweep_key) is None
    ready = bench.store.sweep.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "Checking"
