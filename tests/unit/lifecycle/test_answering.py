"""What it costs to have thousands of models wait for their turn to answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle import answering
from finetune_operator.lifecycle.accounts import EVALUATIONS_AT_ONCE
from finetune_operator.lifecycle.answering import answer_evaluation_set, questions_of


async def test_who_waits_for_its_turn_holds_no_questions(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(limits__maxTrials=1)
    await bench.launched()
    await bench.training()
    read = answering.read_examples
    held: list[Any] = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        held.append(args[0])
        return read(*args, **kwargs)

    monkeypatch.setattr(answering, "read_examples", noted)
    sweep = await bench.sweep()
    account = await bench.context.accounts.get(bench.sweep_key.namespace, "acme")
    admission = bench.context.admissions.get(bench.sweep_key, sweep, waiter=bench.sweep_key)
    assert admission is not None
    for _ in range(EVALUATIONS_AT_ONCE):
        await account.evaluations.acquire()
    model = f"ft:{bench.company.purchases[0].base_model}:job-1"
    waits = asyncio.ensure_future(
        answer_evaluation_set(
            bench.context, bench.trial_key(), model, questions_of(sweep, admission), account
        )
    )
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert bench.trial_key() in bench.context.evaluating
    assert not held
    account.evaluations.release()
    assert (await waits).scores
    assert len(held) == 1
