"""A trainer may die at any moment, and so may the operator: the job goes on, and goes on to the same result."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from finetune_providers.base import JobState
from finetune_providers.errors import PermanentProviderError
from finetune_providers.local_lora.jobs import CANCELLED, PAUSED, JobFolder, create_job
from finetune_providers.local_lora.launcher import Launch, Launcher
from finetune_providers.local_lora.options import RULES, LocalOptions
from finetune_providers.local_lora.scheduler import MAX_DEATHS, MAX_DEATHS_WITH_US
from unit.local_lora.helpers import NewProvider, NewRequest, job_folder, settle, wait_until

pytestmark = pytest.mark.lora
LONG = {"epochs": 40, "batchSize": 2, "learningRate": 1e-3}


def trainer_pid(job: JobFolder) -> int:
    return int(json.loads(job.process.read_text("utf-8"))["pid"])


async def kill(job: JobFolder) -> None:
    os.kill(trainer_pid(job), signal.SIGKILL)
    await wait_until(lambda: not job.alive)


async def test_a_killed_trainer_goes_on_and_ends_where_an_undisturbed_one_ends(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    provider = new_provider(max_concurrent_jobs=2)
    request = await new_request(provider, "killed", **LONG)
    await provider.submit(request)
    await provider.submit(await new_request(provider, "undisturbed", **LONG))
    job = job_folder(work_dir, "killed")
    await wait_until(lambda: job.status().saved_step > 0)
    await kill(job)
    assert not job.adapter.exists()
    killed = await settle(provider, "killed")
    undisturbed = await settle(provider, "undisturbed")
    assert killed.state is undisturbed.state is JobState.SUCCEEDED
    assert "going on from step" in job.log.read_text("utf-8")
    assert killed.series == undisturbed.series
    weights = load_file(job.adapter / "adapter_model.safetensors")
    expected = load_file(job_folder(work_dir, "undisturbed").adapter / "adapter_model.safetensors")
    assert weights.keys() == expected.keys()
    for name, values in expected.items():
        assert abs(weights[name] - values).max() < 1e-6, name


async def test_a_trainer_that_keeps_dying_fails_its_job_after_three_deaths(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = new_provider()
    await provider.submit(await new_request(provider, "doomed"))
    job = job_folder(work_dir, "doomed")
    for _ in range(2):
        await kill(job)
        await provider.observe(["doomed"])
    await kill(job)
    ended = (await provider.observe(["doomed"]))["doomed"]
    assert ended.state is JobState.FAILED
    assert "the training process died 3 times" in ended.message
    assert not job.alive


async def test_a_trainer_that_dies_with_its_operator_again_and_again_is_not_given_up_so_soon(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    await new_provider().submit(await new_request(new_provider(), "orphan"))
    job = job_folder(work_dir, "orphan")
    for _ in range(MAX_DEATHS_WITH_US - 1):
        await kill(job)
        assert not (await new_provider().observe(["orphan"]))["orphan"].state.terminal
    assert MAX_DEATHS_WITH_US > MAX_DEATHS
    await kill(job)
    ended = (await new_provider().observe(["orphan"]))["orphan"]
    assert ended.state is JobState.FAILED
    assert f"died {MAX_DEATHS_WITH_US} times" in ended.message


async def test_a_closed_provider_pauses_its_jobs_and_the_next_one_resumes_them(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    provider = new_provider()
    await provider.submit(await new_request(provider, "paused", **LONG))
    job = job_folder(work_dir, "paused")
    await wait_until(lambda: job.status().step > 0)
    await provider.aclose()
    assert not job.alive
    assert job.status().native_state == PAUSED
    saved = job.status().saved_step
    assert saved > 0
    assert (await provider.observe(["paused"]))["paused"].state is JobState.RUNNING
    assert not job.alive, "a closed provider starts nothing"
    done = await settle(new_provider(), "paused")
    assert done.state is JobState.SUCCEEDED
    assert f"going on from step {saved}" in job.log.read_text("utf-8")


async def test_closing_leaves_no_trainer_that_a_look_under_way_starts_meanwhile(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, loaded = threading.Event(), threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def start_slowly(_: Launcher, launch: Launch) -> int:
        loading.set()
        loaded.wait(60)
        started.append(subprocess.Popen(["sleep", "60"], pass_fds=(launch.payload,), start_new_session=True))
        return started[-1].pid

    monkeypatch.setattr(Launcher, "start", start_slowly)
    provider = new_provider(max_concurrent_jobs=2)
    for key in ("first", "second"):
        create_job(
            work_dir / "jobs",
            await new_request(provider, key),
            options=LocalOptions(device="cpu"),
            defaults={},
        )
    look = asyncio.ensure_future(provider.observe(["first", "second"]))
    await wait_until(loading.is_set)
    look.cancel()
    closing = asyncio.ensure_future(provider.aclose())
    await asyncio.sleep(0.1)
    loaded.set()
    await closing
    try:
        assert [job_folder(work_dir, key).alive for key in ("first", "second")] == [False, False]
        assert len(started) == 1, "a closed provider starts nothing more"
    finally:
        for process in started:
            process.kill()
            process.wait()


async def test_no_more_trainers_live_than_there_are_slots_even_with_two_operators(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    one, two = new_provider(max_concurrent_jobs=1), new_provider(max_concurrent_jobs=1)
    request = await new_request(one, "first", **LONG)
    await one.submit(request)
    waiting = await two.submit(await new_request(two, "second", **LONG))
    assert waiting.state is JobState.PENDING
    await asyncio.gather(*(provider.observe(["first", "second"]) for provider in (one, two, one, two)))
    assert job_folder(work_dir, "first").alive
    assert not job_folder(work_dir, "second").alive
    await one.cancel("first")
    assert job_folder(work_dir, "second").alive, "the free slot is used at once"


async def test_a_cancelled_job_keeps_no_checkpoint(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    provider = new_provider()
    await provider.submit(await new_request(provider, "stopped", **LONG))
    job = job_folder(work_dir, "stopped")
    await wait_until(job.checkpoint.exists)
    job.checkpoint.with_suffix(".new").touch()
    await provider.cancel("stopped")
    assert job.status().native_state == CANCELLED
    assert list(job.path.glob("checkpoint*")) == [], "it may be larger than the model's adapter by far"


async def test_a_waiting_job_that_is_cancelled_never_starts(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    provider = new_provider(max_concurrent_jobs=1)
    await provider.submit(await new_request(provider, "first", **LONG))
    await provider.submit(await new_request(provider, "second", **LONG))
    await provider.cancel("second")
    await provider.cancel("first")
    states = await provider.observe(["first", "second"])
    assert {snapshot.state for snapshot in states.values()} == {JobState.CANCELLED}
    assert not job_folder(work_dir, "second").log.exists()


async def test_a_job_whose_creator_died_before_starting_it_is_started_by_whoever_looks(
    new_provider: NewProvider, new_request: NewRequest, work_dir: Path
) -> None:
    provider = new_provider()
    request = await new_request(provider, "orphan")
    defaults = {name: rule.default for name, rule in RULES.parameters.items() if rule.default is not None}
    create_job(work_dir / "jobs", request, options=LocalOptions(device="cpu"), defaults=defaults)
    assert (await settle(provider, "orphan")).state is JobState.SUCCEEDED


async def test_a_session_whose_process_dies_says_so(new_provider: NewProvider, tiny_model: str) -> None:
    provider = new_provider()
    async with provider.inference(tiny_model) as session:
        session._writer.write(b"this is no JSON\n")
        with pytest.raises(PermanentProviderError, match=r"died \(.*JSONDecodeError"):
            await session.answer([[{"role": "user", "content": "red"}]], max_output_tokens=2)
