"""A queue of keys: no key twice, one worker a key, retries with back-off, and looks at a given time."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 300.0
_SLACK = 100


class WorkQueue(Generic[K]):
    """What is to be looked at.

    A key that is added while it is being worked on is handed out once more afterwards, so that no change
    is missed; a key that waits for a time is handed out earlier if it is added before.
    """

    def __init__(self, clock: Callable[[], float], *, jitter: Callable[[], float] = random.random) -> None:
        """Make an empty queue; `clock` gives monotonic seconds, `jitter` a number in [0, 1)."""
        self._clock = clock
        self._jitter = jitter
        self._ready: OrderedDict[K, float] = OrderedDict()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._due: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._failures: dict[K, int] = {}
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready) + len(self._again)

    @property
    def planned(self) -> int:
        """How many keys are looked at at a later time."""
        return len(self._due)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    @property
    def due_for_s(self) -> float:
        """For how long the key that waits longest has waited for a worker, in seconds; 0 where none does."""
        since = [*self._ready.values(), *(due for due, _ in self._due.values())]
        return max(0.0, self._clock() - min(since, default=float("inf")))

    def add(self, key: K) -> None:
        """Look at the key as soon as possible."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._clock()
            self._wake_one()

    def add_after(self, key: K, delay_s: float) -> None:
        """Look at the key in some seconds, unless an earlier look is planned already."""
        due = self._clock() + max(0.0, delay_s)
        if key in self._ready or key in self._again or self._planned(key) <= due:
            return
        self._order += 1
        self._due[key] = (due, self._order)
        heapq.heappush(self._heap, (due, self._order, key))
        if len(self._heap) > 2 * len(self._due) + _SLACK:
            # Plans that an earlier look overtook would stay until their time, which may be days.
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[:2]]
            heapq.heapify(self._heap)
        if self._heap[0][1] == self._order:
            self._wake_one()  # to be woken by the clock earlier than any

    def _planned(self, key: K) -> float:
        return self._due[key][0] if key in self._due else float("inf")

    def retry(self, key: K, *, at_least_s: float = 0.0) -> float:
        """Look at the key again after a failure, later each time.

        Returns:
            The delay in seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        doubled = min(FIRST_RETRY_S * 2.0 ** min(failures, 20), LONGEST_RETRY_S)
        # What failed together, as when a provider goes down, must not come back together.
        delay = at_least_s + doubled * (0.75 + 0.25 * self._jitter())
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget the key's failures."""
        self._failures.pop(key, None)

    def take_ready(self) -> K | None:
        """The next key to work on, if one is ready now; `done` must follow."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, order, key = heapq.heappop(self._heap)
            if self._due.get(key) == (due, order):
                self.add(key)
        if not self._ready:
            return None
        key, _ = self._ready.popitem(last=False)
        self._working.add(key)
        return key

    def close(self) -> None:
        """Hand nothing out any more: `take` returns None."""
        self._closed = True
        while self._waiters:
            self._wake_one()

    async def take(self) -> K | None:
        """Wait for the next key to work on, after which `done` must follow; None once the queue is closed."""
        while not self._closed:
            key = self.take_ready()
            if key is not None:
                self._wake_one()  # for the key after it, or to watch the clock in this one's place
                return key
            await self._wait()
        return None

    async def _wait(self) -> None:
        """Wait until there may be something to take."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        timeout = None if not self._heap else max(0.0, self._heap[0][0] - self._clock())
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            return
        except asyncio.CancelledError:
            if waiter not in self._waiters:
                self._wake_one()  # for what this one was woken for
            raise
        finally:
            self._waiters.pop(waiter, None)

    def _wake_one(self) -> None:
        """Wake one worker: all of them, who would look for one key each time, took more time than the work."""
        while self._waiters:
            waiter, _ = self._waiters.popitem()
            if not waiter.done():
                waiter.set_result(None)
                return

    def done(self, key: K) -> None:
        """Work on the key has ended."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
