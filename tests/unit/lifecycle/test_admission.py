"""What the checks of a sweep remember, and for how long."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

import pytest
from tests.fakes.company import CompanyProvider
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.admission import LONGEST_RECHECK_S, RECHECK_S
from finetune_operator.resources import TrialPhase
from finetune_providers.errors import TransientProviderError


async def test_a_new_price_counts_for_sweeps_that_run(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    await bench.look(bench.provider_key)
    await bench.launched()
    before = (await bench.trial()).spec.estimated_cost
    provider = await bench.store.get_provider(bench.provider_key)
    assert provider is not None
    prices = tuple(
        each.model_copy(update={"training_per_million_tokens": Decimal(9000)})
        for each in provider.spec.prices
    )
    bench.store._update(
        bench.store._contents.providers,
        provider,
        bump=True,
        spec=provider.spec.model_copy(update={"prices": prices}),
    )
    await bench.look(bench.provider_key)
    bench.edit_sweep(
        limits=bench.store.sweep.spec.limits.model_copy(update={"max_trials": 2, "parallel_trials": 2})
    )

    async def two() -> bool:
        return len(await bench.store.list_trials(bench.sweep_key)) == 2

    await bench.until(bench.sweep_key, two)
    after = (await bench.trial(1)).spec.estimated_cost
    assert before is not None
    assert after is not None
    epochs = [(await bench.trial(index)).spec.hyperparameters["epochs"] for index in (0, 1)]
    assert after / int(epochs[1]) > 8 * before / int(epochs[0])


async def test_a_sweep_that_stays_wrong_is_checked_less_and_less_often(make_bench: MakeBench) -> None:
    bench = await make_bench(dataset__training={"uri": "file:///no/such.jsonl"})

    def clock() -> float:
        return bench.now.timestamp()

    bench.context.admissions._clock = clock
    waits: list[float] = []
    for _ in range(8):

        async def refused() -> bool:
            wait = await bench.look(bench.sweep_key)
            if wait is None:
                return False
            waits.append(wait)
            return True

        await bench.until(bench.sweep_key, refused)
        bench.later(waits[-1])
    assert waits[0] == RECHECK_S + 1
    assert waits[1] == 2 * RECHECK_S + 1
    assert waits[-1] == LONGEST_RECHECK_S + 1


async def test_a_cost_weight_needs_the_price_of_every_base_model(make_bench: MakeBench) -> None:
    bench = await make_bench(objective={"metric": "accuracy", "costWeight": 0.1})
    bench.edit_price(base_model="tiny-1")

    def refused() -> bool:
        condition = bench.store.sweep.status.condition("Accepted")
        return condition is not None and condition.reason == "InvalidSpec"

    await bench.until(bench.sweep_key, refused)
    condition = bench.store.sweep.status.condition("Accepted")
    assert condition is not None
    assert condition.message == (
        "spec.objective.costWeight: the price of training tiny-2 in USD is not known, so trials of candidate "
        "small have no cost to weigh; give it in spec.prices of FinetuneProvider acme"
    )


async def test_a_price_in_another_currency_is_named(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 2, "budget": {"maxCost": "5.00", "currency": "EUR"}})

    def refused() -> bool:
        condition = bench.store.sweep.status.condition("Accepted")
        return condition is not None and condition.reason == "InvalidSpec"

    await bench.until(bench.sweep_key, refused)
    condition = bench.store.sweep.status.condition("Accepted")
    assert condition is not None
    assert "the price of training tiny-1 in EUR is not known (there is one in USD), so" in condition.message


async def test_a_cheap_model_is_the_best_where_the_cost_counts_enough(make_bench: MakeBench) -> None:
    limits = {"maxTrials": 2, "parallelTrials": 2}
    bench = await make_bench(objective={"metric": "accuracy", "costWeight": 0.1}, limits=limits)
    await bench.launched()
    await bench.edit_trial(0, phase=TrialPhase.SUCCEEDED, score=0.9, cost=Decimal("5.00"))
    await bench.edit_trial(1, phase=TrialPhase.SUCCEEDED, score=0.8, cost=Decimal("1.00"))
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.best is not None)
    best = bench.store.sweep.status.best
    assert best is not None
    assert (best.trial, best.value) == (bench.trial_key(1).name, 0.7)


async def test_a_check_that_cannot_be_made_is_told_with_the_field_that_it_may_be_about(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench()
    fault = "base model 'tiny-l' is no folder here, and the hub cannot be reached"

    async def check(_: CompanyProvider, base_models: Collection[str]) -> None:
        raise TransientProviderError(fault, field="baseModels")

    monkeypatch.setattr(CompanyProvider, "check", check)
    with pytest.raises(TransientProviderError):
        await bench.until(bench.sweep_key, lambda: False)
    ready = bench.store.sweep.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "Retrying"
    assert (
        f"the sweep cannot be checked and is tried again, later each time: spec.candidates[0].baseModels: {fault}"
        in (ready.message)
    )
