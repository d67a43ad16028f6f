"""The engine's loop."""

from __future__ import annotations

import asyncio

from tests.fakes.company import factory
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.engine import Engine
from finetune_operator.resources import TrialPhase


async def test_a_trial_that_ended_just_before_a_crash_is_let_go_after_it(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 1}, suspend=False)
    await bench.launched()
    await bench.edit_trial(phase=TrialPhase.SUCCEEDED, score=1.0)
    stop = asyncio.Event()
    engine = Engine(store=bench.store, work_dir=bench.state / "work", make_provider=factory(bench.company))
    engine.enqueue(bench.sweep_key)
    running = asyncio.ensure_future(engine.run(stop))
    for _ in range(200):
        await asyncio.sleep(0.01)
        if not (await bench.trial()).has_finalizer:
            break
    stop.set()
    await running
    assert not (await bench.trial()).has_finalizer
