"""A state folder with one sweep, and ways to open it again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_contract import MANIFESTS, SWEEP_MANIFEST

from finetune_operator.folder import FolderStore

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Open = Callable[..., FolderStore]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the state folder will be."""
    return tmp_path / "state"


@pytest.fixture
def open_store(state: Path) -> Iterator[Open]:
    """Opens the state folder with a sweep's manifest, the usual one if none is given."""
    with ExitStack() as stack:

        def open_it(sweep: dict[str, Any] | None = None) -> FolderStore:
            manifests = (sweep or SWEEP_MANIFEST, *MANIFESTS[1:])
            return stack.enter_context(FolderStore.open(state, manifests, clock=lambda: NOW))

        yield open_it


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A copy of the sweep's manifest, to be edited."""
    return copy.deepcopy(SWEEP_MANIFEST)
