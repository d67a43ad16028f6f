"""The garbage collector goes through what changes, not through libraries."""

from __future__ import annotations

import asyncio
import gc
import sys
from types import ModuleType

import pytest

from finetune_operator.cluster.garbage import leave_modules_alone


async def test_what_was_imported_is_left_alone_and_what_came_later_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spared: list[int] = []
    kept: list[list[object]] = []

    async def sleep(_: float) -> None:
        spared.append(gc.get_freeze_count())
        kept.append([[] for _ in range(10_000)])
        if len(spared) == 2:
            monkeypatch.setitem(sys.modules, "a_library", ModuleType("a_library"))
        if len(spared) == 3:
            raise asyncio.CancelledError

    try:
        with pytest.raises(asyncio.CancelledError):
            await leave_modules_alone(sleep=sleep)
    finally:
        gc.unfreeze()
    first, without_news, with_a_library = spared
    assert first > 0
    assert without_news <= first
    assert with_a_library >= without_news + 10_000
