"""Google AI Studio's fake refuses what Google would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.fakes.google_ai_studio_server import BASE_MODEL, GoogleAIStudioServer

TUNED = {
    "baseModel": f"models/{BASE_MODEL}",
    "tuningTask": {"trainingData": {"examples": {"examples": [{"textInput": "a", "output": "b"}]}}},
}
TALK = [{"role": "user", "parts": [{"text": "a"}]}]


@pytest.fixture
def server() -> Iterator[GoogleAIStudioServer]:
    with GoogleAIStudioServer() as server:
        yield server


@pytest.fixture
def raw(server: GoogleAIStudioServer) -> Iterator[httpx.Client]:
    """A client that says what it is told."""
    headers = {"x-goog-api-key": server.secret}
    with httpx.Client(base_url=f"{server.url}/v1beta/", headers=headers, trust_env=False) as client:
        yield client


def test_what_is_right_is_taken(server: GoogleAIStudioServer, raw: httpx.Client) -> None:
    assert raw.post("tunedModels", params={"tunedModelId": "a"}, json=TUNED).status_code == 200
    assert raw.get("tunedModels", params={"pageSize": "1"}).status_code == 200
    assert raw.get("tunedModels/a").status_code == 200
    assert raw.post(f"models/{BASE_MODEL}:generateContent", json={"contents": TALK}).status_code == 200
    assert raw.delete("tunedModels/a").status_code == 200
    assert server.violations == ["a model was asked at another temperature than 0"]


@pytest.mark.parametrize(
    ("method", "path", "more", "said"),
    [
        ("POST", "tunedModels", {"params": {"tunedModelId": "b", "force": "1"}, "json": TUNED}, "force"),
        ("POST", "tunedModels", {"params": {"tunedModelId": ["b", "c"]}, "json": TUNED}, "tunedModelId"),
        (
            "POST",
            "tunedModels",
            {"params": {"tunedModelId": "Upper"}, "json": TUNED},
            "invalid tuned_model_id",
        ),
        ("GET", "tunedModels", {"params": {"limit": "1"}}, "limit"),
        ("GET", "tunedModels", {"params": {"pageSize": "-1"}}, "page_size"),
        ("GET", "tunedModels", {"params": {"pageToken": "mine"}}, "page_token"),
        ("GET", "tunedModels/a", {"params": {"view": "FULL"}}, "view"),
        ("DELETE", "tunedModels/a", {"params": {"etag": "1"}}, "etag"),
        ("GET", "tunedModels/a/operations", {"params": {"limit": "1"}}, "limit"),
        ("GET", f"models/{BASE_MODEL}", {"params": {"view": "FULL"}}, "view"),
        ("POST", "tunedModels", {"params": {"tunedModelId": "b"}, "content": b"{}"}, "Content-Type"),
        ("POST", f"models/{BASE_MODEL}:generateContent", {"json": {"contents": []}}, "contents"),
        (
            "POST",
            f"models/{BASE_MODEL}:generateContent",
            {"json": {"contents": [{"role": "user", "parts": [{"text": ""}]}]}},
            "empty",
        ),
        ("POST", f"models/{BASE_MODEL}:generateContent", {"json": {"contents": TALK * 2}}, "alternate"),
        (
            "POST",
            f"models/{BASE_MODEL}:generateContent",
            {"json": {"contents": TALK, "generationConfig": {"temperature": 0, "maxOutputTokens": 0}}},
            "max_output_tokens",
        ),
    ],
)
def test_what_google_would_refuse_is_refused(
    server: GoogleAIStudioServer, raw: httpx.Client, method: str, path: str, more: Any, said: str
) -> None:
    raw.post("tunedModels", params={"tunedModelId": "a"}, json=TUNED)
    answer = raw.request(method, path, **more)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
    assert list(server.jobs) == ["a"]
