"""Jobs that run already are judged, too, when a person asks for it."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.resources.sweep import EarlyStopping, MedianStopping


async def test_a_median_rule_that_comes_while_a_job_runs_has_its_metrics_read(make_bench: MakeBench) -> None:
    bench = await make_bench()
    bench.company.capabilities = replace(
        bench.company.capabilities, live_metrics=frozenset({"trainingLoss"}), poll_interval_s=3600.0
    )
    await bench.launched()
    await bench.training()
    await bench.look(bench.trial_key())
    bench.edit_sweep(early_stopping=EarlyStopping(median=MedianStopping()))
    bench.told.clear()
    await bench.until(bench.sweep_key, lambda: bench.trial_key() in bench.told)
    await bench.look(bench.trial_key())
    bench.told.clear()
    await bench.look(bench.sweep_key)
    assert bench.trial_key() not in bench.told
