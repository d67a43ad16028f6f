"""Accounts at Vertex AI: credentials, addresses, and what a failure means."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import google.auth
import google.auth.exceptions
import pytest
import requests
from google.api_core.exceptions import from_http_response
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from tests.contract.provider_contract import KEY, write_dataset
from tests.fakes.http_server import DROPPED, Answer, Fault, refused
from tests.fakes.vertex_ai_server import PROJECT, VertexAIServer, config_for

from finetune_providers import bounded
from finetune_providers.base import JobRequest
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
from finetune_providers.registry import create
from finetune_providers.vertex_ai import VertexAI
from finetune_providers.vertex_ai.account import Account, location_of
from finetune_providers.vertex_ai.errors import asked, explain

REQUEST = JobRequest(KEY, "gemini-2.5-flash", {"epochs": 1}, "gs://acme-datasets/x.jsonl")
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def server() -> Iterator[VertexAIServer]:
    with VertexAIServer() as server:
        yield server
    assert server.violations == []


# -- configuration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"region": None}, "spec.region", "us-central1"),
        ({"region": "us-central1.evil.example/"}, "spec.region", "us-central1"),
        ({"data_uri": None}, "spec.dataUri", "gs://bucket/folder"),
        ({"data_uri": "s3://bucket/folder"}, "spec.dataUri", "gs://bucket/folder"),
        ({"data_uri": "gs://bucket//folder"}, "spec.dataUri", "gs://bucket/folder"),
        (
            {"models": {"g": {"like": "gemini-2.5-flash", "traits": {"thinkingBudget": "none"}}}},
            "spec.models",
            "'g': trait thinkingBudget cannot be 'none'; it is a number of tokens",
        ),
        (
            {"models": {"g": {"like": "gemini-3.5-flash", "traits": {"thinkingLevel": "OFF"}}}},
            "spec.models",
            "LOW, MEDIUM, HIGH, MINIMAL",
        ),
        ({"project": None, "credentials": {}}, "spec.project", "id of the Google Cloud project"),
        (
            {"credentials": {"OPENAI_API_KEY": "k"}},
            "spec.credentialsSecretRef",
            "GOOGLE_APPLICATION_CREDENTIALS_JSON or credentials.json",
        ),
        ({"credentials": {"credentials.json": "no json"}}, "spec.credentialsSecretRef", "service_account"),
        ({"credentials": {"credentials.json": "[]"}}, "spec.credentialsSecretRef", "service_account"),
        (
            {"credentials": {"credentials.json": '{"type": "authorized_user", "client_secret": "s3cret"}'}},
            "spec.credentialsSecretRef",
            "Workload Identity",
        ),
        (
            {"credentials": {"credentials.json": '{"type": "service_account", "private_key": "s3cret"}'}},
            "spec.credentialsSecretRef",
            "not whole",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_field_and_what_to_write(
    server: VertexAIServer, tmp_path: Path, changes: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(PermanentProviderError, match=says) as caught:
        create(config_for(server, tmp_path, **changes))
    assert caught.value.field == field
    assert "s3cret" not in str(caught.value)


def test_the_project_may_come_from_the_key(server: VertexAIServer, tmp_path: Path) -> None:
    assert Account(config_for(server, tmp_path, project=None)).project == PROJECT


@pytest.mark.parametrize("name", ["GOOGLE_APPLICATION_CREDENTIALS_JSON", "credentials.json"])
async def test_the_key_may_have_either_name_in_the_secret(
    server: VertexAIServer, tmp_path: Path, name: str
) -> None:
    provider = create(config_for(server, tmp_path, credentials={name: server.key}))
    await provider.check(["gemini-2.5-flash"])
    await provider.aclose()


async def test_without_a_secret_the_machine_s_own_identity_is_used(
    server: VertexAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[Any] = []

    def default(scopes: Any = None) -> Any:
        asked_for.append(scopes)
        return Credentials(token="from-the-metadata-server"), None

    monkeypatch.setattr(google.auth, "default", default)
    server.tokens.add("from-the-metadata-server")
    provider = create(config_for(server, tmp_path, credentials={}))
    assert asked_for == []  # looking for it may take long
    await provider.check(["gemini-2.5-flash"])
    await provider.check(["gemini-2.5-flash"])
    assert asked_for == [["https://www.googleapis.com/auth/cloud-platform"]]
    await provider.aclose()


async def test_a_machine_without_an_identity_says_what_to_do(
    server: VertexAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def default(**_: Any) -> Any:
        raise google.auth.exceptions.DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", default)
    provider = create(config_for(server, tmp_path, credentials={}))
    with pytest.raises(PermanentProviderError, match="Workload Identity") as caught:
        await provider.check(["gemini-2.5-flash"])
    assert caught.value.field == "spec.credentialsSecretRef"
    await provider.aclose()


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("us", "https://aiplatform.us.rep.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
    ],
)
def test_each_location_has_its_own_host(
    server: VertexAIServer, tmp_path: Path, location: str, host: str
) -> None:
    account = Account(config_for(server, tmp_path, endpoint=None))
    assert account.host(f"projects/1/locations/{location}/models/2") == host
    assert account.host(f"projects/1/locations/{location}/endpoints/2:generateContent") == host
    account.close()


def test_each_service_may_lie_elsewhere(server: VertexAIServer, tmp_path: Path) -> None:
    endpoints = {"inference": "http://a:1", "storage": "http://b:2", "login": "http://c:3/token"}
    account = Account(config_for(server, tmp_path, endpoints=endpoints))
    assert account.host("projects/1/locations/us/endpoints/2:generateContent") == "http://a:1"
    assert account.storage().api_endpoint == "http://b:2"
    assert account.host("projects/1/locations/us-central1/tuningJobs") == server.url
    assert account._credentials()._token_uri == "http://c:3/token"
    account.close()


def test_google_s_regional_look_ups_are_made_for_google_s_own_endpoints_alone(
    server: VertexAIServer, tmp_path: Path
) -> None:
    ours = Account(config_for(server, tmp_path))._credentials()
    google_s = Account(config_for(server, tmp_path, endpoint=None))._credentials()
    assert not ours._is_regional_access_boundary_lookup_required()
    assert not ours.with_scopes(["a"])._is_regional_access_boundary_lookup_required()
    assert type(google_s) is service_account.Credentials


def test_a_name_without_a_location_is_not_guessed_at() -> None:
    assert location_of("projects/1/locations/us/endpoints/2") == "us"
    with pytest.raises(UnexpectedResponse):
        location_of("endpoints/2")


# -- logging in ---------------------------------------------------------------------------------------------


async def test_one_token_serves_every_service_and_is_fetched_anew_when_it_is_refused(
    server: VertexAIServer, tmp_path: Path
) -> None:
    provider = create(config_for(server, tmp_path / "work"))
    await provider.upload(write_dataset(tmp_path / "t.jsonl"), base_model="gemini-2.5-flash")
    await provider.check(["gemini-2.5-flash"])
    assert server.count("login") == 1
    server.tokens.clear()  # taken back before its time
    await provider.check(["gemini-2.5-flash"])
    assert server.count("login") == 2
    await provider.aclose()


async def test_a_purchase_is_not_sent_again_with_a_new_token(server: VertexAIServer, tmp_path: Path) -> None:
    provider = create(config_for(server, tmp_path))
    server.always("create", refused(401))
    with pytest.raises(PermanentProviderError):
        await provider.submit(REQUEST)
    assert server.count("create") == 1
    await provider.aclose()


async def test_a_token_that_was_taken_back_before_its_time_fails_no_purchase(
    server: VertexAIServer, tmp_path: Path
) -> None:
    provider = create(config_for(server, tmp_path / "work"))
    training = await provider.upload(write_dataset(tmp_path / "t.jsonl"), base_model="gemini-2.5-flash")
    server.tokens.clear()
    await provider.submit(replace(REQUEST, training=training))
    assert server.count("create") == 1
    await provider.aclose()


async def test_a_key_that_google_does_not_know_is_refused_before_a_purchase(
    server: VertexAIServer, tmp_path: Path
) -> None:
    key = json.dumps({**json.loads(server.key), "client_email": "nobody@example.com"})
    provider = create(config_for(server, tmp_path, credentials={"credentials.json": key}))
    with pytest.raises(PermanentProviderError, match="invalid_grant") as caught:
        await provider.submit(REQUEST)
    assert caught.value.field == "spec.credentialsSecretRef"
    assert server.count("create") == 0
    await provider.aclose()


async def test_a_login_that_fails_leaves_no_doubt_that_nothing_was_bought(
    server: VertexAIServer, tmp_path: Path
) -> None:
    provider = create(config_for(server, tmp_path))
    server.fault("login", DROPPED)
    with pytest.raises(NotReached):
        await provider.submit(REQUEST)
    assert server.count("create") == 0
    await provider.aclose()


async def test_a_login_s_answer_is_bounded_and_no_purchase_in_doubt(
    server: VertexAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", 2**16)
    provider = create(config_for(server, tmp_path))
    server.always("login", Fault(body=b" " * 2**17))
    with pytest.raises(NotReached, match="larger than 65,536 bytes"):
        await provider.submit(REQUEST)
    with pytest.raises(NotReached, match="larger than 65,536 bytes"):
        await provider.find(KEY)
    assert server.count("create") == 0
    await provider.aclose()


async def test_a_login_that_drags_on_is_no_purchase_in_doubt(
    server: VertexAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = VertexAI(config_for(server, tmp_path))
    shorter = functools.partial(provider._purchases.create, timeout_s=0.05)
    monkeypatch.setattr(provider._purchases, "create", shorter)
    server.fault("login", Fault(delay_s=0.15))
    with pytest.raises(NotReached):
        await provider.submit(REQUEST)
    assert server.count("create") == 0
    await provider.aclose()


async def test_a_purchase_without_a_connection_had_no_effect(server: VertexAIServer, tmp_path: Path) -> None:
    provider = create(config_for(server, tmp_path, endpoint=NOWHERE))
    with pytest.raises(NotReached):
        await provider.submit(REQUEST)
    await provider.aclose()
    elsewhere = {"login": f"{NOWHERE}/token"}
    provider = create(config_for(server, tmp_path, endpoints=elsewhere))
    with pytest.raises(NotReached):
        await provider.submit(REQUEST)
    assert server.count("create") == 0
    await provider.aclose()


async def test_no_token_and_no_key_is_in_a_log_or_an_error(
    server: VertexAIServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = create(config_for(server, tmp_path / "work"))
    await provider.upload(write_dataset(tmp_path / "t.jsonl"), base_model="gemini-2.5-flash")
    key = json.loads(server.key)
    server.always("list", Fault(status=400, code=f"{key['private_key']} {server.key}"))
    with pytest.raises(ProviderError) as caught:
        await provider.check(["gemini-2.5-flash"])
    lines = key["private_key"].splitlines()
    told = caplog.text + str(caught.value) + repr(caught.value) + repr(provider)
    assert not [each for each in (*server.tokens, *lines[1:-1], server.secret) if each in told]
    await provider.aclose()


def test_a_metadata_server_that_is_not_up_yet_is_no_refusal() -> None:
    """As google.auth.compute_engine raises it: a pod of GKE may be up before its metadata server."""
    trouble = google.auth.exceptions.TransportError(
        "Failed to retrieve http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token "
        "from the Google Compute Engine metadata service. Compute Engine Metadata server unavailable. "
        "Last exception: connection refused"
    )
    assert type(explain(google.auth.exceptions.RefreshError(trouble))) is NotReached
    refusal = google.auth.exceptions.TransportError(
        "Failed to retrieve http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token "
        "from the Google Compute Engine metadata service. Status: 403 Response:\nb'Unable to generate access token'"
    )
    error = explain(google.auth.exceptions.RefreshError(refusal))
    assert isinstance(error, PermanentProviderError)
    assert error.field == "spec.credentialsSecretRef"


async def test_a_closed_provider_makes_no_calls(server: VertexAIServer, tmp_path: Path) -> None:
    provider = VertexAI(config_for(server, tmp_path))
    await provider.check(["gemini-2.5-flash"])
    await provider.aclose()
    await provider.aclose()
    with pytest.raises(TransientProviderError, match="closed"):
        provider._account.storage()


# -- what an answer means -----------------------------------------------------------------------------------


def answer(status: int, body: object, **headers: str) -> Exception:
    """What Google's packages raise for an answer."""
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps(body).encode() if not isinstance(body, bytes) else body
    response.headers.update(headers)
    response.request = requests.Request("POST", "https://vertex.example/v1/jobs?$alt=json").prepare()
    error = from_http_response(response)
    assert isinstance(error, Exception)
    return error


