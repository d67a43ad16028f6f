"""What goes wrong at Cohere, and what is made of answers that have another form than they should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cohere.core.api_error import ApiError
from cohere.core.parse_error import ParsingError
from tests.contract.patience import PATIENCE_S
from tests.fakes.cohere_server import CohereServer
from tests.fakes.http_server import Fault
from tests.unit.providers.cohere_bench import KEY, MODEL, answer_of, provider_of, request_of

from finetune_providers.cohere import CohereProvider
from finetune_providers.cohere.wire import explain
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)


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


def api_error(status: int, body: object = None, **headers: str) -> ApiError:
    return ApiError(status_code=status, body=body or {"message": "because"}, headers=headers)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (api_error(400), PermanentProviderError),
        (api_error(401), PermanentProviderError),
        (api_error(402), PermanentProviderError),
        (api_error(403), PermanentProviderError),
        (api_error(404), JobNotFound),
        (api_error(408), TransientProviderError),
        (api_error(409), TransientProviderError),
        (api_error(422), PermanentProviderError),
        (api_error(429), QuotaExceeded),
        (api_error(498), PermanentProviderError),
        (api_error(499), TransientProviderError),
        (api_error(500), TransientProviderError),
        (api_error(501), TransientProviderError),
        (api_error(503), TransientProviderError),
        (api_error(200, "<html>"), UnexpectedResponse),
        (api_error(302), PermanentProviderError),
        (ParsingError(status_code=200, body="x"), UnexpectedResponse),
        (httpx.ConnectError("refused"), NotReached),
        (httpx.ConnectTimeout(""), NotReached),
        (httpx.ReadTimeout(""), TransientProviderError),
        (httpx.RemoteProtocolError("gone"), TransientProviderError),
        (httpx.UnsupportedProtocol("no http"), PermanentProviderError),
        (httpx.InvalidURL("bad"), PermanentProviderError),
        (TypeError("not a mapping"), UnexpectedResponse),
    ],
    ids=lambda value: getattr(
        value, "__name__", f"{type(value).__name__}-{getattr(value, 'status_code', '')}"
    ),
)
def test_every_error_has_one_meaning(error: Exception, kind: type[ProviderError]) -> None:
    meant = explain(error)
    assert type(meant) is kind


def test_a_defect_of_ours_is_no_failure_of_a_call() -> None:
    assert explain(AssertionError("oops")) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"message": "too many jobs"}, "too many jobs"),
        ("plain text", "plain text"),
        ({"x": 1}, "'x'"),
        (b"", "no message"),
    ],
)
def test_what_cohere_says_is_told(body: object, told: str) -> None:
    assert told in str(explain(ApiError(status_code=400, body=body, headers={"secret": "header"})))


@pytest.mark.parametrize("name", ["retry-after", "Retry-After"])
def test_how_long_to_wait_is_read(name: str) -> None:
    meant = explain(ApiError(status_code=503, body={}, headers={name: "12"}))
    assert isinstance(meant, TransientProviderError)
    assert meant.retry_after_s == 12.0


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("list", b"null"),
        ("list", b"[]"),
        ("list", b"7"),
        ("list", b'{"finetuned_models": "x"}'),
        ("list", b'{"finetuned_models": [null]}'),
        ("list", b'{"finetuned_models": [7]}'),
        ("list", b'{"next_page_token": 7}'),
        ("get", b"null"),
        ("get", b"{}"),
        ("get", b'{"finetuned_model": {}}'),
        ("get", b'{"finetuned_model": {"id": 7, "name": "x"}}'),
        ("datasets", b"null"),
        ("datasets", b'{"datasets": [{}]}'),
        ("chat", b"null"),
        ("chat", b"{}"),
        ("chat", b'{"finish_reason": "COMPLETE"}'),
        ("chat", b'{"finish_reason": "COMPLETE", "message": "x"}'),
        ("chat", b'{"finish_reason": "COMPLETE", "message": {"content": "x"}}'),
        ("create", b"null"),
        ("create", b"{}"),
        ("create", b'{"finetuned_model": {"id": ""}}'),
        ("create", b"\xff\xfe"),
    ],
)
async def test_an_answer_of_another_form_is_never_taken_for_one(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, operation: str, body: bytes
) -> None:
    request = await request_of(provider, tmp_path)
    server.always(operation, Fault(body=body))
    calls: dict[str, Any] = {
        "list": lambda: provider.observe(["any"]),
        "get": lambda: provider.cancel("any"),
        "datasets": lambda: provider.delete_data("any"),
        "chat": lambda: answer_of(provider, MODEL),
        "create": lambda: provider.submit(request),
    }
    kind = AmbiguousProviderError if operation == "create" else UnexpectedResponse
    with pytest.raises(kind):
        await calls[operation]()


async def test_a_list_without_an_end_is_not_followed(server: CohereServer, provider: CohereProvider) -> None:
    server.always("list", Fault(body=b'{"finetuned_models": [], "next_page_token": "a"}'))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(UnexpectedResponse, match="no end"):
            await provider.find(KEY)
        with pytest.raises(UnexpectedResponse, match="no end"):
            await provider.observe(["any"])
