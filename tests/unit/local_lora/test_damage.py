"""What lies in the place of a local job's files: one job's failure, told with its path; never no job at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_providers.base import JobRequest, JobState, Provider, ProviderConfig
from finetune_providers.errors import TransientProviderError
from finetune_providers.local_lora.jobs import CANCELLED, JobFolder, JobStatus, create_job, job_id_of
from finetune_providers.local_lora.options import LocalOptions
from finetune_providers.registry import create


def huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(2**34)


def replaced(put: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        path.unlink()
        put(path)

    return damage


def link_to_a_copy(path: Path) -> None:
    outside = path.parents[3] / "outside.json"
    path.rename(outside)
    path.symlink_to(outside)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(bytes(range(256))),
    "nested": lambda path: path.write_bytes(b"[" * 200_000),
    "wrong type": lambda path: path.write_text("[]"),
    "null": lambda path: path.write_text("null"),
    "other fields": lambda path: path.write_text('{"key": 1, "series": 7, "options": []}'),
    "huge": huge,
    "folder": replaced(Path.mkdir),
    "pipe": replaced(os.mkfifo),
    "link out of the folder": link_to_a_copy,
}


def request_of(key: str) -> JobRequest:
    return JobRequest(key, "model", {"epochs": 1}, "data.jsonl")


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    return create(ProviderConfig(name="here", type="Local", work_dir=tmp_path / "work"))


@pytest.fixture
def jobs(tmp_path: Path, provider: Provider) -> dict[str, JobFolder]:
    """Two jobs, the second of which has ended."""
    made = {
        key: create_job(tmp_path / "work" / "jobs", request_of(key), options=LocalOptions(), defaults={})
        for key in ("one", "two")
    }
    made["one"].write(JobStatus(native_state="training", step=3))
    made["two"].finish(CANCELLED)
    return made


@pytest.mark.parametrize("name", ["state.json", "request.json"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_fails_its_job_alone_and_says_so(
    provider: Provider, jobs: dict[str, JobFolder], name: str, damage: str
) -> None:
    path = jobs["one"].path / name
    DAMAGES[damage](path)
    one, two = job_id_of("one"), job_id_of("two")
    for _ in range(2):
        seen = await provider.observe([one, two])
        assert seen[two].state is JobState.CANCELLED
        assert seen[one].state is JobState.FAILED
        assert re.search(rf"{re.escape(str(path))} cannot be used: .*from a copy", seen[one].message)
    (found,) = await provider.find("one")
    assert (found.key, found.state) == ("one", JobState.FAILED)
    await provider.aclose()


@pytest.mark.parametrize("name", ["state.json", "request.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_job_is_not_made_a_second_time(
    jobs: dict[str, JobFolder], tmp_path: Path, name: str, damage: str
) -> None:
    DAMAGES[damage](jobs["one"].path / name)
    again = create_job(tmp_path / "work" / "jobs", request_of("one"), options=LocalOptions(), defaults={})
    assert again.path == jobs["one"].path
    assert len([each for each in again.path.parent.iterdir() if not each.name.startswith(".")]) == 2


async def test_a_disk_that_does_not_answer_for_now_fails_no_job(
    provider: Provider, jobs: dict[str, JobFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(path: object, **_: object) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as broken:
        broken.setattr("finetune_providers.local_lora.records.read_plain_file", refusing)
        with pytest.raises(TransientProviderError, match=r"\.json cannot be read now: Input/output error"):
            await provider.observe([job_id_of("one")])
    assert (await provider.find("one"))[0].state is JobState.RUNNING
    await provider.aclose()
