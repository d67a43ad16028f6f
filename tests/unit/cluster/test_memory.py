"""Memory of an operator that runs for weeks: the collector goes through what changes, what was freed goes back."""

from __future__ import annotations

import asyncio
import gc
import platform
import resource
import sys
from pathlib import Path
from types import ModuleType

import pytest

from finetune_operator.cluster.memory import tend_memory


async def test_what_was_imported_is_left_alone_and_what_came_later_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await asyncio.to_thread(int)  # the first call of a thread imports what it needs
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
            await tend_memory(sleep=sleep)
    finally:
        gc.unfreeze()
    first, without_news, with_a_library = spared
    assert first > 0
    assert without_news <= first
    assert with_a_library >= without_news + 10_000


async def test_nothing_ends_because_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def sleep(_: float) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "to_thread", none_left)
    try:
        with pytest.raises(asyncio.CancelledError):
            await tend_memory(sleep=sleep)
    finally:
        gc.unfreeze()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give back by themselves")
async def test_what_was_freed_between_what_is_in_use_goes_back_to_the_machine() -> None:
    chunks = [bytes(2_000) for _ in range(40_000)]
    in_use = chunks[::10]
    del chunks
    before = _resident_bytes()

    async def sleep(_: float) -> None:
        raise asyncio.CancelledError

    try:
        with pytest.raises(asyncio.CancelledError):
            await tend_memory(sleep=sleep)
    finally:
        gc.unfreeze()
    assert len(in_use) == 4_000
    assert before - _resident_bytes() > 30_000_000


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()
