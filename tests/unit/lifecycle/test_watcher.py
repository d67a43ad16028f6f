"""One poll for all jobs of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from finetune_operator.lifecycle.store import Key
from finetune_operator.lifecycle.watcher import MISSES_UNTIL_GONE, JobWatcher
from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.errors import TransientProviderError

A, B = (Key("FinetuneTrial", "default", name) for name in "ab")


def job(job_id: str, state: JobState = JobState.RUNNING) -> JobSnapshot:
    return JobSnapshot(job_id, None, state, state.value)


class Provider:
    """Answers looks from a script; the last answer stays."""

    capabilities = SimpleNamespace(poll_interval_s=30.0, native_states=frozenset({"Running", "Succeeded"}))

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[set[str]] = []

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        self.asked.append(set(job_ids))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {each.job_id: each for each in answer}


class Harness:
    """A watcher whose time passes when the test says so."""

    def __init__(self, *answers: Any, provider: Provider | None = None) -> None:
        self.provider = provider or Provider(*answers)
        self.changed: list[Key] = []
        self.slept: list[float] = []
        self._tick = asyncio.Semaphore(0)
        self.watcher = JobWatcher(self.provider, self.changed.append, sleep=self._sleep)  # type: ignore[arg-type]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self._tick.acquire()

    async def pass_time(self, times: int = 1) -> None:
        for _ in range(times):
            self._tick.release()
            for _ in range(5):
                await asyncio.sleep(0)


async def test_all_jobs_are_looked_at_in_one_call() -> None:
    harness = Harness([job("1"), job("2")])
    harness.watcher.watch("1", A)
    harness.watcher.watch("2", B)
    await harness.pass_time(2)
    assert harness.provider.asked[-1] == {"1", "2"}
    assert len(harness.provider.asked) <= 3
    await harness.watcher.close()


async def test_an_ended_job_is_told_once() -> None:
    harness = Harness([job("1")], [job("1", JobState.SUCCEEDED)])
    harness.watcher.watch("1", A)
    await harness.pass_time(4)
    assert harness.changed == [A]
    latest = harness.watcher.latest("1")
    assert latest is not None
    assert latest.state is JobState.SUCCEEDED
    await harness.watcher.close()


async def test_a_job_that_has_ended_is_not_asked_for_again_while_its_model_waits_to_answer() -> None:
    harness = Harness([job("1", JobState.SUCCEEDED), job("2")])
    harness.watcher.watch("1", A)
    harness.watcher.watch("2", B)
    await harness.pass_time(3)
    assert harness.provider.asked[0] == {"1", "2"}
    assert harness.provider.asked[1:]
    assert all(asked == {"2"} for asked in harness.provider.asked[1:])
    harness.watcher.unwatch("2")
    looks = len(harness.provider.asked)
    await harness.pass_time(3)
    assert len(harness.provider.asked) == looks
    assert not harness.watcher.gone("1")
    latest = harness.watcher.latest("1")
    assert latest is not None
    assert latest.state is JobState.SUCCEEDED
    age_s = harness.watcher.poll_age_s
    assert age_s is not None
    assert age_s < 5, "nothing is overdue"
    await harness.watcher.close()


async def test_all_jobs_of_a_trial_are_forgotten_with_it() -> None:
    harness = Harness([job("1"), job("2"), job("3")])
    for job_id, trial in (("1", A), ("2", A), ("3", B)):
        harness.watcher.watch(job_id, trial)
    harness.watcher.unwatch("2")
    harness.watcher.unwatch_trial(A)
    assert harness.watcher.trials == (B,)
    harness.watcher.unwatch_trial(A)
    harness.watcher.watch("1", A)
    assert set(harness.watcher.trials) == {A, B}
    await harness.watcher.close()


async def test_a_job_is_gone_only_after_several_looks_without_it() -> None:
    harness = Harness([job("1")], [], [job("1")], [])
    harness.watcher.watch("1", A)
    await harness.pass_time(2 + MISSES_UNTIL_GONE - 1)
    assert not harness.watcher.gone("1")
    await harness.pass_time()
    assert harness.watcher.gone("1")
    assert harness.changed == [A]
    await harness.watcher.close()


async def test_an_outage_is_waited_out_longer_each_time_and_counts_no_miss() -> None:
    harness = Harness(TransientProviderError("503"), TransientProviderError("503"), [job("1")])
    harness.watcher.watch("1", A)
    await harness.pass_time(3)
    first, second, third = harness.slept[:3]
    assert 30 < first < second
    assert third == 30
    assert not harness.watcher.gone("1")
    await harness.watcher.close()


async def test_a_wait_that_the_provider_asks_for_is_kept() -> None:
    harness = Harness(TransientProviderError("429", retry_after_s=500), [job("1")])
    harness.watcher.watch("1", A)
    await harness.pass_time()
    assert harness.slept[0] == 500
    await harness.watcher.close()


async def test_without_jobs_nothing_is_asked() -> None:
    harness = Harness([job("1")])
    harness.watcher.watch("1", A)
    await harness.pass_time()
    harness.watcher.unwatch_trial(A)
    await harness.pass_time()
    asked = len(harness.provider.asked)
    await harness.pass_time(3)
    assert len(harness.provider.asked) == asked
    harness.watcher.watch("1", B)
    await harness.pass_time()
    assert len(harness.provider.asked) > asked
    await harness.watcher.close()


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
async def test_every_end_is_told(state: JobState) -> None:
    harness = Harness([job("1", state)])
    harness.watcher.watch("1", A)
    await harness.pass_time()
    assert harness.changed == [A]
    await harness.watcher.close()


async def test_an_error_that_no_provider_should_raise_does_not_end_the_watch() -> None:
    harness = Harness(KeyError("data"), [job("1", JobState.SUCCEEDED)])
    harness.watcher.watch("1", A)
    await harness.pass_time(2)
    assert harness.changed == [A]
    await harness.watcher.close()


async def test_an_outage_of_weeks_does_not_end_the_watch() -> None:
    harness = Harness(TransientProviderError("503"))
    harness.watcher.watch("1", A)
    await harness.pass_time(1100)
    assert len(harness.provider.asked) > 1090
    assert harness.slept[-1] <= 300
    await harness.watcher.close()


async def test_a_closed_watcher_watches_nothing_and_has_the_trial_looked_at_again() -> None:
    harness = Harness([job("1")])
    await harness.watcher.close()
    harness.watcher.watch("1", A)
    await harness.pass_time(3)
    assert harness.provider.asked == []
    assert harness.changed == [A]


def told(*losses: float) -> tuple[MetricPoint, ...]:
    return tuple(MetricPoint(step, {"trainingLoss": loss}) for step, loss in enumerate(losses))


def running(*losses: float) -> JobSnapshot:
    return replace(job("1"), series=told(*losses))


async def test_metrics_of_a_running_job_are_told_when_they_are_new_to_who_wants_them() -> None:
    harness = Harness([running()], [running(2.0)], [running(2.0)], [running(2.0, 1.0)])
    harness.watcher.watch("1", A, live=True)
    await harness.pass_time(6)
    assert harness.changed == [A, A]
    await harness.watcher.close()


async def test_nobody_is_told_of_metrics_who_does_not_want_them() -> None:
    harness = Harness([running(2.0)], [running(2.0, 1.0)])
    harness.watcher.watch("1", A)
    await harness.pass_time(3)
    assert harness.changed == []
    await harness.watcher.close()


class AskedProvider(Provider):
    """Tells metrics of a running job only when it is asked for that job."""

    def __init__(self, *answers: Any) -> None:
        super().__init__([job("1"), job("2")])
        self.series = list(answers)
        self.series_of: list[str] = []

    async def running_series(self, job_id: str) -> tuple[MetricPoint, ...]:
        self.series_of.append(job_id)
        answer = self.series.pop(0) if len(self.series) > 1 else self.series[0]
        if isinstance(answer, Exception):
            raise answer
        return told(*answer)


@pytest.mark.parametrize("trouble", [TransientProviderError("later"), ValueError("a defect")])
async def test_a_provider_is_asked_for_wanted_metrics_alone_and_its_trouble_ends_no_watch(
    trouble: Exception,
) -> None:
    provider = AskedProvider([2.0], trouble, [2.0, 1.0])
    harness = Harness(provider=provider)
    harness.watcher.watch("1", A, live=True)
    harness.watcher.watch("2", B)
    await harness.pass_time(4)
    latest = harness.watcher.latest("1")
    assert latest is not None
    assert latest.series == told(2.0, 1.0)
    assert harness.changed == [A, A]
    assert set(provider.series_of) == {"1"}
    await harness.watcher.close()


async def test_after_a_rate_limit_no_other_job_is_asked_until_the_provider_may_be() -> None:
    provider = AskedProvider(TransientProviderError("429", retry_after_s=3600.0), [2.0])
    harness = Harness(provider=provider)
    harness.watcher.watch("1", A, live=True)
    harness.watcher.watch("2", B, live=True)
    await harness.pass_time(4)
    assert provider.series_of == ["1"]
    assert len(provider.asked) == 5  # the jobs' states are looked at all the same
    await harness.watcher.close()


async def test_a_job_whose_metrics_cannot_be_read_does_not_keep_others_from_theirs() -> None:
    provider = AskedProvider(TransientProviderError("503"), [2.0], TransientProviderError("503"))
    harness = Harness(provider=provider)
    harness.watcher.watch("1", A, live=True)
    harness.watcher.watch("2", B, live=True)
    await harness.pass_time(2)
    assert provider.series_of == ["1", "2", "1"]
    assert harness.changed == [B]
    await harness.watcher.close()


class SilentProvider(AskedProvider):
    """Never answers when it is asked for metrics."""

    async def running_series(self, job_id: str) -> tuple[MetricPoint, ...]:
        self.series_of.append(job_id)
        await asyncio.Event().wait()
        return ()


async def test_metrics_that_take_long_delay_no_look_at_the_jobs_and_are_asked_for_once() -> None:
    provider = SilentProvider()
    harness = Harness(provider=provider)
    harness.watcher.watch("1", A, live=True)
    await harness.pass_time(3)
    provider.answers = [[job("1", JobState.SUCCEEDED)]]
    await harness.pass_time(1)
    assert harness.changed == [A]
    assert provider.series_of == ["1"]
    await harness.watcher.close()


class LateProvider(SilentProvider):
    """Answers the second look when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def observe(self, job_ids: Collection[str]) -> Mapping[str, JobSnapshot]:
        if self.asked:
            await self.may_answer.wait()
        return await super().observe(job_ids)


async def test_a_look_that_ends_while_its_watcher_is_closed_begins_no_reading_of_metrics() -> None:
    provider = LateProvider()
    harness = Harness(provider=provider)
    harness.watcher.watch("1", A, live=True)
    await harness.pass_time(2)
    closing = asyncio.ensure_future(harness.watcher.close())
    await asyncio.sleep(0)
    provider.may_answer.set()
    await closing
    await harness.pass_time(1)
    assert provider.series_of == ["1"]
