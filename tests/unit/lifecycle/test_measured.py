"""What is measured of providers and of the engine."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.contract.patience import PATIENCE_S
from tests.fakes.company import factory
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.lifecycle.measured import Measure, MeasuredProvider, outcome_of
from finetune_operator.lifecycle.observer import LONGEST_EXCUSE_S, AccountName, Observer, Pulse
from finetune_operator.lifecycle.scene import facts, is_worker, leave_worker, look_at
from finetune_operator.lifecycle.store import Key
from finetune_operator.lifecycle.work_queue import WorkQueue
from finetune_operator.resources import TrialPhase
from finetune_providers.base import JobSnapshot, JobState, Provider
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    NotReached,
    PermanentProviderError,
    QuotaExceeded,
    TransientProviderError,
)

ACME = AccountName(Key("FinetuneProvider", "default", "acme"), "Acme")


class Recorder(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, str]] = []
        self.retries: list[tuple[str, str]] = []
        self.calls: list[tuple[str, str]] = []
        self.jobs: list[tuple[str, float]] = []

    def looked(self, kind: str, outcome: str, seconds: float) -> None:
        self.looks.append((kind, outcome))

    def retried(self, kind: str, error: str, delay_s: float) -> None:
        self.retries.append((kind, error))

    def called(self, account: AccountName, operation: str, outcome: str, seconds: float) -> None:
        self.calls.append((operation, outcome))

    def job_ended(self, account: AccountName, outcome: str, seconds: float) -> None:
        self.jobs.append((outcome, seconds))


def test_every_method_of_a_provider_is_there_and_every_call_is_measured() -> None:
    for name, member in vars(Provider).items():
        if name.startswith("_"):
            continue
        measured = vars(MeasuredProvider)[name]
        assert inspect.iscoroutinefunction(measured) == inspect.iscoroutinefunction(member), name
        if inspect.iscoroutinefunction(member):
            assert name in measured.__code__.co_consts, name
            assert inspect.signature(measured) == inspect.signature(member)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (QuotaExceeded("x"), "quota"),
        (NotReached("x"), "not_reached"),
        (TransientProviderError("x"), "transient"),
        (JobNotFound("x"), "not_found"),
        (PermanentProviderError("x"), "refused"),
        (AmbiguousProviderError("x"), "ambiguous"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyError("x"), "defect"),
    ],
)
def test_an_error_is_told_by_one_word_of_a_few(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome


def test_a_job_is_measured_from_its_creation_to_its_end_as_its_provider_says() -> None:
    recorder, begun = Recorder(), datetime(2026, 1, 1, tzinfo=UTC)
    measure = Measure(ACME, recorder, Pulse())
    job = JobSnapshot("j", None, JobState.SUCCEEDED, "ok", created_at=begun)
    measure.job_ended(job)
    assert recorder.jobs == []
    finished = JobSnapshot(
        "j", None, JobState.FAILED, "no", created_at=begun, finished_at=begun + timedelta(minutes=2)
    )
    measure.job_ended(finished)
    assert recorder.jobs == [("failed", 120.0)]


@pytest.fixture(autouse=True)
def no_worker() -> Iterator[None]:
    yield
    leave_worker()


def test_a_worker_that_waits_for_a_provider_is_excused_for_an_hour() -> None:
    now = [0.0]
    pulse = Pulse(lambda: now[0])
    measure = Measure(ACME, Recorder(), pulse)
    look_at(ACME.key)
    with measure.call("submit"):
        now[0] = 600.0
        assert (pulse.quiet_for_s, pulse.excused) == (600.0, True)
        now[0] = LONGEST_EXCUSE_S + 1
        assert not pulse.excused
    assert (pulse.quiet_for_s, pulse.excused) == (0.0, False)


def test_a_poll_that_waits_excuses_no_worker() -> None:
    pulse = Pulse()
    measure = Measure(ACME, Recorder(), pulse)
    look_at(ACME.key)
    leave_worker()
    with measure.call("observe"):
        assert not pulse.excused


async def test_work_that_goes_on_by_itself_is_about_the_same_object_and_excuses_no_worker() -> None:
    background, seen = BackgroundWork(), asyncio.Event()
    found: list[tuple[bool, dict[str, str]]] = []

    async def work() -> None:
        found.append((is_worker(), dict(facts())))

    look_at(Key("FinetuneTrial", "team", "support-0"))
    background.start(("evaluation", 1), work, then=seen.set)
    assert background.under_way() == {"evaluation": 1}
    await seen.wait()
    assert found == [(False, {"namespace": "team", "trial": "support-0"})]
    assert is_worker()
    assert background.under_way() == {}


def test_a_queue_says_for_how_long_its_first_key_has_waited_though_nobody_takes_it() -> None:
    now = [0.0]
    queue: WorkQueue[str] = WorkQueue(lambda: now[0])
    assert queue.due_for_s == 0.0
    queue.add_after("planned", 50.0)
    now[0] = 40.0
    assert (queue.due_for_s, queue.planned) == (0.0, 1)
    now[0] = 60.0
    assert queue.due_for_s == 10.0
    queue.add("first")
    now[0] = 70.0
    assert queue.due_for_s == 20.0
    assert queue.take_ready() == "first"
    assert queue.take_ready() == "planned"
    assert (queue.due_for_s, queue.working) == (0.0, 2)


async def test_a_sweep_s_calls_looks_and_jobs_are_told(make_bench: MakeBench) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    recorder, stop = Recorder(), asyncio.Event()
    engine = Engine(
        store=bench.store,
        work_dir=bench.state / "work",
        make_provider=factory(bench.company),
        observer=recorder,
    )
    engine.enqueue(bench.sweep_key)
    running = asyncio.ensure_future(engine.run(stop))
    async with asyncio.timeout(PATIENCE_S):
        while not (await bench.sweep()).status.finished:  # noqa: ASYNC110 (the store tells nobody)
            await asyncio.sleep(0.01)
    vitals = engine.vitals()
    stop.set()
    await running
    assert {("check", "ok"), ("submit", "ok"), ("observe", "ok"), ("answer", "ok")} <= set(recorder.calls)
    assert {("FinetuneSweep", "done"), ("FinetuneTrial", "done")} <= set(recorder.looks)
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED
    (account,) = vitals.accounts
    assert (account.name.type, account.full_for_s) == ("Acme", 0.0)
    assert engine.vitals().accounts == ()


async def test_an_engine_whose_workers_all_wait_for_a_slow_provider_is_excused(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    make, hold, waits = factory(bench.company), asyncio.Event(), asyncio.Event()

    def slow(config: object) -> Provider:
        provider = make(config)  # type: ignore[arg-type]

        async def submit(request: object) -> JobSnapshot:
            waits.set()
            await hold.wait()
            raise QuotaExceeded("full")

        monkeypatch.setattr(provider, "submit", submit, raising=False)
        return provider

    recorder, stop = Recorder(), asyncio.Event()
    engine = Engine(store=bench.store, work_dir=bench.state / "work", make_provider=slow, observer=recorder)
    engine.enqueue(bench.sweep_key)
    running = asyncio.ensure_future(engine.run(stop))
    async with asyncio.timeout(PATIENCE_S):
        await waits.wait()
    assert engine.vitals().excused, "the purchase goes on in a task of its own"
    hold.set()
    stop.set()
    await running
    assert ("submit", "quota") in recorder.calls
    assert not engine.vitals().excused
