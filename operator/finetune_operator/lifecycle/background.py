"""Work that takes minutes, kept out of the reconcile loop: checks, evaluations."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from finetune_operator.lifecycle.scene import leave_worker


class BackgroundWork:
    """Named pieces of work; starting one that was started is no second start."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    def start(self, name: Hashable, work: Callable[[], Awaitable[Any]], *, then: Callable[[], None]) -> None:
        """Start a piece of work unless it goes on or its outcome is still there.

        Args:
            name: Which piece of work.
            work: What to do.
            then: Called once it has ended, whatever came out.
        """
        if name in self._tasks:
            return
        task = asyncio.ensure_future(_alone(work))
        task.add_done_callback(lambda ended: None if ended.cancelled() else then())
        self._tasks[name] = task

    def outcome(self, name: Hashable) -> Any:
        """What came out of work that has ended; None where nothing has.

        It stays until `forget`, so that a failure to write it down does not cost the work.

        Raises:
            Whatever the work raised, once: such work may be started again.
        """
        task = self._tasks.get(name)
        if task is None or not task.done():
            return None
        if task.cancelled() or task.exception() is not None:
            del self._tasks[name]
        return None if task.cancelled() else task.result()

    def result(self, name: Hashable) -> Any:
        """What came out of work that has ended well; None where none has, or it failed, which `outcome` tells."""
        task = self._tasks.get(name)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return None
        return task.result()

    def goes_on(self, name: Hashable) -> bool:
        """Whether it was started and has not ended."""
        task = self._tasks.get(name)
        return task is not None and not task.done()

    def forget(self, name: Hashable) -> None:
        """Forget an outcome that is written down; work that goes on is left alone."""
        task = self._tasks.get(name)
        if task is not None and task.done():
            del self._tasks[name]
            if not task.cancelled():
                task.exception()  # seen, so that nobody is told of it when the task goes

    def __contains__(self, name: Hashable) -> bool:
        """Whether a piece goes on or its outcome is still there."""
        return name in self._tasks

    def names(self) -> tuple[Hashable, ...]:
        """All pieces that go on or whose outcome is still there."""
        return tuple(self._tasks)

    def under_way(self) -> Counter[str]:
        """How many pieces go on, by the first part of their name."""
        going = (name for name, task in self._tasks.items() if not task.done())
        return Counter(str(name[0]) if isinstance(name, tuple) else str(name) for name in going)

    async def drop(self, name: Hashable) -> None:
        """End the work and forget its outcome."""
        task = self._tasks.pop(name, None)
        if task is not None:
            await _end(task)

    async def close(self) -> None:
        """End everything."""
        for name in list(self._tasks):
            await self.drop(name)


async def _alone(work: Callable[[], Awaitable[Any]]) -> Any:
    leave_worker()
    return await work()


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
