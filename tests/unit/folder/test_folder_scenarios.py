"""The scenarios in a folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.contract.scenario_contract import (
    PurchaseContract,
    RefusalContract,
    RestartContract,
    ScenarioContract,
)
from tests.fakes.company import Company, factory

from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.engine import Engine, utc_now
from finetune_operator.lifecycle.resolution import ANNOTATION
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, load_yaml


class FolderWorld:
    """A folder, and what a person does to it."""

    def __init__(self, state: Path) -> None:
        self.company = Company()
        self._state = state
        self._manifests: tuple[dict[str, Any], ...] = ()
        self._store: FolderStore | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def store(self) -> FolderStore:
        assert self._store is not None
        return self._store

    async def apply(self, *manifests: dict[str, Any]) -> None:
        """A folder's edits are seen by the next command."""
        running = self._task is not None
        if running:
            await self.stop()
        self._manifests = manifests
        self._open()
        if running:
            await self.start()

    async def start(self) -> None:
        self._open()
        self._stop = asyncio.Event()
        engine = Engine(store=self.store, work_dir=self.store.work_dir, make_provider=factory(self.company))
        engine.enqueue(self.store.sweep_key)
        self._task = asyncio.ensure_future(engine.run(self._stop))

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
        self._close()

    async def crash(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._close()

    async def sweep(self) -> FinetuneSweep:
        return self.store.sweep

    async def trials(self) -> tuple[FinetuneTrial, ...]:
        return await self.store.list_trials(self.store.sweep_key)

    async def delete_trial(self, name: str) -> None:
        trial = await self.store.get_trial(self.store.sweep_key.sibling("FinetuneTrial", name))
        assert trial is not None
        await self.store.delete_trial(trial)

    async def annotate_trial(self, name: str, value: str) -> None:
        """A person edits the trial's file between two commands."""
        await self.stop()
        path = self._state / "trials" / f"{name}.yaml"
        lines = [line for line in path.read_text().splitlines() if ANNOTATION not in line]
        if "  annotations:" not in lines:
            lines.insert(lines.index("metadata:") + 1, "  annotations:")
        lines.insert(lines.index("  annotations:") + 1, f'    {ANNOTATION}: "{value}"')
        path.write_text("\n".join(lines) + "\n")
        await self.start()

    async def output(self) -> Mapping[str, str]:
        data: Mapping[str, str] = load_yaml((self._state / "output" / "intents-model.yaml").read_text())[
            "data"
        ]
        return data

    async def event_reasons(self) -> list[str]:
        lines = (self._state / "events.jsonl").read_text().splitlines()
        return [json.loads(line)["reason"] for line in lines]

    def _open(self) -> None:
        if self._store is None:
            self._store = FolderStore.open(self._state, self._manifests, clock=utc_now)

    def _close(self) -> None:
        self.store.close()
        self._store = None
        self._task = None


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FolderWorld]:
    world = FolderWorld(tmp_path / "state")
    yield world
    if world._task is not None:
        await world.stop()


class TestScenarios(ScenarioContract):
    pass


class TestRestarts(RestartContract):
    pass


class TestPurchases(PurchaseContract):
    pass


class TestRefusals(RefusalContract):
    pass
