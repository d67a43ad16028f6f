"""How an account's API calls are made: paced, off the event loop, with every failure put into our words.

Each provider wraps its SDK's calls in one `Calls`, and says once, in a function `explain`, what its errors mean.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from finetune_providers.errors import (
    AmbiguousProviderError,
    NotReached,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

T = TypeVar("T")
P = ParamSpec("P")

Explain = Callable[[Exception], ProviderError | None]
"""What an SDK's exception means; None where it is no failure of a call but a defect of ours."""

READ_TIMEOUT_S = 30.0
CREATE_TIMEOUT_S = 60.0
INFERENCE_TIMEOUT_S = 120.0
UPLOAD_TIMEOUT_S = 900.0
CONNECT_TIMEOUT_S = 10.0
LONGEST_HOLD_S = 60.0

_LONGEST_MESSAGE = 600
_SHORTEST_SECRET = 4
_CLOSED = "the account's connection was closed, as when its Secret changes"


class RequestPacer:
    """Spreads the API calls of one account evenly, and holds them while the provider asked to wait."""

    def __init__(
        self,
        per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Allow so many calls a minute; None for as many as are made."""
        self._interval_s = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until a call may be made."""
        now = self._clock()
        due = max(now, self._next)
        self._next = due + self._interval_s
        if due > now:
            await self._sleep(due - now)

    def hold(self, seconds: float) -> None:
        """Make no further call for some seconds: the provider asked for it.

        A longer wait is the caller's, who was told of it: a call that only waits would take a worker from others.
        """
        self._next = max(self._next, self._clock() + min(seconds, LONGEST_HOLD_S))


class Calls:
    """An account's API calls.

    A read, and whatever else may be repeated, goes through `read`; what costs money goes through `create`, where a
    failure without a clear answer is an AmbiguousProviderError.
    """

    def __init__(
        self,
        explain: Explain,
        *,
        requests_per_minute: int | None = None,
        secrets: Collection[str] = (),
        threads: int = 8,
        pacer: RequestPacer | None = None,
    ) -> None:
        """Make calls whose failures `explain` names; `secrets` are blotted out of every message."""
        self._explain = explain
        self._secrets = tuple(sorted(filter(None, secrets), key=len, reverse=True))
        self._pacer = pacer or RequestPacer(requests_per_minute)
        self._closed = False
        # Threads of its own: a provider that hangs takes none away from the others.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="provider")

    async def read(self, call: Callable[[], Awaitable[T]], *, timeout_s: float = READ_TIMEOUT_S) -> T:
        """Make a call that may be repeated.

        Raises:
            TransientProviderError, PermanentProviderError, UnexpectedResponse: As `explain` says.
        """
        await self._pacer.turn()
        try:
            async with asyncio.timeout(timeout_s):
                return await call()
        except TimeoutError as error:
            raise TransientProviderError(f"no answer within {timeout_s:g} s") from error
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001  what is no provider's failure is raised again as it is
            raise self._named(error) from None  # the SDK's exception may hold headers and data

    async def create(self, call: Callable[[], Awaitable[T]], *, timeout_s: float = CREATE_TIMEOUT_S) -> T:
        """Make a call that must not be repeated.

        Raises:
            QuotaExceeded, NotReached, PermanentProviderError: Nothing was made.
            AmbiguousProviderError: It may have been made.
        """
        try:
            return await self.read(call, timeout_s=timeout_s)
        except (QuotaExceeded, NotReached):
            raise
        except (TransientProviderError, UnexpectedResponse) as error:
            raise AmbiguousProviderError(str(error)) from None

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread of this account's own.

        Raises:
            TransientProviderError: The account was closed before it began.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise TransientProviderError(_CLOSED)
        running = loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))
        try:
            return await running
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if running.cancelled() and task is not None and not task.cancelling():
                # It waited for a thread when the account was closed. Nobody cancelled who waits for it.
                raise TransientProviderError(_CLOSED) from None
            raise

    def close(self) -> None:
        """Take no further blocking calls; those in flight end by their own time-outs."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _named(self, error: Exception) -> Exception:
        named = self._explain(error)
        if named is None:
            return error
        if isinstance(named, TransientProviderError) and named.retry_after_s:
            self._pacer.hold(named.retry_after_s)
        named.args = (clean(str(named), self._secrets),)
        return named


def clean(message: str, secrets: Collection[str]) -> str:
    """A message without any secret, on one line and of bounded length."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            message = message.replace(secret, "[hidden]")
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def retry_after_s(value: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None where it cannot be read.

    Source: RFC 9110, section 10.2.3.
    """
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (TypeError, ValueError):
        return None
