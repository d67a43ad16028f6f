"""The work folder: what nobody has used for long goes, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contract.patience import PATIENCE_S
from tests.fakes.company import factory
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.evaluation import AnswerLog
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.lifecycle.housekeeping import UNUSED_FOR, clean

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)

MakeFile = Callable[..., Path]


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    def make(name: str, *, age: timedelta) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
        used = (NOW - age).timestamp()
        os.utime(path, (used, used))
        return path

    return make


def test_what_was_not_used_for_long_is_removed_and_the_rest_stays(
    make_file: MakeFile, tmp_path: Path
) -> None:
    old = [make_file(f"{folder}/old.jsonl", age=UNUSED_FOR + DAY) for folder in ("datasets", "answers")]
    left_over = make_file("datasets/.x.part", age=UNUSED_FOR + DAY)
    new = [make_file(f"{folder}/new.jsonl", age=UNUSED_FOR - DAY) for folder in ("datasets", "answers")]
    clean(tmp_path, in_use=(), now=NOW)
    assert not any(path.exists() for path in (*old, left_over))
    assert all(path.exists() for path in new)


def test_a_dataset_of_a_sweep_that_goes_on_is_in_use_however_old_it_is(
    make_file: MakeFile, tmp_path: Path
) -> None:
    path = make_file("datasets/old.jsonl", age=UNUSED_FOR * 3)
    clean(tmp_path, in_use=(path, tmp_path / "datasets" / "gone.jsonl"), now=NOW)
    assert path.exists()
    clean(tmp_path, in_use=(), now=NOW + UNUSED_FOR - DAY)
    assert path.exists()
    clean(tmp_path, in_use=(), now=NOW + UNUSED_FOR + DAY)
    assert not path.exists()


def test_what_providers_keep_is_not_touched(make_file: MakeFile, tmp_path: Path) -> None:
    kept = [
        make_file(name, age=UNUSED_FOR * 9)
        for name in ("accounts/a/tombstones.jsonl", "other.jsonl", "datasets/folder/x.jsonl")
    ]
    clean(tmp_path, in_use=(), now=NOW)
    assert all(path.exists() for path in kept)


def test_a_folder_that_is_not_there_or_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("no folder")
    clean(tmp_path, in_use=(), now=NOW)


def test_answers_that_are_read_again_are_in_use(make_file: MakeFile, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    AnswerLog.open(folder, dataset_hash="h", model="m").record({0: "yes"})
    (path,) = folder.iterdir()
    os.utime(path, (0, 0))
    assert AnswerLog.open(folder, dataset_hash="h", model="m").answers == {0: "yes"}
    clean(tmp_path, in_use=(), now=datetime.now(UTC))
    assert path.exists()


async def test_the_engine_cleans_up_when_it_starts_and_keeps_what_its_sweeps_use(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(limits={"maxTrials": 1})
    await bench.launched()
    used = bench.context.admissions.dataset_paths()
    assert used
    assert all(path.is_relative_to(bench.state / "work" / "datasets") for path in used)
    old = bench.state / "work" / "datasets" / "old.jsonl"
    old.write_text("{}")
    os.utime(old, (0, 0))
    stop = asyncio.Event()
    engine = Engine(store=bench.store, work_dir=bench.state / "work", make_provider=factory(bench.company))
    running = asyncio.ensure_future(engine.run(stop))
    async with asyncio.timeout(PATIENCE_S):
        while old.exists():  # noqa: ASYNC110 (nobody here can set an event)
            await asyncio.sleep(0.01)
    stop.set()
    await running
    assert all(path.exists() for path in used)