def body(message: str = "so it is", **more: object) -> dict[str, object]:
    return {"error": {"code": 0, "message": message, **more}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentProviderError),
        (401, PermanentProviderError),
        (403, PermanentProviderError),
        (404, JobNotFound),
        (408, TransientProviderError),
        (409, TransientProviderError),
        (422, PermanentProviderError),
        (429, QuotaExceeded),
        (499, TransientProviderError),
        (500, TransientProviderError),
        (501, TransientProviderError),
        (503, TransientProviderError),
        (504, TransientProviderError),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[Exception]) -> None:
    error = explain(answer(status, body()))
    assert type(error) is kind
    assert str(error).startswith("so it is")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("Unsupported adapter_size", "parameters.loraRank"),
        ("epoch_count is too large", "parameters.epochs"),
        ("learning rate multiplier must be positive", "parameters.learningRateMultiplier"),
        ("The validation dataset is too large", "validation"),
        ("training_dataset_uri cannot be read", "training"),
        ("Base model gemini-9 is not supported.", "baseModels"),
        ("Something else", ""),
    ],
)
def test_a_refusal_names_the_field_that_it_is_about(message: str, field: str) -> None:
    error = explain(answer(400, body(message)))
    assert isinstance(error, PermanentProviderError)
    assert error.field == field


