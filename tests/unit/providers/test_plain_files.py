"""Files that are read whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from finetune_providers.plain_files import MOST_BYTES, read_plain_file


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert read_plain_file(path) == b"x" * 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES / 50


@pytest.mark.parametrize("size", [0, 9, 10])
def test_what_is_no_larger_than_it_may_be_is_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"x" * size)
    assert len(read_plain_file(path, most=10)) == size


def test_what_is_larger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_plain_file(path, most=10)
