"""Benches of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.scenario_contract import sweep_with
from tests.unit.lifecycle.bench import Bench, manifests

MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[MakeBench]:
    """Makes a bench for the usual sweep with other values at dotted paths; closes it at the end."""
    made: list[Bench] = []

    async def make(**changes: Any) -> Bench:
        bench = Bench(tmp_path / f"state-{len(made)}", *manifests(sweep_with(**changes)))
        made.append(bench)
        return bench

    yield make
    for bench in made:
        await bench.close()
