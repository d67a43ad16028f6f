from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_operator.evaluation import (
    AnswerLog,
    Example,
    RetryPolicy,
    baseline_score,
    evaluate,
    reported_score,
)
from finetune_operator.resources.trial import SeriesPoint
from finetune_providers.base import MetricPoint
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse

SessionClass = Callable[..., Any]
FAST = ("exactMatch",)


def examples(count: int) -> list[Example]:
    return [
        Example(index, ({"role": "user", "content": f"q{index}"},), f"Q{index}") for index in range(count)
    ]


class Clock:
    """Notes the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def policy(self, **options: Any) -> RetryPolicy:
        return RetryPolicy(**{"sleep": self.sleep, "jitter": lambda: 0.0, **options})


async def test_every_example_is_asked_once_and_scored(session_class: SessionClass) -> None:
    session = session_class()
    seen: list[tuple[int, int]] = []
    result = await evaluate(
        session,
        examples(7),
        max_output_tokens=8,
        answers=AnswerLog(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert sorted(session.asked) == [f"q{index}" for index in range(7)]
    assert set(result.scores) == {"accuracy", "exactMatch", "macroF1", "rougeL", "tokenF1"}
    assert result.scores["exactMatch"] == 1
    assert result.examples == 7
    assert seen[0] == (0, 7)
    assert seen == sorted(seen)
    assert seen[-1] == (7, 7)


async def test_answers_stay_with_their_questions_whatever_the_order(session_class: SessionClass) -> None:
    session = session_class(lambda text: "?" if text in {"q2", "q5"} else text.upper(), concurrency=3)
    log = AnswerLog()
    result = await evaluate(session, examples(8)[::-1], max_output_tokens=8, answers=log, metrics=FAST)
    assert result.scores == {"exactMatch": 6 / 8}
    assert {index for index, answer in log.answers.items() if answer == "?"} == {2, 5}


@given(count=st.integers(1, 20), batch_size=st.integers(1, 6), concurrency=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_batch_size_and_concurrency_are_kept(
    session_class: SessionClass, count: int, batch_size: int, concurrency: int
) -> None:
    session = session_class(batch_size=batch_size, concurrency=concurrency)
    asyncio.run(evaluate(session, examples(count), max_output_tokens=8, answers=AnswerLog(), metrics=FAST))
    batches = math.ceil(count / batch_size)
    assert session.most_in_flight == min(concurrency, batches)
    assert sorted(session.batches, reverse=True) == [batch_size] * (count // batch_size) + (
        [count % batch_size] if count % batch_size else []
    )


async def test_passing_error_is_met_by_asking_again_with_growing_waits(session_class: SessionClass) -> None:
    clock = Clock()
    session = session_class(concurrency=1, errors=[TransientProviderError("busy")] * 4)
    result = await evaluate(
        session,
        examples(2),
        max_output_tokens=8,
        answers=AnswerLog(),
        metrics=FAST,
        retry=clock.policy(longest_s=3),
    )
    assert result.scores == {"exactMatch": 1}
    assert clock.waits == [0.5, 1, 1.5, 1.5]


def test_wait_is_spread_by_jitter() -> None:
    waits = [RetryPolicy(jitter=lambda part=part: part).wait_s(3, None) for part in (0.0, 0.5, 0.99)]
    assert waits == pytest.approx([2, 3, 3.98])


async def test_provider_is_given_the_time_it_asks_for(session_class: SessionClass) -> None:
    clock = Clock()
    session = session_class(errors=[TransientProviderError("slow down", retry_after_s=20)])
    await evaluate(
        session,
        examples(2),
        max_output_tokens=8,
        answers=AnswerLog(),
        metrics=FAST,
        retry=clock.policy(),
    )
    assert clock.waits == [20.5]


@pytest.mark.parametrize(
    ("errors", "waits", "reason"),
    [
        ([TransientProviderError("busy")] * 9, [0.5, 1], "attempts are bounded"),
        ([TransientProviderError("quota", retry_after_s=3600)], [], "an hour is the caller's to wait"),
    ],
)
async def test_error_that_does_not_pass_goes_to_the_caller(
    session_class: SessionClass, errors: list[Exception], waits: list[float], reason: str
) -> None:
    clock = Clock()
    session = session_class(concurrency=1, errors=errors)
    with pytest.raises(TransientProviderError):
        await evaluate(
            session,
            examples(2),
            max_output_tokens=8,
            answers=AnswerLog(),
            retry=clock.policy(attempts=3),
        )
    assert clock.waits == waits, reason


async def test_permanent_error_is_raised_as_it_is_and_ends_the_other_calls(
    session_class: SessionClass,
) -> None:
    clock = Clock()
    session = session_class(batch_size=1, concurrency=3, errors=[PermanentProviderError("model is gone")])
    with pytest.raises(PermanentProviderError, match="model is gone"):
        await evaluate(session, examples(50), max_output_tokens=8, answers=AnswerLog(), retry=clock.policy())
    assert clock.waits == []
    assert session.in_flight == 0
    assert len(session.asked) < 5


async def test_cancelled_evaluation_leaves_no_call_in_flight(session_class: SessionClass) -> None:
    session = session_class(concurrency=2)
    evaluation = asyncio.create_task(
        evaluate(session, examples(50), max_output_tokens=8, answers=AnswerLog())
    )
    await session.called.wait()
    evaluation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await evaluation
    assert session.in_flight == 0


@pytest.mark.parametrize("reply", [None, 7])
async def test_answer_that_is_no_text_is_unexpected(session_class: SessionClass, reply: object) -> None:
    session = session_class(lambda _: reply)
    log = AnswerLog()
    with pytest.raises(UnexpectedResponse):
        await evaluate(session, examples(2), max_output_tokens=8, answers=log)
    assert log.answers == {}


async def test_wrong_number_of_answers_is_unexpected_and_none_is_kept(session_class: SessionClass) -> None:
    session = session_class()
    session.lost = 1
    log = AnswerLog()
    with pytest.raises(UnexpectedResponse, match="asked for 2 texts, the model's session gave 1"):
        await evaluate(session, examples(2), max_output_tokens=8, answers=log)
    assert log.answers == {}


async def test_interrupted_evaluation_asks_only_what_is_missing(
    session_class: SessionClass, tmp_path: Path
) -> None:
    def open_log() -> AnswerLog:
        return AnswerLog.open(tmp_path, dataset_hash="d", model="m")

    first = session_class(concurrency=1)
    kept = 3 * first.batch_size
    task = asyncio.ensure_future(
        evaluate(first, examples(20), max_output_tokens=8, answers=open_log(), progress=_cancel_at(kept))
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    second = session_class()
    seen: list[tuple[int, int]] = []
    result = await evaluate(
        second,
        examples(20),
        max_output_tokens=8,
        answers=open_log(),
        metrics=FAST,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[0] == (kept, 20)
    assert not set(first.asked[:kept]) & set(second.asked)
    assert len(second.asked) == 20 - kept
    assert result.scores == {"exactMatch": 1}


def _cancel_at(count: int) -> Callable[[int, int], None]:
    def progress(done: int, _: int) -> None:
        if done >= count:
            raise asyncio.CancelledError

    return progress


async def test_all_answered_already_asks_nothing(session_class: SessionClass) -> None:
    log, session = AnswerLog(), session_class()
    log.record({0: "Q0", 1: "wrong"})
    result = await evaluate(session, examples(2), max_output_tokens=8, answers=log, metrics=FAST)
    assert session.batches == []
    assert result.scores == {"exactMatch": 0.5}


async def test_samples_are_the_first_few_cut_short(session_class: SessionClass) -> None:
    long = Example(0, ({"role": "system", "content": "s"}, {"role": "user", "content": "u" * 600}), "e" * 500)
    rest = examples(9)[1:]
    result = await evaluate(
        session_class(), [long, *rest], max_output_tokens=8, answers=AnswerLog(), metrics=FAST
    )
    first, *others = result.samples
    assert (first.prompt, first.expected, first.answer) == ("u" * 499 + "…", "e" * 500, "U" * 499 + "…")
    assert [sample.prompt for sample in others] == ["q1", "q2", "q3", "q4"]


async def test_no_examples_are_refused(session_class: SessionClass) -> None:
    with pytest.raises(ValueError, match="no examples"):
        await evaluate(session_class(), [], max_output_tokens=8, answers=AnswerLog())


LOSS = "validationLoss"


@pytest.mark.parametrize(
    ("series", "score", "baseline", "reason"),
    [
        ([(0, {LOSS: 3.0}), (10, {LOSS: 1.0}), (20, {LOSS: 1.5})], 1.5, 3.0, "the last, not the best"),
        ([(20, {LOSS: 1.5}), (10, {LOSS: 1.0})], 1.5, None, "by step, whatever the order"),
        ([(10, {LOSS: 1.0}), (20, {"trainingLoss": 0.5})], 1.0, None, "the last that has it"),
        ([(0, {LOSS: 3.0})], None, 3.0, "step 0 is the base model's"),
        ([(10, {LOSS: 1.0}), (20, {LOSS: math.nan})], None, None, "a diverged model has no score"),
        ([(0, {LOSS: math.inf}), (20, {LOSS: math.inf})], None, None, "infinity is no score"),
        ([], None, None, "nothing reported"),
    ],
)
def test_reported_score_is_the_last_value(
    series: list[tuple[int, dict[str, float]]], score: float | None, baseline: float | None, reason: str
) -> None:
    points = [MetricPoint(step, values) for step, values in series]
    assert reported_score(points, LOSS) == score, reason
    assert baseline_score(points, LOSS) == baseline, reason


def test_reported_score_reads_the_series_of_a_trial_too() -> None:
    points = (SeriesPoint(step=0, values={LOSS: 2.0}), SeriesPoint(step=5, values={LOSS: 1.0}))
    assert (reported_score(points, LOSS), baseline_score(points, LOSS)) == (1.0, 2.0)
