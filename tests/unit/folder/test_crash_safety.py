"""A crash at any moment leaves the old or the new, and what was acknowledged is there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_contract import MANIFESTS, SWEEP, a_trial
from tests.unit.folder.conftest import NOW, Open

from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.store import Key, StoreUnavailable
from finetune_operator.resources import FinetuneTrial, TrialPhase, TrialStatus

TRIAL = Key("FinetuneTrial", "default", f"{SWEEP}-0")


class Killed(BaseException):
    """Stands for kill -9: no handler of the code may run to its good end."""


class DyingMachine:
    """Lets a number of the operating system's calls through and dies at the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, survives: int) -> None:
        self._left = survives
        self.died = False
        for name in ("replace", "fsync", "unlink"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, call: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self.died or self._left == 0:
                self.died = True
                raise Killed
            self._left -= 1
            return call(*arguments, **options)

        return counted


async def trial_in(store: FolderStore) -> FinetuneTrial | None:
    return await store.get_trial(TRIAL)


@pytest.mark.parametrize("survives", range(6))
async def test_a_killed_status_write_is_all_or_nothing(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    store = open_store()
    old = await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    with monkeypatch.context() as patch:
        machine = DyingMachine(patch, survives)
        try:
            await store.write_trial_status(old, TrialStatus(phase=TrialPhase.TRAINING))
        except Killed:
            assert machine.died
    store.close()
    found = await trial_in(open_store())
    assert found is not None
    written = old.model_copy(update={"status": TrialStatus(phase=TrialPhase.TRAINING)})
    assert found.status in (old.status, written.status)
    # The file is replaced at the second call, after its content was synced with the first.
    assert (found == old) == (survives < 2)
    assert machine.died == (survives < 3)


@pytest.mark.parametrize("survives", range(4))
async def test_a_killed_creation_leaves_a_whole_trial_or_none(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    store = open_store()
    with monkeypatch.context() as patch:
        DyingMachine(patch, survives)
        with contextlib.suppress(Killed):
            await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    store.close()
    again = open_store()
    found = await trial_in(again)
    assert (found is None) == (survives < 2)
    assert found is None or found.spec == a_trial(0, namespace="default").spec


@pytest.mark.parametrize("survives", range(3))
async def test_a_killed_removal_leaves_the_trial_or_nothing(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    store = open_store()
    trial = await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    await store.delete_trial(trial)
    doomed = await trial_in(store)
    assert doomed is not None
    with monkeypatch.context() as patch:
        DyingMachine(patch, survives)
        with contextlib.suppress(Killed):
            await store.remove_finalizer(doomed)
    store.close()
    assert await trial_in(open_store()) == (doomed if survives < 1 else None)


@pytest.mark.parametrize("survives", range(12))
def test_a_killed_beginning_can_be_begun_again(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    with monkeypatch.context() as patch:
        DyingMachine(patch, survives)
        with contextlib.suppress(Killed):
            open_store().close()
    assert open_store().sweep.metadata.generation == 1


async def test_a_full_disk_leaves_the_old_state_and_can_be_tried_again(
    open_store: Open, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    old = await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            await store.write_trial_status(old, TrialStatus(phase=TrialPhase.TRAINING))
        await store.record_event(old, "Submitted", "events are only a story")
    assert await trial_in(store) == old
    assert sorted(path.name for path in (state / "trials").iterdir()) == [f"{TRIAL.name}.yaml"]
    await store.write_trial_status(old, TrialStatus(phase=TrialPhase.TRAINING))


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from tests.contract.store_contract import MANIFESTS
from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import TrialStatus

async def main():
    store = FolderStore.open(Path(sys.argv[1]), MANIFESTS, clock=lambda: datetime.now(UTC))
    trial = await store.get_trial(Key("FinetuneTrial", "default", sys.argv[2]))
    score = trial.status.score or 0.0
    while True:
        score += 1
        trial = await store.write_trial_status(trial, TrialStatus(score=score, message="x" * 20_000))
        print(int(score), flush=True)

asyncio.run(main())
"""


def last_acknowledged(state: Path, *, kill_after: int) -> int:
    """Let a process write statuses, kill it, and return the last write that it reported."""
    roots = ["operator", "providers", "."]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(Path(root).resolve()) for root in roots)}
    command = [sys.executable, "-c", WRITER, str(state), TRIAL.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(kill_after)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines(keepends=True)
    # The last line may be cut off.
    return max(int(line) for line in lines if line.endswith("\n"))


async def test_what_a_killed_process_acknowledged_is_there(open_store: Open, state: Path) -> None:
    store = open_store()
    await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    store.close()
    for kill_after in (1, 4, 9):
        last = last_acknowledged(state, kill_after=kill_after)
        with FolderStore.open(state, MANIFESTS, clock=lambda: NOW) as again:
            found = await trial_in(again)
        assert found is not None
        assert found.status.score in {last, last + 1}
        assert found.status.message == "x" * 20_000
