"""One look after another at resources in a folder, with the time in the test's hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tests.contract.patience import PATIENCE_S
from tests.contract.scenario_contract import DATA, PROVIDER, Manifest
from tests.fakes.company import Company, factory

from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.accounts import Accounts
from finetune_operator.lifecycle.admission import Admissions
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.engine import RECONCILERS
from finetune_operator.lifecycle.resolution import ANNOTATION
from finetune_operator.lifecycle.store import Key
from finetune_operator.lifecycle.uploads import Uploads
from finetune_operator.resources import CreateJournal, FinetuneSweep, FinetuneTrial, TrialPhase


class Bench:
    """What an engine has, without its loop: a test says which object is looked at, and when."""

    def __init__(self, state: Path, *manifests: Manifest, company: Company | None = None) -> None:
        self.company = company or Company()
        self.state = state
        self.monotonic = 1000.0
        self.now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
        self.store = FolderStore.open(state, manifests, clock=lambda: self.now)
        self.sweep_key = self.store.sweep_key
        self.provider_key = self.sweep_key.sibling("FinetuneProvider", "acme")
        self.told: list[Key] = []
        self._think()
        self.store.subscribe(self.told.append)

    def _think(self) -> None:
        """What a process knows at its start."""
        background = BackgroundWork()
        accounts = Accounts(self.store, self.state / "work", factory(self.company), changed=self.told.append)
        self.context = Context(
            store=self.store,
            accounts=accounts,
            admissions=Admissions(
                self.store,
                accounts,
                background,
                datasets_dir=self.state / "work" / "datasets",
                enqueue=self.told.append,
            ),
            background=background,
            uploads=Uploads(background, enqueue=self.told.append),
            work_dir=self.state / "work",
            now=lambda: self.now,
            enqueue=self.told.append,
            monotonic=lambda: self.monotonic,
            quick_s=0.0,  # a trial is seen in each of its phases
            checks_said_after_s=0.0,
            launched_within_s=0.0,
        )

    def trial_key(self, index: int = 0) -> Key:
        return self.sweep_key.sibling("FinetuneTrial", f"{self.sweep_key.name}-{index}")

    async def look(self, key: Key) -> float | None:
        """One look; what it asks for besides is noted in `told`."""
        return await RECONCILERS[key.kind](self.context, key)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.monotonic += seconds

    async def trial(self, index: int = 0) -> FinetuneTrial:
        trial = await self.store.get_trial(self.trial_key(index))
        assert trial is not None
        return trial

    async def sweep(self) -> FinetuneSweep:
        return self.store.sweep

    async def edit_trial(self, index: int = 0, **status: Any) -> FinetuneTrial:
        """The trial with other fields in its status."""
        trial = await self.trial(index)
        return await self.store.write_trial_status(trial, trial.status.model_copy(update=status))

    def edit_sweep(self, **spec: Any) -> None:
        """A person changes the sweep."""
        sweep = self.store.sweep
        self.store._update(
            self.store._contents.sweeps, sweep, bump=True, spec=sweep.spec.model_copy(update=spec)
        )

    def edit_provider(self, **spec: Any) -> None:
        """A person changes the provider."""
        provider = self.store._contents.providers.get("acme")
        assert provider is not None
        changed = provider.spec.model_copy(update=spec)
        self.store._update(self.store._contents.providers, provider, bump=True, spec=changed)

    def edit_price(self, **price: Any) -> None:
        """A person changes the provider's one price."""
        provider = self.store._contents.providers.get("acme")
        assert provider is not None
        (known,) = provider.spec.prices
        self.edit_provider(prices=(known.model_copy(update=price),))

    def delete_sweep(self) -> None:
        """A person deletes the sweep, as only a cluster lets one do."""
        sweep = self.store.sweep
        metadata = sweep.metadata.model_copy(update={"deletion_timestamp": self.now})
        self.store._update(self.store._contents.sweeps, sweep, bump=True, metadata=metadata)

    def restore_with_new_uids(self, uid: str = "00000000-0000-4000-8000-0123456789ab") -> None:
        """As from a backup: the sweep has another UID, by which its trials name their owner; nothing is remembered."""
        sweep = self.store.sweep
        metadata = sweep.metadata.model_copy(update={"uid": uid})
        self.store._update(self.store._contents.sweeps, sweep, metadata=metadata)
        for trial in self.store._contents.trials.all():
            (owner,) = trial.metadata.owner_references or ()
            owners = (owner.model_copy(update={"uid": uid}),)
            metadata = trial.metadata.model_copy(update={"owner_references": owners})
            self.store._update(self.store._contents.trials, trial, metadata=metadata)
        self.restart()

    async def lose_status(self, index: int = 0) -> None:
        """As a restore that brings no statuses back."""
        trial = await self.trial(index)
        await self.store.write_trial_status(trial, type(trial.status)())

    def restart(self) -> None:
        """Another process: it knows what is stored."""
        self._think()

    async def annotate(self, answer: str, index: int = 0) -> None:
        """A person says what became of a create call."""
        trial = await self.trial(index)
        annotations = {**(trial.metadata.annotations or {}), ANNOTATION: answer}
        metadata = trial.metadata.model_copy(update={"annotations": annotations})
        self.store._update(self.store._contents.trials, trial, metadata=metadata)

    async def until(self, key: Key, what: Callable[[], Any]) -> None:
        """Look again and again, as changes would have it, until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            await self.look(key)
            if await _truth(what):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{key} did not become as wanted: {self.store.sweep.status.to_dict()}")

    async def launched(self) -> None:
        """The sweep's checks have passed and its first trials are there."""

        async def there() -> bool:
            return bool(await self.store.list_trials(self.sweep_key))

        await self.until(self.sweep_key, there)

    async def training(self, index: int = 0) -> None:
        """A trial's job is bought."""

        async def so() -> bool:
            return (await self.trial(index)).phase is TrialPhase.TRAINING

        await self.until(self.trial_key(index), so)

    async def evaluated(self, index: int = 0) -> None:
        """A trial has ended."""

        async def so() -> bool:
            return (await self.trial(index)).terminal

        await self.until(self.trial_key(index), so)

    def journal(self, state: Literal["Pending", "Succeeded", "Failed", "Unknown"]) -> CreateJournal:
        """An entry of the create journal, of a job `job-1` where it succeeded."""
        job = "job-1" if state == "Succeeded" else None
        return CreateJournal(attempt=1, state=state, key="key-a1", external_id=job, at=self.now)

    def forget_accounts(self) -> None:
        """As after a restart."""
        self.context.accounts._open.clear()

    def events(self, reason: str) -> list[str]:
        """The messages of all events with a reason."""
        lines = (self.state / "events.jsonl").read_text().splitlines()
        return [event["message"] for event in map(json.loads, lines) if event["reason"] == reason]

    async def close(self) -> None:
        await self.context.background.close()
        await self.context.accounts.close()
        self.store.close()


async def _truth(what: Callable[[], Any]) -> bool:
    result = what()
    return bool(await result if asyncio.iscoroutine(result) else result)


def manifests(sweep: Manifest) -> tuple[Manifest, ...]:
    return DATA, PROVIDER, sweep
