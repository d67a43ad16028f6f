"""Asking a model the evaluation set and scoring what it says."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from finetune_operator.evaluation.answer_log import AnswerLog
from finetune_operator.evaluation.dataset import Example
from finetune_operator.evaluation.metrics import score
from finetune_operator.resources.sweep import GENERATED_METRICS
from finetune_providers.base import InferenceSession
from finetune_providers.errors import TransientProviderError, UnexpectedResponse

MAX_SAMPLES = 5
MAX_SAMPLE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class AnswerSample:
    """One answer, for a person to look at; each text is cut at 500 characters.

    Attributes:
        prompt: The last message before the answer.
        expected: What the model should have said.
        answer: What it said.
    """

    prompt: str
    expected: str
    answer: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a model did.

    Attributes:
        scores: By canonical metric name, each in [0, 1].
        samples: The first few answers.
        examples: Number of examples scored.
    """

    scores: Mapping[str, float]
    samples: tuple[AnswerSample, ...]
    examples: int


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that failed for a passing reason is made again.

    Waits double from `base_s` up to `longest_s`, and each is drawn between half and all of that. Where the
    provider asks for time, the wait begins after it; beyond `patience_s` the error goes to the caller, who
    loses no answer.

    Attributes:
        attempts: Calls in all.
        base_s: First wait, in seconds.
        longest_s: Longest wait of the policy's own, in seconds.
        patience_s: Longest wait a provider may ask for, in seconds.
        sleep: Waits a number of seconds.
        jitter: A number in [0, 1).
    """

    attempts: int = 6
    base_s: float = 1
    longest_s: float = 60
    patience_s: float = 300
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    jitter: Callable[[], float] = random.random

    def wait_s(self, failures: int, retry_after_s: float | None) -> float | None:
        """Seconds to wait after that many failures, None to give up."""
        asked = retry_after_s or 0.0
        if failures >= self.attempts or asked > self.patience_s:
            return None
        doubled: float = self.base_s * 2.0 ** (failures - 1)
        return asked + min(self.longest_s, doubled) * (1 + self.jitter()) / 2


class SeriesPoint(Protocol):
    """Metrics at a step of training, from a job's snapshot or a trial's status."""

    @property
    def step(self) -> int: ...
    @property
    def values(self) -> Mapping[str, float]: ...


async def evaluate(
    session: InferenceSession,
    examples: Sequence[Example],
    *,
    max_output_tokens: int,
    answers: AnswerLog,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    metrics: Collection[str] = GENERATED_METRICS,
    retry: RetryPolicy | None = None,
) -> Evaluation:
    """Have the model answer every example that it has not answered yet, then score all answers.

    Args:
        session: The model; its `batch_size` and `concurrency` are kept.
        examples: The questions.
        max_output_tokens: Longest answer.
        answers: Where answers are kept as they come; what is there already is not asked again.
        progress: Told how many examples are answered, of how many: at the start and after each batch.
        metrics: Which scores to compute.
        retry: How passing errors are met.

    Raises:
        TransientProviderError: It did not pass within the policy; call again later.
        PermanentProviderError: The model cannot answer.
        UnexpectedResponse: The session gave another number of answers than asked for, or no text.
        ValueError: There are no examples.
    """
    if not examples:
        raise ValueError("there are no examples to evaluate")
    missing = [example for example in examples if example.index not in answers.answers]
    done = len(examples) - len(missing)
    progress(done, len(examples))
    batches = iter(_batches(missing, max(1, session.batch_size)))
    retry = retry or RetryPolicy()

    async def work() -> None:
        nonlocal done
        for batch in batches:
            texts = await _answer(session, batch, max_output_tokens, retry)
            await asyncio.to_thread(answers.record, texts)
            done += len(texts)
            progress(done, len(examples))

    await _all_or_first_error([work() for _ in range(max(1, session.concurrency))])
    given = [answers.answers[example.index] for example in examples]
    expected = [example.expected for example in examples]
    scores = await asyncio.to_thread(score, given, expected, metrics=metrics)
    return Evaluation(scores, _samples(examples, given), len(examples))


def reported_score(series: Iterable[SeriesPoint], metric: str) -> float | None:
    """The value a trainer reported last for a metric.

    The last, not the best: the model one gets is that of the last step. A value at step 0 is the base model's
    and does not count.

    Returns:
        None where no step reports the metric or the last value is not finite.
    """
    trained = [point for point in series if point.step > 0 and metric in point.values]
    return _finite(max(trained, key=lambda point: point.step).values[metric]) if trained else None


def baseline_score(series: Iterable[SeriesPoint], metric: str) -> float | None:
    """The base model's value of a metric: the one at step 0, where the trainer reports it."""
    return next(
        (_finite(point.values[metric]) for point in series if point.step == 0 and metric in point.values),
        None,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    return (examples[start : start + size] for start in range(0, len(examples), size))


async def _answer(
    session: InferenceSession, batch: Sequence[Example], max_output_tokens: int, retry: RetryPolicy
) -> dict[int, str]:
    failures = 0
    while True:
        try:
            texts = await session.answer(
                [example.prompt for example in batch], max_output_tokens=max_output_tokens
            )
        except TransientProviderError as error:
            failures += 1
            wait_s = retry.wait_s(failures, error.retry_after_s)
            if wait_s is None:
                raise
            await retry.sleep(wait_s)
            continue
        if len(texts) != len(batch) or not all(isinstance(text, str) for text in texts):
            raise UnexpectedResponse(f"asked for {len(batch)} texts, the model's session gave {len(texts)}")
        return {example.index: text for example, text in zip(batch, texts, strict=True)}


async def _all_or_first_error(works: Sequence[Awaitable[None]]) -> None:
    """Wait for all; the first error ends the others and is raised as it is, not in a group."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _samples(examples: Sequence[Example], answers: Sequence[str]) -> tuple[AnswerSample, ...]:
    pairs = list(zip(examples, answers, strict=True))[:MAX_SAMPLES]
    return tuple(
        AnswerSample(_cut(example.prompt[-1]["content"]), _cut(example.expected), _cut(answer))
        for example, answer in pairs
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SAMPLE_CHARACTERS else text[: MAX_SAMPLE_CHARACTERS - 1] + "…"
