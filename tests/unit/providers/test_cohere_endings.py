"""How jobs and models at Cohere come to an end, and what is still known of them then; how models answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fakes.cohere_server import CohereServer
from tests.fakes.http_server import DONE_THEN_DROPPED, DROPPED, Fault
from tests.unit.providers.cohere_bench import KEY, MODEL, answer_of, provider_of, request_of, talk

from finetune_providers.base import JobState
from finetune_providers.cohere import CohereProvider
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    TransientProviderError,
)
from finetune_providers.tombstones import Tombstones


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


# -- deleting, which is cancelling ----------------------------------------------------------------------------


async def test_what_a_job_was_is_kept_before_it_is_deleted(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.fault("delete", DROPPED)
    with pytest.raises(TransientProviderError):
        await provider.cancel(job.job_id)
    assert (await provider.observe([job.job_id]))[job.job_id].state is JobState.PENDING  # it is still there
    kept = Tombstones(tmp_path / "account" / "deleted-jobs", named_by_key=True).of_job(job.job_id)
    assert kept is not None
    assert (kept.state, kept.key) == (JobState.CANCELLED, KEY)
    await provider.cancel(job.job_id)
    assert (await provider.observe([job.job_id]))[job.job_id].state is JobState.CANCELLED


async def test_a_deletion_whose_answer_is_lost_can_be_asked_for_again(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.fault("delete", DONE_THEN_DROPPED)
    with pytest.raises(TransientProviderError):
        await provider.cancel(job.job_id)
    await provider.cancel(job.job_id)
    ended = (await provider.observe([job.job_id]))[job.job_id]
    assert ended.state is JobState.CANCELLED
    assert ended.finished_at is not None
    assert ended.created_at == job.created_at


async def test_a_job_that_cannot_be_kept_is_not_deleted(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    (tmp_path / "account" / "deleted-jobs").write_text("in the way")
    with pytest.raises(TransientProviderError, match="cannot be written"):
        await provider.cancel(job.job_id)
    assert server.count("delete") == 0


async def test_a_finished_job_is_not_deleted_by_a_cancellation(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    await provider.cancel(job.job_id)
    assert server.count("delete") == 0
    assert await answer_of(provider, f"{job.job_id}-ft") == "warm"


@pytest.mark.parametrize("shows_deleted", [False, True])
async def test_a_cancelled_job_is_still_found_by_its_key(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, shows_deleted: bool
) -> None:
    server.shows_deleted = shows_deleted
    job = await provider.submit(await request_of(provider, tmp_path))
    await provider.cancel(job.job_id)
    (found,) = await provider.find(KEY)
    assert (found.job_id, found.state) == (job.job_id, JobState.CANCELLED)


@pytest.mark.parametrize("shows_deleted", [False, True])
async def test_a_job_whose_model_was_deleted_has_succeeded_all_the_same(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, shows_deleted: bool
) -> None:
    server.shows_deleted = shows_deleted
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    await provider.delete_model(f"{job.job_id}-ft")
    (found,) = await provider.find(KEY)
    assert found.state is JobState.SUCCEEDED
    seen = await provider.observe([job.job_id])
    assert seen[job.job_id].state is JobState.SUCCEEDED
    await provider.delete_model(f"{job.job_id}-ft")
    assert server.count("delete") == 1


async def test_a_base_model_is_not_deleted(server: CohereServer, provider: CohereProvider) -> None:
    await provider.delete_model(MODEL)
    assert server.count("delete") == 0


async def test_a_deleted_job_that_is_not_known_here_is_gone_or_cancelled(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    elsewhere = provider_of(server, tmp_path / "another-account")
    await elsewhere.cancel(job.job_id)
    await elsewhere.aclose()
    assert await provider.observe([job.job_id]) == {}
    with pytest.raises(JobNotFound):
        await provider.cancel(job.job_id)
    server.shows_deleted = True
    assert (await provider.observe([job.job_id]))[job.job_id].state is JobState.CANCELLED


# -- answering ------------------------------------------------------------------------------------------------


async def test_a_question_says_exactly_this(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    async with provider.inference(f"{job.job_id}-ft") as session:
        (text,) = await session.answer([talk("hi", "hello", "red", system="one word")], max_output_tokens=3)
    assert text == "warm"
    assert server.bodies("chat") == [
        {
            "model": f"{job.job_id}-ft",
            "messages": [
                {"role": "system", "content": "one word"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {"role": "user", "content": "red"},
            ],
            "max_tokens": 3,
            "temperature": 0.0,
            "stream": False,
        }
    ]


async def test_a_model_that_is_being_woken_up_is_asked_again(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    job = await provider.submit(await request_of(provider, tmp_path))
    server.finish_training()
    server.asleep = 2
    with pytest.raises(TransientProviderError, match="STATUS_PAUSED"):
        await answer_of(provider, f"{job.job_id}-ft")
    server.asleep = 0
    assert await answer_of(provider, f"{job.job_id}-ft") == "warm"


@pytest.mark.parametrize("model", ["no-such-model", "00000000-0000-4000-8000-000000000000-ft"])
async def test_a_model_that_is_not_there_is_not_waited_for(provider: CohereProvider, model: str) -> None:
    with pytest.raises(PermanentProviderError, match="not found"):
        await answer_of(provider, model)


@pytest.mark.parametrize("reason", ["ERROR", "TIMEOUT"])
async def test_an_answer_that_was_broken_off_is_asked_for_again(
    server: CohereServer, provider: CohereProvider, reason: str
) -> None:
    server.finish_reason = reason
    with pytest.raises(TransientProviderError, match=reason):
        await answer_of(provider, MODEL)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"finish_reason": "COMPLETE", "message": {}}', ""),
        (b'{"finish_reason": "TOOL_CALL", "message": {"content": null}}', ""),
        (b'{"finish_reason": "ERROR_TOXIC"}', ""),
        (b'{"finish_reason": "MAX_TOKENS", "message": {"content": [{"type": "text", "text": "ab"}]}}', "ab"),
        (
            b'{"finish_reason": "COMPLETE", "message": {"content": [{"type": "thinking", "thinking": "hm"},'
            b'{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "of tomorrow"}]}}',
            "ab",
        ),
    ],
)
async def test_the_text_of_an_answer_is_what_is_told(
    server: CohereServer, provider: CohereProvider, body: bytes, text: str
) -> None:
    server.always("chat", Fault(body=body))
    assert await answer_of(provider, MODEL) == text
