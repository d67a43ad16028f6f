"""What the commands act through, so that tests can put something else in its place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from finetune_providers import registry

if TYPE_CHECKING:  # loading them takes a second, which `finetune --help` need not wait for
    from finetune_operator.lifecycle.accounts import ProviderFactory
    from finetune_operator.lifecycle.context import TrialProgress
    from finetune_operator.lifecycle.store import Key, Store


class RunningEngine(Protocol):
    """The engine, as far as the commands know it."""

    def enqueue(self, key: Key) -> None:
        """Have an object looked at."""
        ...

    def progress(self) -> Mapping[Key, TrialProgress]:
        """Where the trials are that train or are evaluated right now."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop."""
        ...


def make_engine(store: Store, work_dir: Path) -> RunningEngine:
    """The real engine; its libraries take a second to load, so it is imported when it is needed."""
    from finetune_operator.lifecycle.engine import Engine

    return Engine(store=store, work_dir=work_dir)


def utc_now() -> datetime:
    """The time, timezone-aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is looked, in seconds.

    Attributes:
        refresh_s: From one view to the next, where nothing changes.
        settle_s: For how long a sweep must stand still before it counts as stalled: trials that another
            process left stalled are looked at again first.
        poll_s: From one look into a cluster or a state folder to the next.
    """

    refresh_s: float = 0.5
    settle_s: float = 3.0
    poll_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Seams:
    """Everything that a test may replace.

    Attributes:
        make_engine: Makes the engine over a store and a folder to work in.
        make_provider: Makes the providers that `finetune plan` asks.
        clock: The time, timezone-aware.
        hard_exit: Ends the process at once, without any tidying up.
        pace: How often is looked.
    """

    make_engine: Callable[[Store, Path], RunningEngine] = make_engine
    make_provider: ProviderFactory = registry.create
    clock: Callable[[], datetime] = utc_now
    hard_exit: Callable[[int], object] = os._exit
    pace: Pace = Pace()
