"""Models at Vertex AI: how they are asked, and how they end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import aiplatform_v1 as api
from tests.contract.provider_contract import KEY, conversation, write_dataset
from tests.fakes.http_server import Answer, Fault, Request, refused
from tests.fakes.vertex_ai_server import PROJECT, REGION, VertexAIServer, config_for

from finetune_providers.base import JobRequest, Message
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse
from finetune_providers.vertex_ai import VertexAI
from finetune_providers.vertex_ai.wire import text_of


@pytest.fixture
def server() -> Iterator[VertexAIServer]:
    with VertexAIServer() as server:
        yield server
    assert server.violations == []


class Naps:
    """Sleeps by noting for how long."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __call__(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
async def provider(server: VertexAIServer, tmp_path: Path, naps: Naps) -> AsyncIterator[VertexAI]:
    provider = VertexAI(config_for(server, tmp_path / "work"), sleep=naps)
    yield provider
    await provider.aclose()


async def tuned(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path, base_model: str = "gemini-2.5-flash"
) -> str:
    """A model that has learned the contract's lessons."""
    dataset = write_dataset(tmp_path / "t.jsonl", repeat=3)
    training = await provider.upload(dataset, base_model=base_model)
    job = await provider.submit(JobRequest(KEY, base_model, {"epochs": 1}, training))
    server.finish_training()
    model = (await provider.observe([job.job_id]))[job.job_id].fine_tuned_model
    assert model is not None
    return model


def asked(server: VertexAIServer) -> Any:
    """The last question and its path."""
    request = [each for each in server.requests if each.operation == "answer"][-1]
    return request.path, request.json


# -- answers ------------------------------------------------------------------------------------------------


