"""The command with a scripted engine in place of the real one, and a clock that stands still."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click.testing
import pytest
from tests.contract.store_contract import MANIFESTS, SWEEP_MANIFEST, a_trial

from finetune_operator.cli import main
from finetune_operator.cli.seams import Pace, Seams
from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.context import TrialProgress
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.resources import (
    BestTrial,
    Condition,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
    TrialStatus,
    dump_yaml,
)
from finetune_operator.resources.sweep import TrialCounts

NOW = datetime(2026, 3, 1, 12, 10, 0, tzinfo=UTC)
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

Script = Callable[[FolderStore, asyncio.Event], Awaitable[None]]


class ScriptedEngine:
    """Does to the store what a test says, then works on until told to stop."""

    def __init__(self, store: Store, script: Script) -> None:
        assert isinstance(store, FolderStore)
        self._store = store
        self._script = script
        self.enqueued: list[Key] = []

    def enqueue(self, key: Key) -> None:
        self.enqueued.append(key)

    def progress(self) -> Mapping[Key, TrialProgress]:
        return {}

    async def run(self, stop: asyncio.Event) -> None:
        await self._script(self._store, stop)
        await stop.wait()


@dataclass
class Cli:
    """Runs the command in this process.

    Attributes:
        folder: Where the files are, and the working directory.
        script: What the engine does.
        engines: The engines that were made.
        exits: Codes of hard exits.
    """

    folder: Path
    script: Script
    engines: list[ScriptedEngine] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)

    def seams(self, **changes: Any) -> Seams:
        def make_engine(store: Store, work_dir: Path) -> ScriptedEngine:
            assert work_dir.name == "work"
            self.engines.append(ScriptedEngine(store, self.script))
            return self.engines[-1]

        known = {"make_engine": make_engine, "clock": lambda: NOW, "hard_exit": self.exits.append}
        return Seams(**(known | {"pace": Pace(refresh_s=0.01, settle_s=0.0, poll_s=0.01)} | changes))

    def __call__(
        self, *arguments: str, stdin: str | None = None, columns: int | None = 140, **changes: Any
    ) -> click.testing.Result:
        runner = click.testing.CliRunner(env={"COLUMNS": None if columns is None else str(columns)})
        return runner.invoke(main, arguments, input=stdin, obj=self.seams(**changes))

    def write(self, manifest: Mapping[str, Any], name: str = "sweep.yaml") -> None:
        """Write a sweep's manifest with all it needs to a file."""
        documents = "---\n".join(dump_yaml(dict(each)) for each in (manifest, *MANIFESTS[1:]))
        (self.folder / name).write_text(documents)


async def nothing(_: FolderStore, __: asyncio.Event) -> None:
    """An engine that finds nothing to do."""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command, in a folder with a `sweep.yaml`."""
    monkeypatch.chdir(tmp_path)
    made = Cli(tmp_path, nothing)
    made.write(SWEEP_MANIFEST)
    return made


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A copy of the sweep's manifest, to be edited."""
    return copy.deepcopy(SWEEP_MANIFEST)


async def add_trial(store: FolderStore, index: int, **status: Any) -> FinetuneTrial:
    """A trial with a status."""
    trial = await store.create_trial(a_trial(index, namespace="default"), owner=store.sweep)
    return await store.write_trial_status(trial, TrialStatus(started_at=START, **status))


async def set_status(store: FolderStore, phase: Any, *conditions: Condition, **fields: Any) -> None:
    """The sweep's status, as the engine would write it after a look at the current generation."""
    generation = store.sweep.metadata.generation or 0
    status = SweepStatus(
        observed_generation=generation, phase=phase, conditions=conditions, started_at=START, **fields
    )
    await store.write_sweep_status(store.sweep, status)


async def succeed(store: FolderStore, _: asyncio.Event) -> None:
    """A whole sweep: one trial fails, one succeeds and is the best."""
    await add_trial(store, 0, phase=TrialPhase.FAILED, message="the provider refused the file")
    winner = await add_trial(
        store,
        1,
        phase=TrialPhase.SUCCEEDED,
        score=0.8125,
        fine_tuned_model="ft:smollm2:1",
        finished_at=NOW,
    )
    best = BestTrial(
        trial=winner.name,
        candidate="small",
        provider="local",
        base_model="smollm2-135m",
        fine_tuned_model="ft:smollm2:1",
        score=0.8125,
        base_score=0.5,
        hyperparameters=winner.spec.hyperparameters,
    )
    ready = Condition(type="Ready", status="True", reason="GoalReached", message="the goal of 0.8 is met")
    counts = TrialCounts(total=2, done=2, succeeded=1, failed=1)
    await set_status(store, "Succeeded", ready, best=best, trials=counts, finished_at=NOW)
