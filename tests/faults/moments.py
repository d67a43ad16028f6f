"""Moments of a sweep's life at which something goes wrong.

Every call that an operator makes, to the API server or to a company, passes the tests: when it arrives, and when it
was carried out and is not answered yet. That makes a moment a fact that somebody else sees, and needs no help from
the operator.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.contract.patience import PATIENCE_S


class When(StrEnum):
    """Where a call is."""

    ARRIVED = "arrived"
    """Nothing was carried out."""
    DONE = "done"
    """Carried out; the answer was not sent."""


@dataclass(frozen=True)
class Moment:
    """A call at one of the two points that others can see.

    Attributes:
        place: `api`, or the company's type.
        step: What the call is for: `create`, `journal Pending`.
        when: Where it is.
        call: The call itself.
    """

    place: str
    step: str
    when: When
    call: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.place}: {self.step}, {self.when}"


Wanted = Callable[[Moment], bool]
Deed = Callable[[Moment], bool]
"""What is done at a moment; true where the caller must not get an answer."""


@dataclass
class Trap:
    """Waits for a moment.

    Attributes:
        wanted: Which moments count.
        deed: What happens then.
        skip: How many of them pass before.
        times: How many of them it happens at; None for all.
        sprung: Where it happened.
    """

    wanted: Wanted
    deed: Deed
    skip: int = 0
    times: int | None = 1
    sprung: list[Moment] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event, repr=False)

    def wait(self, within_s: float) -> bool:
        """Wait until it happened for the first time."""
        return self._done.wait(within_s)

    def disarm(self) -> None:
        """Let everything pass from now on."""
        self.times = 0


class Moments:
    """Sees all moments, in the threads in which they happen, and springs the traps.

    Attributes:
        seen: How often each was seen.
    """

    def __init__(self) -> None:
        self.seen: Counter[Moment] = Counter()
        self._under_way = 0
        self._quiet = threading.Condition()
        self._traps: list[Trap] = []
        self._lock = threading.Lock()

    def at(self, wanted: Wanted, deed: Deed, *, skip: int = 0, times: int | None = 1) -> Trap:
        """Set a trap."""
        trap = Trap(wanted, deed, skip, times)
        with self._lock:
            self._traps.append(trap)
        return trap

    def clear(self) -> None:
        """Take all traps away."""
        with self._lock:
            self._traps.clear()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """A company works on a call."""
        with self._quiet:
            self._under_way += 1
        try:
            yield
        finally:
            with self._quiet:
                self._under_way -= 1
                self._quiet.notify_all()

    def wait_until_quiet(self) -> bool:
        """Wait until no company works on what somebody asked who may be dead by now."""
        with self._quiet:
            return self._quiet.wait_for(lambda: self._under_way == 0, PATIENCE_S)

    def pass_by(self, moment: Moment) -> bool:
        """Let a moment pass; true where the caller must get no answer, or nothing be carried out."""
        with self._lock:
            self.seen[moment] += 1
            caught = [trap for trap in self._traps if self._catches(trap, moment)]
        swallowed = False
        for trap in caught:
            swallowed |= trap.deed(moment)
            trap._done.set()
        return swallowed

    def _catches(self, trap: Trap, moment: Moment) -> bool:
        if trap.times == 0 or not trap.wanted(moment):
            return False
        if trap.skip > 0:
            trap.skip -= 1
            return False
        if trap.times is not None:
            trap.times -= 1
        trap.sprung.append(moment)
        return True


def step(name: str, when: When, *, place: str | None = None) -> Wanted:
    """The moments of one step."""
    return lambda moment: (
        moment.step == name and moment.when is when and (place is None or moment.place == place)
    )
