"""Cohere's fake refuses what Cohere would refuse, and its judge lets nothing through."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cohere.finetuning import FinetunedModel
from tests.fakes import cohere_schema
from tests.fakes.cohere_server import CohereServer
from tests.unit.providers.cohere_bench import MODEL

ROW = '{"messages": [{"role": "User", "content": "%s"}, {"role": "Chatbot", "content": "b"}]}\n'
GOOD = (ROW % "a" + ROW % "c").encode()
MODELS = "/v1/finetuning/finetuned-models"


@pytest.fixture
def server() -> Iterator[CohereServer]:
    with CohereServer() as server:
        server.validation_looks = -1
        yield server


@pytest.fixture
def raw(server: CohereServer) -> Iterator[httpx.Client]:
    """A client that says what it is told."""
    headers = {"Authorization": f"Bearer {server.secret}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
        yield client


def send(raw: httpx.Client, content: bytes = GOOD, *, file: str = "d.jsonl", **query: str) -> httpx.Response:
    parameters = {"name": "mine", "type": "chat-finetune-input"} | query
    return raw.post("/v1/datasets", params=parameters, files={"data": (file, content)})


def job(dataset_id: str, **changes: Any) -> dict[str, Any]:
    base_model = {"base_type": "BASE_TYPE_CHAT", "name": MODEL}
    return {"name": "k", "settings": {"base_model": base_model, "dataset_id": dataset_id}} | changes


def test_a_right_job_is_taken(server: CohereServer, raw: httpx.Client) -> None:
    dataset_id = send(raw).json()["id"]
    assert raw.post(MODELS, json=job(dataset_id)).status_code == 200
    assert len(server.jobs) == 1
    assert server.violations == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": ""}, "name must be set"),
        ({"id": "mine"}, "read-only"),
        ({"status": "STATUS_READY"}, "read-only"),
        ({"labels": {}}, "labels"),
        ({"name": 7}, "name"),
        ({"settings": {}}, "base_model"),
    ],
)
def test_a_wrong_job_is_refused(
    server: CohereServer, raw: httpx.Client, body: dict[str, Any], message: str
) -> None:
    answer = raw.post(MODELS, json=job(send(raw).json()["id"], **body))
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert not server.jobs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset_id": "another"}, "was not found"),
        ({"base_model": {"base_type": "BASE_TYPE_RERANK"}}, "does not fit"),
        ({"base_model": {"base_type": "BASE_TYPE_OF_TOMORROW"}}, "base_type"),
        ({"base_model": {"base_type": "BASE_TYPE_CHAT", "name": "gpt"}}, "cannot be fine-tuned"),
        ({"hyperparameters": {"train_epochs": 11}}, "between 1 and 10"),
        ({"hyperparameters": {"train_epochs": 1.5}}, "train_epochs"),
        ({"hyperparameters": {"train_epochs": "2"}}, "train_epochs"),
        ({"hyperparameters": {"learning_rate": 1e-6}}, "between 5e-05 and 0.1"),
        ({"hyperparameters": {"epochs": 1}}, "epochs"),
    ],
)
def test_wrong_settings_are_refused(
    server: CohereServer, raw: httpx.Client, settings: dict[str, Any], message: str
) -> None:
    body = job(send(raw).json()["id"])
    body["settings"] |= settings
    answer = raw.post(MODELS, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert not server.jobs


def test_a_dataset_that_is_not_validated_trains_nothing(server: CohereServer, raw: httpx.Client) -> None:
    server.validation_looks = 5
    assert "not validated" in raw.post(MODELS, json=job(send(raw).json()["id"])).json()["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name parameter"),
        ({"name": "n" * 50}, "less than 50"),
        ({"type": "embed-input"}, "type is invalid"),
        ({"purpose": "fine-tune"}, "unknown parameters: purpose"),
    ],
)
def test_a_wrong_upload_is_refused(raw: httpx.Client, changes: dict[str, str], message: str) -> None:
    answer = send(raw, **changes)
    assert answer.status_code == 400
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((ROW % "a").encode(), "not enough valid examples"),
        ((ROW % "a" * 2).encode(), "not enough valid examples"),
        (GOOD.replace(b"Chatbot", b"assistant"), "extra speaker in example: assistant"),
        (GOOD.replace(b"Chatbot", b"User"), "missing Chatbot"),
        (GOOD.replace(b'"messages"', b'"weight": 1, "messages"'), "unknown fields"),
    ],
)
def test_a_wrong_dataset_fails_its_validation(raw: httpx.Client, content: bytes, message: str) -> None:
    dataset = raw.get(f"/v1/datasets/{send(raw, content).json()['id']}").json()["dataset"]
    assert dataset["validation_status"] == "failed"
    assert message in dataset["validation_error"]


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", f"{MODELS}/any", {"params": {"page_size": "1"}}),
        ("DELETE", f"{MODELS}/any", {"params": {"force": "1"}}),
        ("POST", MODELS, {"params": {"force": "1"}, "json": {}}),
        ("GET", "/v1/datasets/any", {"params": {"limit": "1"}}),
        ("DELETE", "/v1/datasets/any", {"params": {"limit": "1"}}),
        ("POST", "/v2/chat", {"params": {"stream": "1"}, "json": {}}),
        ("GET", "/v1/datasets", {"params": {"limit": "many"}}),
        ("GET", "/v1/datasets", {"params": {"offset": "-1"}}),
    ],
)
def test_a_query_that_is_not_published_is_refused(
    raw: httpx.Client, method: str, path: str, more: dict[str, Any]
) -> None:
    answer = raw.request(method, path, **more)
    assert answer.status_code == 400, answer.text


def test_a_body_that_is_no_json_by_its_own_account_is_refused(raw: httpx.Client) -> None:
    for path in (MODELS, "/v2/chat"):
        answer = raw.post(path, content=json.dumps(job("any")), headers={"Content-Type": "text/plain"})
        assert (answer.status_code, "Content-Type" in answer.json()["message"]) == (400, True)


def test_a_wrong_key_is_refused(server: CohereServer) -> None:
    answer = httpx.get(f"{server.url}{MODELS}", headers={"Authorization": "Bearer x"}, trust_env=False)
    assert (answer.status_code, answer.json()) == (401, {"message": "invalid api token"})


def test_lists_are_cut_into_pages_in_the_order_asked_for(server: CohereServer, raw: httpx.Client) -> None:
    dataset_id = send(raw).json()["id"]
    for number in range(3):
        raw.post(MODELS, json=job(dataset_id, name=f"k{number}"))
    first = raw.get(MODELS, params={"page_size": 2, "order_by": "created_at desc"}).json()
    assert [each["name"] for each in first["finetuned_models"]] == ["k2", "k1"]
    second = raw.get(MODELS, params={"page_size": 2, "page_token": first["next_page_token"]}).json()
    assert [each["name"] for each in second["finetuned_models"]] == ["k2"]  # the oldest first by default
    assert "next_page_token" not in second
    assert raw.get(MODELS, params={"page_size": "many"}).status_code == 400


def test_an_answer_that_breaks_cohere_s_types_fails_loudly(server: CohereServer, raw: httpx.Client) -> None:
    raw.post(MODELS, json=job(send(raw).json()["id"]))
    for sold in server.jobs.values():
        sold.body["settings"]["hyperparameters"] = {"train_epochs": "two"}
    assert raw.get(MODELS).status_code == 500
    assert "train_epochs" in server.violations[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("name"),
        lambda body: body.update(status="STATUS_OF_TOMORROW"),
        lambda body: body.update(state="x"),
        lambda body: body["settings"].pop("dataset_id"),
        lambda body: body.update(created_at="yesterday"),
    ],
)
def test_the_judge_knows_a_wrong_model(change: Any) -> None:
    body = job("d") | {"id": "i", "status": "STATUS_READY", "created_at": "2024-01-17T20:11:42Z"}
    cohere_schema.check_answer("get", json.dumps({"finetuned_model": body}).encode())
    change(body)
    with pytest.raises(ValueError, match="validation error"):
        cohere_schema.check_answer("get", json.dumps({"finetuned_model": body}).encode())


def test_the_judge_knows_what_is_read_only() -> None:
    """The SDK says it in the text below each field."""
    fields = re.findall(r'\n    (\w+): [^\n]*\n    """\s*read-only', inspect.getsource(FinetunedModel))
    assert set(fields) == cohere_schema.READ_ONLY
