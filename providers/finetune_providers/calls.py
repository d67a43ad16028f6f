"""How an account's API calls are made: paced, off the event loop, with every failure put into our words.

Each provider wraps its SDK's calls in one `Calls`, and says once, in a function `explain`, what its errors mean.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import ParamSpec, TypeVar

from finetune_providers.base import ProviderConfig
from finetune_providers.errors import (
    AmbiguousProviderError,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.redaction import clean

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

_CLOSED = "the account's connection was closed, as when its Secret changes"


def keep_identity(config: ProviderConfig, *addresses: str | None) -> None:
    """See to it that this machine's own identity goes to no address that a resource names, unless that is allowed.

    Args:
        config: Of an account that works as this machine.
        *addresses: Where its tokens would go, instead of to the provider itself.

    Raises:
        PermanentProviderError: One is named, and `config.lends_identity` is false.
    """
    if any(addresses) and not config.lends_identity:
        raise PermanentProviderError(
            "without a Secret of its own this provider would work as the operator, whose tokens go to no address that "
            "a manifest names; give credentialsSecretRef, leave spec.endpoint and spec.endpoints out, or have the "
            "operator started with --trust-endpoints",
            field="spec.endpoint",
        )


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
        self._held_until = 0.0

    async def turn(self) -> None:
        """Wait until a call may be made."""
        due = self._reserve()
        while (wait_s := due - self._clock()) > 0:
            await self._sleep(wait_s)
            if due < self._held_until:  # the provider asked to wait in the meantime
                due = self._reserve()

    def hold(self, seconds: float) -> None:
        """Make no further call for some seconds, those that wait already included: the provider asked for it.

        A longer wait is the caller's, who was told of it: a call that only waits would take a worker from others.
        """
        self._held_until = max(self._held_until, self._clock() + min(seconds, LONGEST_HOLD_S))

    def _reserve(self) -> float:
        due = max(self._clock(), self._next, self._held_until)
        self._next = due + self._interval_s
        return due


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
        self._secrets = frozenset(secrets)
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
        except TimeoutError:
            failure: Exception = TransientProviderError(f"no answer within {timeout_s:g} s")
        except ProviderError as error:
            failure = self._bare(error)
        except Exception as error:  # noqa: BLE001  what is no provider's failure is raised again as it is
            failure = self._named(error)
        raise failure  # out here it gets no context: the SDK's exception may hold headers and data

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
        if self._closed:
            raise TransientProviderError(_CLOSED)
        running = asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))
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
        named = self._explain(error) or _not_understood(error)
        if named is None:
            return error
        if isinstance(named, TransientProviderError) and named.retry_after_s:
            self._pacer.hold(named.retry_after_s)
        return self._bare(named)

    def _bare(self, error: ProviderError) -> ProviderError:
        """The error without a secret, and without what it came from."""
        error.args = (clean(str(error), self._secrets),)
        error.__cause__ = error.__context__ = None
        return error


def _not_understood(error: Exception) -> UnexpectedResponse | None:
    """What no parser can take, though the SDKs hand it through: endless nesting, endless numbers, half characters."""
    too_long = isinstance(error, ValueError) and str(error).startswith("Exceeds the limit")
    if too_long or isinstance(error, RecursionError | UnicodeError | OverflowError):
        return UnexpectedResponse(f"the answer cannot be read: {type(error).__name__}")
    return None


def retry_after_s(value: str | None, *, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None where it cannot be read.

    Source: RFC 9110, section 10.2.3.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now())
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: float) -> float:
    """Seconds until a date as HTTP writes it, which is always GMT; NaN where it is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError, IndexError, OverflowError):
        return math.nan
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - now
