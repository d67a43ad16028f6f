"""Driving one sweep in the foreground until it ends, stalls or is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import signal
from collections.abc import Iterator, Sequence

from finetune_operator.cli.display import Display
from finetune_operator.cli.exits import ExitCode
from finetune_operator.cli.seams import RunningEngine, Seams
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.errors import SweepError
from finetune_operator.folder import FolderStore
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase

STOPPING = "stopping: what was bought is written down; press Ctrl-C again to quit at once"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class EngineEnded(SweepError):
    """The engine returned although nobody had told it to stop."""


class Ending(enum.Enum):
    """Why driving a sweep ended."""

    FINISHED = "finished"
    REFUSED = "refused"
    STALLED = "stalled"
    SUSPENDED = "suspended"
    INTERRUPTED = "interrupted"


def ending_of(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> Ending | None:
    """Whether there is nothing left to do for a sweep, as its own status says; None while there is."""
    status = sweep.status
    if status.observed_generation != sweep.metadata.generation:
        return None
    if status.finished:
        # The finalizer goes last: with it, what must be done after the end is done.
        return None if sweep.has_finalizer else Ending.FINISHED
    stalled, accepted = status.condition("Stalled"), status.condition("Accepted")
    if stalled is not None and stalled.status == "True":
        refused = accepted is not None and accepted.status == "False"
        return Ending.REFUSED if refused else Ending.STALLED
    # A suspended sweep's trials that wait to be bought are not bought, and a stalled one waits for a person.
    going_on = [
        t for t in trials if not t.terminal and t.phase not in {TrialPhase.PENDING, TrialPhase.STALLED}
    ]
    return Ending.SUSPENDED if status.phase == "Suspended" and not going_on else None


async def drive(store: FolderStore, display: Display, seams: Seams) -> Ending:
    """Work on the store's sweep until there is nothing left to do, or a person interrupts.

    The first interrupt stops in order: nothing is launched any more, jobs on this machine pause, and what is
    known is written down. The second quits at once, which the state folder survives as well.

    Raises:
        EngineEnded: The engine ended by itself.
    """
    if ending_of(store.sweep, await store.list_trials(store.sweep_key)) is Ending.FINISHED:
        return Ending.FINISHED
    await _forget_stall(store)
    session = _Session(store, display, seams)
    with session.signals():
        return await session.run()


async def _forget_stall(store: FolderStore) -> None:
    """What an earlier process found wrong may be put right by now: nobody has looked yet."""
    status = store.sweep.status
    if status.condition("Stalled") is not None:
        unseen = status.model_copy(update={"conditions": (), "observed_generation": -1})
        await store.write_sweep_status(store.sweep, unseen)


class _Session:
    """One engine at work on one sweep."""

    def __init__(self, store: FolderStore, display: Display, seams: Seams) -> None:
        self._store = store
        self._display = display
        self._seams = seams
        self._engine: RunningEngine = seams.make_engine(store, store.work_dir)
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._interrupted = False
        self._last_change = 0.0
        store.subscribe(lambda _: self._changed())

    async def run(self) -> Ending:
        """Show and wait, until the engine has stopped."""
        self._changed()
        self._engine.enqueue(self._store.sweep_key)
        running = asyncio.ensure_future(self._engine.run(self._stop))
        running.add_done_callback(lambda _: self._wake.set())
        ending: Ending | None = None
        try:
            while not running.done():
                self._display.show(await self.snapshot(), hint=STOPPING if self._interrupted else "")
                if ending is None:
                    ending = await self._ending()
                if ending is not None:
                    self._stop.set()
                await self._wait()
        finally:
            self._stop.set()
            await running
        self._display.show(await self.snapshot())
        ending = ending or await self._ending()
        if ending is None:
            raise EngineEnded("the engine ended before the sweep did; run the same command again to go on")
        return ending

    async def snapshot(self) -> Snapshot:
        """What there is to show now."""
        progress = {key.name: each for key, each in self._engine.progress().items()}
        trials = await self._store.list_trials(self._store.sweep_key)
        return Snapshot(self._store.sweep, trials, self._seams.clock(), progress)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Handle interrupts while the engine works."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self._interrupted:
            self._display.close()
            self._seams.hard_exit(ExitCode.INTERRUPTED)
        self._interrupted = True
        self._stop.set()
        self._wake.set()

    async def _ending(self) -> Ending | None:
        if self._interrupted:
            return Ending.INTERRUPTED
        ending = ending_of(self._store.sweep, await self._store.list_trials(self._store.sweep_key))
        still_s = asyncio.get_running_loop().time() - self._last_change
        if ending is Ending.STALLED and still_s < self._seams.pace.settle_s:
            return None
        return ending

    def _changed(self) -> None:
        self._last_change = asyncio.get_running_loop().time()
        self._wake.set()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), self._seams.pace.refresh_s)
        self._wake.clear()
