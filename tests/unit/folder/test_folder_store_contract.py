"""The folder store, held to the contract that all stores share."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.store_contract import MANIFESTS, SWEEP_MANIFEST, EditMaxTrials, StoreContract

from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.store import Store
from finetune_operator.resources import FinetuneSweep

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class TestFolderStore(StoreContract):
    @pytest.fixture
    def namespace(self) -> str:
        return "default"

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[FolderStore]:
        with FolderStore.open(tmp_path / "state", MANIFESTS, clock=lambda: NOW) as store:
            yield store

    @pytest.fixture
    def edit_max_trials(self, store: FolderStore, tmp_path: Path) -> EditMaxTrials:
        async def edit(sweep: FinetuneSweep, max_trials: int) -> Store:
            store.close()
            edited = copy.deepcopy(SWEEP_MANIFEST)
            edited["spec"]["limits"]["maxTrials"] = max_trials
            return FolderStore.open(tmp_path / "state", (edited, *MANIFESTS[1:]), clock=lambda: NOW)

        return edit
