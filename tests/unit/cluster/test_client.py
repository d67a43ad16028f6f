"""What the API server's answers mean to the operator."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.cluster.answers import Unauthenticated
from finetune_operator.cluster.client import CONFIG_MAPS, SWEEPS, TRIALS, KubeClient
from finetune_operator.lifecycle.store import AlreadyExists, Conflict, NotFound, Refused, StoreUnavailable


class Answer:
    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self._data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def read(self) -> bytes:
        return self._data


class FakeApi:
    """Answers with what it was given, in order, and remembers the requests."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    async def param_serialize(self, **request: Any) -> tuple[dict[str, Any]]:
        return (request,)

    async def call_api(self, request: dict[str, Any], **_: Any) -> Answer:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def status(code: int, reason: str, message: str = "what the server says") -> Answer:
    return Answer(code, {"kind": "Status", "code": code, "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(409, "Conflict"), Conflict),
        (status(409, "AlreadyExists"), AlreadyExists),
        (status(404, "NotFound"), NotFound),
        (status(403, "Forbidden"), Refused),
        (status(422, "Invalid"), Refused),
        (status(400, "BadRequest"), Refused),
        (status(413, "RequestEntityTooLarge"), Refused),
        (status(401, "Unauthorized"), Unauthenticated),
        (status(429, "TooManyRequests"), StoreUnavailable),
        (status(500, "InternalError"), StoreUnavailable),
        (status(503, "ServiceUnavailable"), StoreUnavailable),
        (Answer(502, b"<html>what the server says</html>"), StoreUnavailable),
        (Answer(503, ["what the server says"]), StoreUnavailable),
    ],
)
async def test_an_answer_says_what_to_do_next(answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error, match="what the server says") as caught:
        await KubeClient(FakeApi(answer)).get(SWEEPS, "team", "support")
    assert caught.type is error
    assert issubclass(Unauthenticated, StoreUnavailable), "credentials may be renewed"


@pytest.mark.parametrize(
    "failure",
    [
        aiohttp.ClientConnectionError("connection reset"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ConnectionRefusedError("refused"),
        ApiException(status=0, reason="no request could be made"),
    ],
)
async def test_no_answer_means_try_again_later(failure: Exception) -> None:
    with pytest.raises(StoreUnavailable, match=r"PATCH .*finetunetrials/support-0/status: "):
        await KubeClient(FakeApi(failure)).patch(
            TRIALS, "team", "support-0", body={"status": {}}, subresource="status"
        )


async def test_an_answer_that_is_cut_off_means_try_again_later() -> None:
    with pytest.raises(StoreUnavailable, match="not JSON"):
        await KubeClient(FakeApi(Answer(200, b'{"kind": "Fine'))).get(SWEEPS, "team", "support")


async def test_a_request_that_fails_does_not_repeat_what_was_sent() -> None:
    client = KubeClient(FakeApi(aiohttp.ClientConnectionError("gone"), status(500, "InternalError")))
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            await client.create(CONFIG_MAPS, "team", {"data": {"key": "a-value"}})
        assert "a-value" not in str(caught.value)


async def test_writes_say_who_writes_and_that_nothing_may_be_dropped() -> None:
    api = FakeApi(Answer(200, {}), Answer(201, {}), Answer(200, {}))
    client = KubeClient(api)
    await client.patch(SWEEPS, "team", "support", body={})
    await client.create(TRIALS, "team", {})
    await client.delete(TRIALS, "team", "support-0", uid="u1")
    patch, create, delete = api.requests
    for request in (patch, create):
        assert ("fieldManager", "finetune-operator") in request["query_params"]
        assert ("fieldValidation", "Strict") in request["query_params"]
    assert patch["header_params"]["Content-Type"] == "application/merge-patch+json"
    assert delete["body"]["preconditions"] == {"uid": "u1"}


async def test_names_cannot_leave_their_place_in_a_path() -> None:
    api = FakeApi(Answer(200, {}))
    await KubeClient(api).get(CONFIG_MAPS, "team", "../secrets/x")
    assert api.requests[0]["resource_path"] == "/api/v1/namespaces/team/configmaps/..%2Fsecrets%2Fx"


def page(*names: str, token: str = "") -> Answer:
    items = [{"metadata": {"name": name}} for name in names]
    metadata = {"resourceVersion": "7"} | ({"continue": token} if token else {})
    return Answer(
        200, {"apiVersion": "v1", "kind": "FinetuneSweepList", "metadata": metadata, "items": items}
    )


async def test_a_list_that_expires_while_it_is_read_is_read_anew() -> None:
    api = FakeApi(page("a", token="more"), status(410, "Expired"), page("a", "b", token="more"), page("c"))
    listing = await KubeClient(api).list(SWEEPS, None)
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b", "c"]
    assert [item["kind"] for item in listing.items] == ["FinetuneSweep"] * 3
    assert listing.version == 7


async def test_metadata_alone_is_asked_for_in_larger_chunks_and_may_be_none() -> None:
    empty = {"metadata": {"resourceVersion": "7"}, "items": None, "kind": "PartialObjectMetadataList"}
    api = FakeApi(Answer(200, {"apiVersion": "meta.k8s.io/v1", **empty}))
    pages: list[int] = []
    version = await KubeClient(api).read_pages(
        SWEEPS, None, lambda items, first: pages.append(len(items)), metadata_alone=True
    )
    assert (version, pages) == (7, [0])
    (request,) = api.requests
    assert request["header_params"]["Accept"].startswith("application/json;as=PartialObjectMetadataList;")
    assert ("limit", "1000") in request["query_params"]


async def test_a_list_that_expires_each_time_is_unavailable() -> None:
    api = FakeApi(*[page("a", token="more"), status(410, "Expired")] * 3)
    with pytest.raises(StoreUnavailable, match="expired"):
        await KubeClient(api).list(SWEEPS, None)
