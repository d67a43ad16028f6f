"""How an account's calls are paced, named when they fail, kept free of secrets, and run in threads of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from tests.fakes.canary import told_by

from finetune_providers.calls import Calls, RequestPacer
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)


class HandClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.while_asleep: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        happens, self.while_asleep = self.while_asleep, lambda: None
        happens()

    def pacer(self, per_minute: int | None) -> RequestPacer:
        return RequestPacer(per_minute, clock=self, sleep=self.sleep)


async def turns(pacer: RequestPacer, clock: HandClock, count: int) -> list[float]:
    """When each of some calls may be made, in seconds after the start."""
    start, taken = clock(), []
    for _ in range(count):
        await pacer.turn()
        taken.append(round(clock() - start, 6))
    return taken


# -- pacing ---------------------------------------------------------------------------------------------------


async def test_calls_are_spread_evenly_over_a_minute() -> None:
    clock = HandClock()
    assert await turns(clock.pacer(30), clock, 4) == [0, 2, 4, 6]


async def test_without_a_limit_no_call_waits() -> None:
    clock = HandClock()
    assert await turns(clock.pacer(None), clock, 3) == [0, 0, 0]


async def test_time_without_calls_is_not_saved_up_for_a_burst() -> None:
    clock = HandClock()
    pacer = clock.pacer(60)
    await pacer.turn()
    clock.now += 500
    assert await turns(pacer, clock, 3) == [0, 1, 2]


@pytest.mark.parametrize("per_minute", [None, 60])
async def test_no_call_is_made_while_the_provider_asked_to_wait(per_minute: int | None) -> None:
    clock = HandClock()
    pacer = clock.pacer(per_minute)
    await pacer.turn()
    pacer.hold(30)
    pacer.hold(5)  # a shorter wish does not shorten the longer one
    step = 0 if per_minute is None else 1
    assert await turns(pacer, clock, 3) == [30, 30 + step, 30 + 2 * step]


async def test_calls_that_wait_already_are_held_too_and_stay_spread() -> None:
    clock = HandClock()
    pacer = clock.pacer(60)
    await pacer.turn()
    clock.while_asleep = lambda: pacer.hold(10)
    assert await turns(pacer, clock, 3) == [11, 12, 13]


async def test_waiting_calls_take_turns_of_their_own_after_a_hold() -> None:
    now, asleep, made = 0.0, list[tuple[float, asyncio.Event]](), list[float]()

    async def sleep(seconds: float) -> None:
        asleep.append((now + seconds, asyncio.Event()))
        await asleep[-1][1].wait()

    pacer = RequestPacer(60, clock=lambda: now, sleep=sleep)

    async def call() -> None:
        await pacer.turn()
        made.append(now)

    tasks = [asyncio.create_task(call()) for _ in range(4)]
    await asyncio.sleep(0)
    assert [due for due, _ in asleep] == [1, 2, 3]
    pacer.hold(10)
    while asleep:
        due, event = min(asleep, key=lambda each: each[0])
        asleep.remove((due, event))
        now = due
        event.set()
        for _ in range(3):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert made == [0, 10, 11, 12]


async def test_nobody_can_have_an_account_wait_for_ever() -> None:
    clock = HandClock()
    pacer = clock.pacer(None)
    pacer.hold(float("inf"))
    assert await turns(pacer, clock, 1) == [60]


async def test_a_wish_to_wait_holds_the_account_s_other_calls() -> None:
    clock = HandClock()
    calls = Calls(lambda _: TransientProviderError("later", retry_after_s=17), pacer=clock.pacer(None))
    with pytest.raises(TransientProviderError):
        await calls.read(failing(OSError()))
    await calls.read(fine)
    assert clock() == 117.0
    calls.close()


# -- what a failure is called ---------------------------------------------------------------------------------


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        raise error

    return call


async def fine() -> str:
    return "fine"


class Broken(Exception):
    """What an SDK raises; it knows what it means."""

    def __init__(self, meaning: ProviderError | None) -> None:
        super().__init__("headers: Authorization: Bearer top-secret")
        self.meaning = meaning


def explain(error: Exception) -> ProviderError | None:
    return error.meaning if isinstance(error, Broken) else None


MEANINGS = [
    (TransientProviderError("busy"), TransientProviderError, AmbiguousProviderError),
    (QuotaExceeded("full"), QuotaExceeded, QuotaExceeded),
    (NotReached("no route"), NotReached, NotReached),
    (PermanentProviderError("wrong"), PermanentProviderError, PermanentProviderError),
    (JobNotFound("gone"), JobNotFound, JobNotFound),
    (UnexpectedResponse("odd"), UnexpectedResponse, AmbiguousProviderError),
    (AmbiguousProviderError("who knows"), AmbiguousProviderError, AmbiguousProviderError),
]


@pytest.mark.parametrize(
    ("meaning", "on_read", "on_create"), MEANINGS, ids=lambda each: getattr(each, "__name__", "")
)
@pytest.mark.parametrize("raised_by", ["sdk", "us"])
async def test_every_failure_has_one_name_when_reading_and_one_when_creating(
    meaning: ProviderError, on_read: type[Exception], on_create: type[Exception], raised_by: str
) -> None:
    calls = Calls(explain)
    error = Broken(meaning) if raised_by == "sdk" else meaning
    for method, kind in ((calls.read, on_read), (calls.create, on_create)):
        with pytest.raises(ProviderError) as caught:
            await method(failing(error))
        assert type(caught.value) is kind
        assert str(caught.value) == str(meaning)
    calls.close()


@pytest.mark.parametrize("method", ["read", "create"])
async def test_a_defect_of_ours_is_raised_as_it_is(method: str) -> None:
    calls = Calls(explain)
    with pytest.raises(ZeroDivisionError):
        await getattr(calls, method)(failing(ZeroDivisionError()))
    calls.close()


async def test_the_sdk_s_own_error_is_not_shown_with_ours() -> None:
    calls = Calls(explain)
    with pytest.raises(TransientProviderError) as caught:
        await calls.read(failing(Broken(TransientProviderError("busy"))))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    calls.close()


@pytest.mark.parametrize(
    ("method", "kind"), [("read", TransientProviderError), ("create", AmbiguousProviderError)]
)
async def test_a_call_that_hangs_is_given_up(method: str, kind: type[ProviderError]) -> None:
    calls = Calls(explain)

    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(kind, match=r"no answer within 0\.01 s"):
        await getattr(calls, method)(hang, timeout_s=0.01)
    calls.close()


@pytest.mark.parametrize("method", ["read", "create"])
@pytest.mark.parametrize("raised", ["by the SDK", "by us", "too late"])
async def test_no_error_holds_the_sdk_s_own_as_what_it_came_from(method: str, raised: str) -> None:
    async def call() -> None:
        try:
            raise ValueError("Authorization: Bearer s3cret-s3cret")
        except ValueError as error:
            if raised == "by us":
                raise PermanentProviderError("no such model") from error
            if raised == "too late":
                await asyncio.sleep(60)
            raise

    calls = Calls(lambda error: TransientProviderError("away"))
    with pytest.raises(ProviderError) as caught:
        await getattr(calls, method)(call, timeout_s=0.01)
    assert [text for text in told_by(caught.value) if "s3cret" in text] == []


async def test_a_call_that_is_given_up_from_outside_stays_cancelled() -> None:
    calls = Calls(explain)
    task = asyncio.create_task(calls.create(lambda: asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    calls.close()


async def test_a_result_is_handed_on() -> None:
    calls = Calls(explain)
    assert await calls.read(fine) == await calls.create(fine) == "fine"
    calls.close()


# -- threads --------------------------------------------------------------------------------------------------


async def test_blocking_calls_run_in_threads_of_the_account_s_own() -> None:
    one, two = Calls(explain, threads=1), Calls(explain, threads=1)
    stuck = threading.Event()
    waiting = asyncio.create_task(one.in_thread(stuck.wait, 10))
    await asyncio.sleep(0)
    name = await two.in_thread(lambda: threading.current_thread().name)  # though all of the other's are taken
    assert name.startswith("provider")
    assert threading.current_thread().name != name
    stuck.set()
    assert await waiting
    one.close()
    two.close()


async def test_arguments_results_and_errors_pass_between_threads() -> None:
    calls = Calls(explain)
    assert await calls.in_thread(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        await calls.in_thread(lambda: 1 // 0)
    calls.close()
