"""An account's calls: what waits for a thread when the account is closed, and how long a provider may ask to wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from finetune_providers.calls import LONGEST_HOLD_S, Calls, RequestPacer
from finetune_providers.errors import ProviderError, TransientProviderError


def unnamed(_: Exception) -> ProviderError | None:
    return None


async def test_a_call_that_waits_for_a_thread_when_its_account_is_closed_may_be_made_again() -> None:
    calls = Calls(unnamed, threads=1)
    gate = threading.Event()
    first = asyncio.ensure_future(calls.in_thread(gate.wait))
    second = asyncio.ensure_future(calls.in_thread(int))
    await asyncio.sleep(0)
    calls.close()
    with pytest.raises(TransientProviderError, match="closed"):
        await second
    with pytest.raises(TransientProviderError, match="closed"):
        await calls.in_thread(int)
    gate.set()
    assert await first


async def test_who_is_cancelled_while_a_call_waits_is_cancelled() -> None:
    calls = Calls(unnamed, threads=1)
    gate = threading.Event()
    first = asyncio.ensure_future(calls.in_thread(gate.wait))
    second = asyncio.ensure_future(calls.in_thread(int))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    calls.close()


class Slept:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def refuse(calls: Calls) -> None:
    async def call() -> None:
        raise ValueError

    with pytest.raises(TransientProviderError):
        await calls.read(call)


async def test_a_long_wait_that_a_provider_asks_for_holds_nobody_in_the_call() -> None:
    time = Slept()
    pacer = RequestPacer(None, clock=lambda: time.now, sleep=time.sleep)
    calls = Calls(lambda _: TransientProviderError("503", retry_after_s=7200.0), pacer=pacer)
    await refuse(calls)
    await pacer.turn()
    assert time.now == LONGEST_HOLD_S
