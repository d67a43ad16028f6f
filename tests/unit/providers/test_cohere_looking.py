"""How jobs at Cohere are seen: states, pages, a list that lags, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.cohere_server import CohereServer
from tests.fakes.http_server import refused
from tests.unit.providers.cohere_bench import KEY, provider_of, request_of

from finetune_providers.base import JobState, MetricPoint
from finetune_providers.cohere import CohereProvider


@pytest.fixture
def server() -> Iterator[CohereServer]:
    with CohereServer() as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def provider(server: CohereServer, tmp_path: Path) -> AsyncIterator[CohereProvider]:
    provider = provider_of(server, tmp_path / "account")
    yield provider
    await provider.aclose()


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("STATUS_UNSPECIFIED", JobState.RUNNING),
        ("STATUS_QUEUED", JobState.PENDING),
        ("STATUS_FINETUNING", JobState.RUNNING),
        ("STATUS_DEPLOYING_API", JobState.RUNNING),
        ("STATUS_READY", JobState.SUCCEEDED),
        ("STATUS_PAUSED", JobState.SUCCEEDED),
        ("STATUS_TEMPORARILY_OFFLINE", JobState.SUCCEEDED),
        ("STATUS_FAILED", JobState.FAILED),
        ("STATUS_DELETED", JobState.CANCELLED),
        ("STATUS_OF_TOMORROW", JobState.RUNNING),
    ],
)
async def test_every_native_state_has_its_meaning(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, native: str, state: JobState
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.jobs[job.job_id].native_state = native
    seen = (await provider.observe([job.job_id]))[job.job_id]
    assert (seen.state, seen.native_state) == (state, native)
    assert (seen.fine_tuned_model == f"{job.job_id}-ft") is (state is JobState.SUCCEEDED)
    assert (seen.finished_at is not None) is state.terminal


async def many_jobs(provider: CohereProvider, folder: Path, count: int) -> list[str]:
    request = await request_of(provider, folder)
    keys = [f"ft-{number:020x}-a1" for number in range(count)]
    return [(await provider.submit(replace(request, key=key))).job_id for key in keys]


async def test_a_look_ends_with_the_page_that_shows_the_last_job(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.page_size = 2
    jobs = await many_jobs(provider, tmp_path, 6)
    assert set(await provider.observe(jobs[4:])) == set(jobs[4:])
    assert (server.count("list"), server.count("get")) == (1, 0)


async def test_an_old_job_in_a_long_list_is_asked_for_by_itself(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.page_size = 1
    jobs = await many_jobs(provider, tmp_path, 8)
    assert set(await provider.observe(jobs[:1])) == set(jobs[:1])
    assert (server.count("list"), server.count("get")) == (1, 1)


async def test_a_list_that_lags_does_not_hide_a_job(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.list_lag_s = 60
    job = await provider.submit(await request_of(provider, tmp_path))
    assert await provider.find(KEY) == ()
    assert set(await provider.observe([job.job_id])) == {job.job_id}
    server.clock.advance(61)
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]


async def test_metrics_are_told_in_order_and_by_names_that_claim_no_validation_set(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    await provider.observe([job.job_id])
    assert server.count("metrics") == 0  # it is still trained
    server.finish_training()
    for _ in range(2):
        done = (await provider.observe([job.job_id]))[job.job_id]
    assert server.count("metrics") == 1
    assert [point.step for point in done.series] == [0, 9, 18, 27, 36]
    assert done.series[0] == MetricPoint(0, {"heldOutLoss": 4.0, "heldOutTokenAccuracy": 0.5})
    assert provider.capabilities.metrics == {"heldOutLoss", "heldOutTokenAccuracy"}


async def test_a_long_series_is_thinned_with_its_ends_kept(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.evaluations = 230
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert server.count("metrics") == 5  # pages of 50
    assert len(done.series) == 100
    assert (done.series[0].step, done.series[-1].step) == (0, 229 * 9)


async def test_a_job_has_not_ended_before_its_metrics_were_read_but_is_not_held_up_for_ever(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    server.always("metrics", refused(503))
    states = [(await provider.observe([job.job_id]))[job.job_id] for _ in range(3)]
    assert [each.state for each in states] == [JobState.RUNNING, JobState.RUNNING, JobState.SUCCEEDED]
    assert "STATUS_READY" in states[0].native_state
    assert states[-1].series == ()


async def test_metrics_that_are_not_there_are_done_without(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    server.always("metrics", refused(404))
    assert (await provider.observe([job.job_id]))[job.job_id].state is JobState.SUCCEEDED