@pytest.mark.parametrize(
    "more",
    [
        {"errors": [{"reason": "rateLimitExceeded"}]},
        {"details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED"}]},
    ],
)
def test_a_rate_limit_is_one_whatever_its_status(more: dict[str, object]) -> None:
    assert type(explain(answer(403, body(**more)))) is QuotaExceeded


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry-After": "7"}, [], 7.0),
        ({}, [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}], 12.5),
        ({}, [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "soon"}], None),
        ({}, [], None),
    ],
)
def test_how_long_to_wait_is_read_wherever_google_says_it(
    headers: dict[str, str], details: list[object], seconds: float | None
) -> None:
    error = explain(answer(503, body(details=details), **headers))
    assert isinstance(error, TransientProviderError)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (b"<html>no</html>", PermanentProviderError),
        (b"", PermanentProviderError),
        (b"[]", PermanentProviderError),
        (b"null", PermanentProviderError),
        (b'"text"', AmbiguousProviderError),
        (b'{"error": "text"}', AmbiguousProviderError),
        (b'{"error": null}', AmbiguousProviderError),
    ],
)
@pytest.mark.parametrize("status", [400, 503])
async def test_an_error_of_another_shape_is_no_crash(
    server: VertexAIServer, tmp_path: Path, odd: bytes, kind: type[Exception], status: int
) -> None:
    provider = create(config_for(server, tmp_path))
    server.always("create", refused(status))
    server.error = lambda *_, **__: Answer(odd, status=status)  # type: ignore[method-assign]
    with pytest.raises(kind if status == 400 else AmbiguousProviderError):
        await provider.submit(REQUEST)
    await provider.aclose()


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"1",
        b"{}",
        b'{"name": 7}',
        b'{"name": "x", "createTime": "yesterday"}',
        b'{"name": "x", "labels": []}',
    ],
)
async def test_a_purchase_whose_answer_is_not_understood_is_in_doubt(
    server: VertexAIServer, tmp_path: Path, content: bytes
) -> None:
    provider = create(config_for(server, tmp_path))
    server.always("create", Fault(takes_effect=False, body=content))
    with pytest.raises(AmbiguousProviderError):
        await provider.submit(REQUEST)
    await provider.aclose()


def test_what_is_no_failure_of_a_call_stays_what_it_is() -> None:
    assert explain(ZeroDivisionError()) is None
    with pytest.raises(ZeroDivisionError):
        asked(lambda: 1 / 0)


def test_an_address_that_is_none_is_the_reader_s_to_change() -> None:
    error = explain(requests.exceptions.MissingSchema("no scheme"))
    assert isinstance(error, PermanentProviderError)
    assert error.field == "spec.endpoint"
