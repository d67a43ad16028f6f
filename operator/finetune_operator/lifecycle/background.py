"""Work that takes minutes, kept out of the reconcile loop: checks, evaluations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Job:
    task: asyncio.Task[Any]


class BackgroundWork:
    """Named pieces of work; starting one that was started is no second start."""

    def __init__(self) -> None:
        self._jobs: dict[Hashable, _Job] = {}

    def start(self, name: Hashable, work: Callable[[], Awaitable[Any]], *, then: Callable[[], None]) -> None:
        """Start a piece of work unless it goes on or its outcome is still there.

        Args:
            name: Which piece of work.
            work: What to do.
            then: Called once it has ended, whatever came out.
        """
        if name in self._jobs:
            return
        task = asyncio.ensure_future(work())
        task.add_done_callback(lambda ended: None if ended.cancelled() else then())
        self._jobs[name] = _Job(task)

    def going_on(self, name: Hashable) -> bool:
        """Whether the work was started and has not ended."""
        job = self._jobs.get(name)
        return job is not None and not job.task.done()

    def outcome(self, name: Hashable) -> Any:
        """What came out of work that has ended; None where nothing has.

        It stays until `forget`, so that a failure to write it down does not cost the work.

        Raises:
            Whatever the work raised, once: such work may be started again.
        """
        job = self._jobs.get(name)
        if job is None or not job.task.done():
            return None
        if job.task.cancelled() or job.task.exception() is not None:
            del self._jobs[name]
        return None if job.task.cancelled() else job.task.result()

    def forget(self, name: Hashable) -> None:
        """Forget an outcome that is written down; work that goes on is left alone."""
        job = self._jobs.get(name)
        if job is not None and job.task.done():
            del self._jobs[name]

    def names(self) -> tuple[Hashable, ...]:
        """All pieces that go on or whose outcome is still there."""
        return tuple(self._jobs)

    async def drop(self, name: Hashable) -> None:
        """End the work and forget its outcome."""
        job = self._jobs.pop(name, None)
        if job is not None:
            await _end(job.task)

    async def close(self) -> None:
        """End everything."""
        for name in list(self._jobs):
            await self.drop(name)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
