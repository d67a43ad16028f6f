"""A model that answers within seconds: its trial goes from training to its end in one write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes.company import _Answers
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.context import QUICK_S
from finetune_operator.resources import TrialPhase, TrialStatus
from finetune_providers.errors import TransientProviderError

ONE = {"limits__maxTrials": 1, "limits__parallelTrials": 1}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[TrialPhase]:
    """The phases of the trials' statuses, in the order in which they are written."""
    phases: list[TrialPhase] = []
    write = FolderStore.write_trial_status

    async def noted(self: FolderStore, trial: object, status: TrialStatus) -> object:
        phases.append(status.phase)
        return await write(self, trial, status)  # type: ignore[arg-type]

    monkeypatch.setattr(FolderStore, "write_trial_status", noted)
    return phases


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Models answer while it is set."""
    answers, answer = asyncio.Event(), _Answers.answer

    async def late(self: _Answers, conversations: Any, *, max_output_tokens: int) -> Any:
        await answers.wait()
        return await answer(self, conversations, max_output_tokens=max_output_tokens)

    monkeypatch.setattr(_Answers, "answer", late)
    return answers


async def test_a_quick_evaluation_is_no_write_of_its_own(
    make_bench: MakeBench, written: list[TrialPhase]
) -> None:
    bench = await make_bench(**ONE)
    bench.context.quick_s = QUICK_S
    await bench.launched()
    await bench.evaluated()
    assert written == [TrialPhase.SUBMITTING, TrialPhase.TRAINING, TrialPhase.SUCCEEDED]
    trial = await bench.trial()
    assert (trial.status.score, trial.status.fine_tuned_model is None) == (0.75, False)


async def test_an_evaluation_that_takes_longer_is_seen(
    make_bench: MakeBench, written: list[TrialPhase], silence: asyncio.Event
) -> None:
    bench = await make_bench(**ONE)
    bench.context.quick_s = QUICK_S
    silence.clear()
    await bench.launched()
    await bench.training()
    await bench.until(bench.trial_key(), lambda: bench.context.quick_since)
    assert (await bench.trial()).phase is TrialPhase.TRAINING
    bench.later(QUICK_S)
    assert await bench.look(bench.trial_key()) is None
    assert (await bench.trial()).phase is TrialPhase.EVALUATING
    silence.set()
    await bench.evaluated()
    assert written[-2:] == [TrialPhase.EVALUATING, TrialPhase.SUCCEEDED]


async def test_a_restart_during_a_quick_evaluation_looks_at_the_job_again(
    make_bench: MakeBench, silence: asyncio.Event
) -> None:
    bench = await make_bench(**ONE)
    bench.context.quick_s = QUICK_S
    silence.clear()
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: bench.context.quick_since)
    silence.set()
    bench.restart()
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED
    assert len(bench.company.purchases) == 1


async def test_what_went_wrong_is_told_by_an_evaluation_that_is_seen(
    make_bench: MakeBench, written: list[TrialPhase]
) -> None:
    bench = await make_bench(**ONE)
    bench.context.quick_s = QUICK_S
    bench.company.inference_fault = TransientProviderError("overloaded")
    await bench.launched()
    await bench.until(bench.trial_key(), lambda: TrialPhase.EVALUATING in written)
    bench.company.inference_fault = None
    bench.restart()
    await bench.evaluated()
    assert written[-1] is TrialPhase.SUCCEEDED
