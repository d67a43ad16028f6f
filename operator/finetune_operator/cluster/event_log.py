"""Which events were posted of late, so that each part of a story is told once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

AGAIN_AFTER_S = 3600.0
"""As long as an API server keeps an event, unless it is told otherwise."""
_MOST = 10_000

Told = tuple[str, str, str]
"""An object's uid, a reason, a message."""


class EventLog:
    """Remembers events for an hour, in memory: after a restart each may be told once more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none; `clock` gives monotonic seconds."""
        self._clock = clock
        self._told: OrderedDict[Told, float] = OrderedDict()

    def is_news(self, event: Told) -> bool:
        """Whether the event was not told within the hour; it counts as told from now on."""
        now = self._clock()
        while self._told and (
            len(self._told) > _MOST or now - next(iter(self._told.values())) >= AGAIN_AFTER_S
        ):
            self._told.popitem(last=False)
        if event in self._told:
            return False
        self._told[event] = now
        return True

    def forget(self, event: Told) -> None:
        """The event could not be posted: next time it is news."""
        self._told.pop(event, None)
