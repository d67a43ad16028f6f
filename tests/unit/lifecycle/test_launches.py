"""The first launches are told at once, later ones together."""

from __future__ import annotations

from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.launches import TOLD_EVERY_S


async def test_launches_of_the_next_minutes_are_one_event(make_bench: MakeBench) -> None:
    bench = await make_bench(limits__maxTrials=4, limits__parallelTrials=2)
    await bench.launched()
    first = bench.events("TrialLaunched")
    assert len(first) == 1
    assert first[0].startswith("2 trials: intents-0: ")
    for index in (0, 1):
        await bench.evaluated(index)
        await bench.look(bench.sweep_key)
    assert bench.events("TrialLaunched") == first
    bench.later(TOLD_EVERY_S)
    await bench.look(bench.sweep_key)
    (_, second) = bench.events("TrialLaunched")
    assert "intents-2: " in second
    assert "intents-3: " in second


async def test_the_last_launches_are_told_when_no_more_follow(make_bench: MakeBench) -> None:
    bench = await make_bench(limits__maxTrials=3, limits__parallelTrials=1)
    await bench.launched()
    for index in (0, 1):
        await bench.evaluated(index)
        await bench.look(bench.sweep_key)
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.phase == "Finishing")
    first, rest = bench.events("TrialLaunched")
    assert first.startswith("trial intents-0: ")
    assert rest.startswith("2 trials: intents-1: ")
    await bench.evaluated(2)
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    assert bench.events("TrialLaunched") == [first, rest]
    assert bench.events("TrialsCompleted") == bench.events("Accepted") == []
