"""How a sweep in a folder starts."""

from __future__ import annotations

from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.resources import Condition


async def test_the_first_trials_are_the_points_that_were_given(make_bench: MakeBench) -> None:
    points = [
        {"candidate": "small", "baseModel": "tiny-2", "parameters": {"learningRate": 1e-3}},
        {"candidate": "small", "baseModel": "tiny-1", "parameters": {"epochs": 1, "learningRate": 1e-4}},
    ]
    bench = await make_bench(search__firstPoints=points)
    await bench.launched()
    first, second = (await bench.trial(0)).spec, (await bench.trial(1)).spec
    assert (first.base_model, first.hyperparameters) == ("tiny-2", {"epochs": 3, "learningRate": 1e-3})
    assert (second.base_model, second.hyperparameters) == ("tiny-1", {"epochs": 1, "learningRate": 1e-4})
    assert (first.origin, second.origin) == ("first point", "first point")


async def test_a_bayesian_sweep_begins_with_the_defaults_of_its_provider(make_bench: MakeBench) -> None:
    bench = await make_bench(search__method="Bayesian")
    await bench.launched()
    spec = (await bench.trial(0)).spec
    assert (spec.origin, spec.hyperparameters["epochs"]) == ("provider default", 3)


async def test_a_given_point_outside_the_space_is_refused_with_its_path(make_bench: MakeBench) -> None:
    points = [
        {"candidate": "small", "baseModel": "tiny-1", "parameters": {"epochs": 9, "learningRate": 1e-3}}
    ]
    bench = await make_bench(search__firstPoints=points)

    def accepted() -> Condition | None:
        return bench.store.sweep.status.condition("Accepted")

    def refused() -> bool:
        condition = accepted()
        return condition is not None and condition.reason == "InvalidSpec"

    await bench.until(bench.sweep_key, refused)
    condition = accepted()
    assert condition is not None
    assert condition.message == (
        "spec.search.firstPoints[0].parameters.epochs: 9 lies outside the search space; "
        "give a whole number from 1 to 4"
    )
