"""Tells people, on the object itself, what is tried again and again: a log is not where they look."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.store import Key, Store

TELL_FROM_S = 2.0
TELL_AGAIN_S = 600.0


class Complaints:
    """Events about failures that last, each told once in ten minutes."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """Tell through a store; `clock` gives monotonic seconds."""
        self._store = store
        self._clock = clock
        self._told: dict[Key, tuple[str, float]] = {}

    async def failed(self, key: Key, error: Exception, *, delay_s: float) -> None:
        """Tell of a failure, unless it is a first one, which often passes, or was told of already.

        Args:
            key: Whose look failed.
            error: Why; its text may be shown.
            delay_s: Seconds until the next try.
        """
        told, at = self._told.get(key, ("", 0.0))
        again = told == str(error) and self._clock() - at < TELL_AGAIN_S
        if delay_s < TELL_FROM_S or again or key.kind == "FinetuneProvider":
            return
        with suppress(SweepError):
            get = self._store.get_sweep if key.kind == "FinetuneSweep" else self._store.get_trial
            resource = await get(key)
            if resource is not None:
                self._told[key] = (str(error), self._clock())
                message = f"it is tried again, later each time: {error}"
                await self._store.record_event(resource, "Retrying", message, warning=True)

    def passed(self, key: Key) -> None:
        """A look went well: the next failure is news."""
        self._told.pop(key, None)
