"""The queue of keys."""

from __future__ import annotations

import asyncio

import pytest

from finetune_operator.lifecycle.work_queue import LONGEST_RETRY_S, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_queue() -> tuple[WorkQueue[str], Clock]:
    clock = Clock()
    return WorkQueue(clock, jitter=lambda: 1.0), clock


def test_a_key_that_is_added_twice_is_handed_out_once() -> None:
    queue, _ = a_queue()
    queue.add("a")
    queue.add("a")
    assert queue.take_ready() == "a"
    assert queue.take_ready() is None


def test_a_key_is_never_worked_on_twice_at_a_time_and_no_change_is_missed() -> None:
    queue, _ = a_queue()
    queue.add("a")
    assert queue.take_ready() == "a"
    queue.add("a")
    assert queue.take_ready() is None
    queue.done("a")
    assert queue.take_ready() == "a"
    queue.done("a")
    assert queue.take_ready() is None


def test_a_key_waits_for_its_time() -> None:
    queue, clock = a_queue()
    queue.add_after("a", 10)
    clock.now = 9.9
    assert queue.take_ready() is None
    clock.now = 10
    assert queue.take_ready() == "a"


def test_the_earlier_of_two_times_counts() -> None:
    queue, clock = a_queue()
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now = 5
    assert queue.take_ready() == "a"
    queue.done("a")
    clock.now = 100
    assert queue.take_ready() is None


def test_an_earlier_add_overtakes_a_planned_look() -> None:
    queue, clock = a_queue()
    queue.add_after("a", 10)
    queue.add("a")
    assert queue.take_ready() == "a"
    queue.done("a")
    clock.now = 11
    assert queue.take_ready() is None


def test_a_time_that_comes_while_the_key_is_worked_on_is_kept_until_it_is_done() -> None:
    queue, clock = a_queue()
    queue.add("a")
    assert queue.take_ready() == "a"
    queue.add_after("a", 1)
    clock.now = 2
    assert queue.take_ready() is None
    queue.done("a")
    assert queue.take_ready() == "a"


def test_retries_come_later_each_time_up_to_a_bound_and_start_anew_after_a_success() -> None:
    queue, clock = a_queue()
    delays = []
    for _ in range(14):
        delays.append(queue.retry("a"))
        clock.now += delays[-1]
        assert queue.take_ready() == "a"
        queue.done("a")
    assert delays[:3] == [0.5, 1.0, 2.0]
    assert max(delays) == LONGEST_RETRY_S
    queue.succeeded("a")
    assert queue.retry("a") == 0.5


def test_a_wait_that_was_asked_for_is_kept() -> None:
    queue, _ = a_queue()
    assert 42 < queue.retry("a", at_least_s=42) < 43


async def test_take_wakes_up_for_a_key_and_for_the_end() -> None:
    queue, _ = a_queue()
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await waiting == "a"
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    queue.close()
    assert await waiting is None


def test_a_key_that_fails_for_weeks_is_tried_on() -> None:
    queue, _ = a_queue()
    delays = [queue.retry("a") for _ in range(1200)]
    assert delays[-1] == LONGEST_RETRY_S


def test_a_look_that_is_planned_again_and_again_takes_no_memory() -> None:
    queue, clock = a_queue()
    for number in range(5000):
        clock.now = float(number)
        queue.add_after("a", 1_000_000 - number)
        queue.add("a")
        assert queue.take_ready() == "a"
        queue.done("a")
    assert len(queue._heap) < 200
    queue.add_after("a", 10)
    clock.now += 11
    assert queue.take_ready() == "a"


class Workers:
    """Workers that take keys and count how often each of them looked for one."""

    def __init__(self, queue: WorkQueue[str], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[str] = []
        self.looks = 0
        self._queue = queue
        self._news = asyncio.Event()
        ready = queue.take_ready

        def take_ready() -> str | None:
            self.looks += 1
            return ready()

        monkeypatch.setattr(queue, "take_ready", take_ready)
        self.tasks = [asyncio.ensure_future(self._work()) for _ in range(count)]

    async def _work(self) -> None:
        while (key := await self._queue.take()) is not None:
            self.taken.append(key)
            self._news.set()
            await asyncio.sleep(0)
            self._queue.done(key)

    async def took(self, *keys: str) -> None:
        async with asyncio.timeout(5):
            while self.taken != list(keys):
                self._news.clear()
                await self._news.wait()

    async def end(self) -> None:
        self._queue.close()
        await asyncio.gather(*self.tasks)


async def test_a_key_wakes_no_more_workers_than_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    workers = Workers(queue, 32, monkeypatch)
    await asyncio.sleep(0)
    workers.looks = 0
    queue.add("a")
    await workers.took("a")
    assert workers.looks <= 4
    await workers.end()


async def test_all_of_many_keys_are_taken_at_once_by_workers_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    workers = Workers(queue, 3, monkeypatch)
    await asyncio.sleep(0)
    for key in "abcdefg":
        queue.add(key)
    await workers.took(*"abcdefg")
    await workers.end()


async def test_a_time_is_kept_though_the_worker_that_waited_for_it_got_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    workers = Workers(queue, 2, monkeypatch)
    queue.add_after("later", 0.05)
    await asyncio.sleep(0)
    queue.add("now")
    await workers.took("now", "later")
    queue.add_after("last", 0.1)
    queue.add_after("earlier", 0.01)
    await workers.took("now", "later", "earlier", "last")
    await workers.end()


async def test_a_worker_that_is_cut_off_as_it_is_woken_leaves_the_key_to_another() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    first, second = (asyncio.ensure_future(queue.take()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    second.cancel()
    first_done, _ = await asyncio.wait({first, second}, timeout=5)
    assert {first, second} == first_done
    assert first.result() == "a"
