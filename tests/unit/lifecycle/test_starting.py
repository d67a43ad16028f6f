"""How a sweep in a folder starts."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.scenario_contract import sweep_with
from tests.unit.lifecycle.bench import Bench, manifests
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.resources import Condition, SweepStatus, TrialPhase


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


MakePair = Callable[..., Awaitable[tuple[Bench, Bench]]]


@pytest.fixture
async def make_pair(tmp_path: Path) -> AsyncIterator[MakePair]:
    """Makes a sweep `earlier` and one that wants to learn from it, in folders side by side."""
    made: list[Bench] = []

    def bench(name: str, **changes: Any) -> Bench:
        sweep = sweep_with(**changes)
        sweep["metadata"]["name"] = name
        made.append(Bench(tmp_path / name, *manifests(sweep)))
        return made[-1]

    async def make(earlier: dict[str, Any] | None = None, **changes: Any) -> tuple[Bench, Bench]:
        wants = {"sweepRefs": [{"name": "earlier"}]}
        limits = {"maxTrials": 12, "parallelTrials": 2}
        later = {"warmStart": wants, "limits": limits, **changes}
        return bench("earlier", **(earlier or {})), bench("later", **later)

    yield make
    for each in made:
        await each.close()


async def finish(bench: Bench, *scores: float) -> None:
    """The sweep's first trials end with these scores, and so does the sweep."""
    await bench.launched()
    for index, score in enumerate(scores):
        await bench.edit_trial(index, phase=TrialPhase.SUCCEEDED, score=score)
    sweep = bench.store.sweep
    await bench.store.write_sweep_status(sweep, sweep.status.model_copy(update={"phase": "Succeeded"}))


def condition(bench: Bench) -> tuple[str, str, str]:
    found = bench.store.sweep.status.condition("Accepted")
    assert found is not None
    return found.status, found.reason, found.message


async def until_it_waits(bench: Bench) -> None:
    await bench.until(bench.sweep_key, lambda: condition(bench)[1] == "WarmStartNotReady")


async def test_a_sweep_begins_with_the_best_point_of_an_earlier_one(make_pair: MakePair) -> None:
    earlier, later = await make_pair()
    await finish(earlier, 0.5, 0.75)
    await later.launched()
    best, trial = (await earlier.trial(1)).spec, (await later.trial(0)).spec
    assert trial.origin == "warm start"
    assert (trial.base_model, trial.hyperparameters) == (best.base_model, best.hyperparameters)
    (known,) = later.store.sweep.status.warm_start
    assert (known.sweep, known.uid, known.same_data) == ("earlier", earlier.store.sweep.metadata.uid, True)
    assert [seen.score for seen in known.observations] == [0.75, 0.5]


async def test_a_sweep_waits_for_the_end_of_an_earlier_one(make_pair: MakePair) -> None:
    earlier, later = await make_pair()
    await earlier.launched()
    await until_it_waits(later)
    assert condition(later) == (
        "False",
        "WarmStartNotReady",
        "spec.warmStart.sweepRefs[0].name: FinetuneSweep earlier is Searching; its end is waited for",
    )
    assert await later.store.list_trials(later.sweep_key) == ()
    assert await later.look(later.sweep_key) == 30.0
    await finish(earlier, 0.5)
    await later.launched()
    assert condition(later)[0] == "True"


async def test_an_earlier_sweep_that_is_not_there_is_waited_for(make_bench: MakeBench) -> None:
    bench = await make_bench(warmStart={"sweepRefs": [{"name": "no-such"}]})
    await until_it_waits(bench)
    assert condition(bench)[2] == (
        "spec.warmStart.sweepRefs[0].name: there is no FinetuneSweep no-such in the sweep's own namespace; "
        "it is waited for"
    )


async def test_a_state_folder_that_cannot_be_read_is_waited_for(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    (tmp_path / "broken" / "trials").mkdir(parents=True)
    (tmp_path / "broken" / "sweep.yaml").write_text("kind: [\n")
    bench = await make_bench(warmStart={"sweepRefs": [{"name": "broken"}]})
    await until_it_waits(bench)
    assert "FinetuneSweep broken cannot be read" in condition(bench)[2]


async def test_an_earlier_sweep_may_go_once_it_was_learnt_from(make_pair: MakePair, tmp_path: Path) -> None:
    earlier, later = await make_pair()
    await finish(earlier, 0.5, 0.75)
    await later.launched()
    before = later.store.sweep.status.warm_start
    shutil.rmtree(tmp_path / "earlier" / "trials")
    (tmp_path / "earlier" / "sweep.yaml").unlink()
    later.restart()
    await later.edit_trial(0, phase=TrialPhase.SUCCEEDED, score=0.5)

    async def goes_on() -> bool:
        return len(await later.store.list_trials(later.sweep_key)) == 3

    await later.until(later.sweep_key, goes_on)
    assert later.store.sweep.status.warm_start == before


async def test_a_sweep_whose_status_was_lost_goes_on_without_an_earlier_one_that_is_gone(
    make_pair: MakePair, tmp_path: Path
) -> None:
    earlier, later = await make_pair()
    await finish(earlier, 0.5, 0.75)
    await later.launched()
    shutil.rmtree(tmp_path / "earlier" / "trials")
    (tmp_path / "earlier" / "sweep.yaml").unlink()
    await later.store.write_sweep_status(later.store.sweep, SweepStatus())
    later.restart()
    await later.until(later.sweep_key, lambda: later.store.sweep.status.phase == "Searching")
    assert [each.sweep for each in later.store.sweep.status.warm_start] == ["earlier"]


async def test_sweeps_that_wait_for_each_other_say_so_and_go_on_when_one_is_gone(
    tmp_path: Path, make_pair: MakePair
) -> None:
    one, other = await make_pair(earlier={"warmStart": {"sweepRefs": [{"name": "later"}]}})
    for bench, path in ((one, "earlier -> later -> earlier"), (other, "later -> earlier -> later")):
        await bench.until(bench.sweep_key, lambda bench=bench: condition(bench)[1] == "InvalidSpec")
        assert (
            f"waits for this sweep in its turn ({path}), so that none of them begins" in condition(bench)[2]
        )
        stalled = bench.store.sweep.status.condition("Stalled")
        assert stalled is not None
        assert stalled.status == "True"
    shutil.rmtree(tmp_path / "earlier" / "trials", ignore_errors=True)
    (tmp_path / "earlier" / "sweep.yaml").unlink()
    assert await other.look(other.sweep_key) == 30.0
    assert condition(other)[1] == "WarmStartNotReady"