async def test_a_question_says_all_of_the_conversation_and_asks_for_a_greedy_answer(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    model = await tuned(server, provider, tmp_path)
    turns: list[Message] = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        *conversation("red"),
    ]
    async with provider.inference(model) as session:
        assert await session.answer([turns], max_output_tokens=4) == ["warm"]
    path, body = asked(server)
    assert path == f"/v1/projects/123456789012/locations/{REGION}/endpoints/2001:generateContent"
    assert body == {
        "systemInstruction": {"parts": [{"text": "be short"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hello"}]},
            {"role": "model", "parts": [{"text": "hi"}]},
            {"role": "user", "parts": [{"text": "is red warm or cold"}]},
        ],
        "generationConfig": {
            "temperature": 0.0,
            "candidateCount": 1,
            "maxOutputTokens": 4,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    }


@pytest.mark.parametrize(
    ("base_model", "location", "thinking", "most_tokens"),
    [
        ("gemini-2.5-flash", REGION, {"thinkingBudget": 0}, 4),
        ("gemini-2.5-pro", REGION, {"thinkingBudget": 128}, 132),
        ("gemini-3.5-flash", "us", {"thinkingLevel": "MINIMAL"}, 516),
    ],
)
async def test_each_model_thinks_as_little_as_it_can_tuned_or_not_and_after_a_restart(
    server: VertexAIServer,
    provider: VertexAI,
    tmp_path: Path,
    base_model: str,
    location: str,
    thinking: dict[str, Any],
    most_tokens: int,
) -> None:
    server.serves_in, server.base_quality = location, 1.0
    model = await tuned(server, provider, tmp_path, base_model)
    restarted = VertexAI(config_for(server, tmp_path / "work"))
    for each, path in (
        (base_model, f"/v1/projects/{PROJECT}/locations/{location}/publishers/google/models/{base_model}"),
        (model, f"/v1/projects/123456789012/locations/{location}/endpoints/2001"),
    ):
        async with restarted.inference(each) as session:
            assert await session.answer([conversation("red")], max_output_tokens=4) == ["warm"]
        told, body = asked(server)
        assert told == f"{path}:generateContent"
        assert body["generationConfig"]["thinkingConfig"] == thinking
        assert body["generationConfig"]["maxOutputTokens"] == most_tokens
    await restarted.aclose()


async def test_a_question_that_is_refused_has_an_empty_answer_and_the_others_have_theirs(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    server.refused_questions.add("is red warm or cold")
    model = await tuned(server, provider, tmp_path)
    async with provider.inference(model) as session:
        questions = [conversation(word) for word in ("red", "blue")]
        assert await session.answer(questions, max_output_tokens=4) == ["", "cold"]


@pytest.mark.parametrize(
    ("candidate", "text"),
    [
        ({"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "finish_reason": "STOP"}, "ab"),
        ({"content": {"parts": [{"text": "hm", "thought": True}, {"text": "b"}]}}, "b"),
        ({"content": {"parts": [{"text": "cut o"}]}, "finish_reason": "MAX_TOKENS"}, "cut o"),
        ({"finish_reason": "SAFETY"}, ""),
        ({"finish_reason": "RECITATION"}, ""),
    ],
)
def test_an_answer_is_the_first_candidate_s_text_without_its_thoughts(candidate: Any, text: str) -> None:
    answer = api.GenerateContentResponse(candidates=[candidate, {"content": {"parts": [{"text": "second"}]}}])
    assert text_of(api.GenerateContentResponse.pb(answer)) == text


def test_an_answer_that_was_all_thought_is_empty_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    answer = api.GenerateContentResponse(candidates=[{"finish_reason": "MAX_TOKENS"}])
    with caplog.at_level(logging.WARNING):
        assert text_of(api.GenerateContentResponse.pb(answer)) == ""
    assert "thinkingTokens" in caplog.text


def test_an_answer_that_was_paid_for_and_has_no_candidate_is_empty(caplog: pytest.LogCaptureFixture) -> None:
    answer = api.GenerateContentResponse(usage_metadata={"prompt_token_count": 7, "total_token_count": 7})
    with caplog.at_level(logging.WARNING):
        assert text_of(api.GenerateContentResponse.pb(answer)) == ""
    assert "no candidate" in caplog.text


async def test_an_answer_without_candidates_or_a_reason_is_not_understood(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.always("answer", Fault(takes_effect=True, body=b"{}"))
    async with provider.inference(model) as session:
        with pytest.raises(UnexpectedResponse):
            await session.answer([conversation("red")], max_output_tokens=4)


# -- deletion -----------------------------------------------------------------------------------------------


async def test_deleting_leaves_neither_a_model_nor_an_endpoint(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.operation_looks = 3
    await provider.delete_model(model)
    calls = ["undeploy", "delete-model", "delete-endpoint"]
    assert [each.operation for each in server.requests if each.operation in calls] == calls
    assert server.models_deleted == {f"projects/123456789012/locations/{REGION}/models/1001"}
    assert server.endpoints_deleted == {next(iter(server.jobs))}
    await provider.delete_model(model)


@pytest.mark.parametrize("operation", ["undeploy", "delete-model", "delete-endpoint", "operation"])
async def test_a_deletion_that_was_broken_off_goes_on_after_a_restart(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path, operation: str, naps: Naps
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.always(operation, refused(503))
    with pytest.raises(TransientProviderError):
        await provider.delete_model(model)
    server.always(operation, None)
    restarted = VertexAI(config_for(server, tmp_path / "work"), sleep=naps)
    await restarted.delete_model(model)
    assert server.models_deleted
    assert server.endpoints_deleted
    await restarted.aclose()


async def test_a_deletion_that_takes_long_is_called_again(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path, naps: Naps
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.operation_looks = 10_000
    with pytest.raises(TransientProviderError, match="has not ended"):
        await provider.delete_model(model)
    assert 100 < naps.seconds < 200


@pytest.mark.parametrize(
    ("code", "raises"), [(5, None), (7, PermanentProviderError), (14, TransientProviderError)]
)
async def test_a_deletion_fails_as_its_operation_does(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path, code: int, raises: type[Exception] | None
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.operation_error = {"code": code, "message": "it is so"}
    if raises is None:
        await provider.delete_model(model)
        return
    with pytest.raises(raises, match="it is so"):
        await provider.delete_model(model)


async def test_a_model_that_cannot_be_deleted_leaves_no_endpoint_behind(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.always("delete-model", refused(400))
    with pytest.raises(PermanentProviderError, match="on purpose"):
        await provider.delete_model(model)
    assert server.endpoints_deleted == {next(iter(server.jobs))}


async def test_a_model_that_somebody_else_put_behind_the_endpoint_is_not_deleted(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    model = await tuned(server, provider, tmp_path)
    shown = server._get_endpoint
    theirs = {"id": "9", "model": f"projects/123456789012/locations/{REGION}/models/77@1"}

    def with_theirs(request: Request) -> Answer:
        answer = shown(request)
        answer.body["deployedModels"].append(theirs)
        return answer

    server._get_endpoint = with_theirs  # type: ignore[method-assign]
    await provider.delete_model(model)
    deleted = [each.path for each in server.requests if each.operation == "delete-model"]
    assert deleted == [f"/v1/projects/123456789012/locations/{REGION}/models/1001"]


async def test_an_operation_that_has_ended_at_once_is_not_asked_for(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path
) -> None:
    model = await tuned(server, provider, tmp_path)
    server.ends_operations_at_once = True
    await provider.delete_model(model)
    assert server.models_deleted
    assert server.endpoints_deleted
    assert server.count("operation") == 0


async def test_an_endpoint_of_no_known_job_is_deleted_with_the_model_that_is_deployed(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path, naps: Naps
) -> None:
    model = await tuned(server, provider, tmp_path)
    next(iter(server.jobs.values())).hidden_until_s = 1e9
    restarted = VertexAI(config_for(server, tmp_path / "work"), sleep=naps)
    await restarted.delete_model(model)
    assert server.models_deleted
    assert server.endpoints_deleted
    await restarted.aclose()


async def test_what_is_no_endpoint_is_not_deleted(server: VertexAIServer, provider: VertexAI) -> None:
    with pytest.raises(PermanentProviderError, match="no endpoint"):
        await provider.delete_model("gemini-2.5-flash")
    assert server.requests == []
