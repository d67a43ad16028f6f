"""What is kept of deleted jobs outlives the process and hides nothing else."""

from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.errors import TransientProviderError
from finetune_providers.tombstones import Tombstones

CANCELLED = JobSnapshot(
    "ft-0123456789abcdef0123-a1",
    "k",
    JobState.CANCELLED,
    "DELETED",
    message="was ☃",
    progress=0.5,
    series=(MetricPoint(1, {"trainingLoss": 2.5}), MetricPoint(2, {"trainingLoss": 1.5})),
    trained_tokens=7,
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    finished_at=datetime(2026, 1, 2, 4, tzinfo=UTC),
)


@pytest.fixture(params=[True, False], ids=["by key", "by job"])
def tombstones(request: pytest.FixtureRequest, tmp_path: Path) -> Tombstones:
    return Tombstones(tmp_path / "deleted", named_by_key=request.param)


@pytest.mark.parametrize("named_by_key", [True, False])
def test_a_record_reads_back_as_it_was_written(tmp_path: Path, named_by_key: bool) -> None:
    tombstones = Tombstones(tmp_path / "deleted", named_by_key=named_by_key)
    assert tombstones.of_job("j") is None
    assert tombstones.of_key("k") == ()
    odd = JobSnapshot("../j*", "k", JobState.FAILED, "STATUS_FAILED", message="was not good")
    keyless = JobSnapshot("i", None, JobState.CANCELLED, "STATUS_DELETED")
    for job in (CANCELLED, odd, keyless):
        tombstones.write(job)
    again = Tombstones(tmp_path / "deleted", named_by_key=named_by_key)
    for job in (CANCELLED, odd, keyless):
        assert again.of_job(job.job_id) == job
    assert set(map(repr, again.of_key("k"))) == {repr(CANCELLED), repr(odd)}
    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["deleted"] * 3


def test_a_broken_record_hides_no_other_job(tombstones: Tombstones, tmp_path: Path) -> None:
    tombstones.write(CANCELLED)
    (path,) = (tmp_path / "deleted").iterdir()
    path.write_text("{")
    tombstones.write(JobSnapshot("j", "k", JobState.FAILED, "STATUS_FAILED"))
    assert tombstones.of_job(CANCELLED.job_id) is None
    assert [job.job_id for job in tombstones.of_key("k")] == ["j"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"state": "no such"}']
)
def test_a_key_whose_only_record_is_broken_is_not_taken_for_unknown(tmp_path: Path, content: bytes) -> None:
    tombstones = Tombstones(tmp_path / "deleted", named_by_key=True)
    tombstones.write(CANCELLED)
    (path,) = (tmp_path / "deleted").iterdir()
    path.write_bytes(content)
    with pytest.raises(TransientProviderError, match=re.escape(f"{path} is not what was written there")):
        tombstones.of_key("k")
    assert tombstones.of_key("another") == ()


def test_a_record_without_a_series_is_one_of_an_earlier_version(tmp_path: Path) -> None:
    tombstones = Tombstones(tmp_path, named_by_key=False)
    (tmp_path / "j.json").write_text(
        '{"job_id": "j", "key": "k", "native_state": "STATUS_DELETED", "message": "", "fine_tuned_model": null,'
        ' "state": "Cancelled", "created_at": null, "finished_at": "2026-01-02T04:00:00+00:00"}'
    )
    kept = tombstones.of_job("j")
    assert kept is not None
    assert (kept.state, kept.finished_at) == (JobState.CANCELLED, CANCELLED.finished_at)


def test_what_cannot_be_written_leaves_nothing_behind(tombstones: Tombstones, tmp_path: Path) -> None:
    (tmp_path / "deleted").write_text("in the way")
    with pytest.raises(TransientProviderError, match=r"is not deleted, because .* cannot be written"):
        tombstones.write(CANCELLED)
    assert [path.name for path in tmp_path.iterdir()] == ["deleted"]


def test_records_that_the_disk_does_not_give_are_not_taken_for_none(
    tombstones: Tombstones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tombstones.write(CANCELLED)
    with monkeypatch.context() as broken:
        broken.setattr("finetune_providers.tombstones.read_plain_file", _fails)
        for look in (lambda: tombstones.of_job(CANCELLED.job_id), lambda: tombstones.of_key("k")):
            with pytest.raises(TransientProviderError, match="Input/output error"):
                look()
    with monkeypatch.context() as broken:
        broken.setattr("os.listdir", _fails)
        for look in (lambda: tombstones.of_job(CANCELLED.job_id), lambda: tombstones.of_key("k")):
            with pytest.raises(TransientProviderError, match="Input/output error"):
                look()
    assert tombstones.of_job(CANCELLED.job_id) == CANCELLED


def _fails(*_: object, **__: object) -> str:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
