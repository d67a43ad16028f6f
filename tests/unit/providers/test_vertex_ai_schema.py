"""The checks that the fake of Vertex AI makes: they must be able to fail."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from tests.fakes.http_server import Answer
from tests.fakes.vertex_ai_schema import Violation, document
from tests.fakes.vertex_ai_server import PROJECT, REGION, VertexAIServer

JOB = "GoogleCloudAiplatformV1TuningJob"
JOBS = f"/v1/projects/{PROJECT}/locations/{REGION}/tuningJobs"


def check(value: Any, *, sent: bool = True) -> None:
    document("aiplatform.v1").check(JOB, value, sent=sent)


GOOD: dict[str, Any] = {
    "baseModel": "m",
    "labels": {"a": "b"},
    "supervisedTuningSpec": {
        "trainingDatasetUri": "gs://b/o",
        "hyperParameters": {
            "epochCount": "3",
            "learningRateMultiplier": 1,
            "adapterSize": "ADAPTER_SIZE_ONE",
        },
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good job with one value changed."""

    def put(node: dict[str, Any], names: list[str]) -> dict[str, Any]:
        name, *rest = names
        return {**node, name: put(node.get(name, {}), rest) if rest else value}

    return put(GOOD, path.split("."))


def test_a_good_job_passes() -> None:
    check(GOOD)
    check({**GOOD, "state": "JOB_STATE_RUNNING", "createTime": "2026-11-24T09:00:00Z"}, sent=False)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("baseModell", "m", "no field"),
        ("baseModel", 3, "no string"),
        ("labels.a", 3, "no string"),
        ("labels", [], "no object"),
        ("supervisedTuningSpec.hyperParameters.epochCount", 3, "no string"),
        ("supervisedTuningSpec.hyperParameters.epochCount", "3.5", "no int64"),
        ("supervisedTuningSpec.hyperParameters.epochCount", str(2**63), "no int64"),
        ("supervisedTuningSpec.hyperParameters.learningRateMultiplier", "1", "no number"),
        ("supervisedTuningSpec.hyperParameters.adapterSize", "ADAPTER_SIZE_THREE", "none of"),
        ("supervisedTuningSpec.hyperParameters.adapterSize", 6, "no string"),
        ("supervisedTuningSpec.hyperParameters.batchSize", "4", "no field"),
        ("supervisedTuningSpec.exportLastCheckpointOnly", "true", "no boolean"),
        ("state", "JOB_STATE_RUNNING", "company alone"),
    ],
)
def test_what_is_not_in_google_s_document_is_found(path: str, value: Any, says: str) -> None:
    with pytest.raises(Violation, match=says):
        check(changed(path, value))


def test_what_google_s_document_requires_is_missed() -> None:
    with pytest.raises(Violation, match="lacks contents"):
        document("aiplatform.v1").check("GoogleCloudAiplatformV1GenerateContentRequest", {}, sent=True)


@pytest.mark.parametrize(
    ("name", "value"), [("createTime", "yesterday"), ("createTime", "2026-11-24T09:00:00")]
)
def test_a_time_that_is_none_is_found(name: str, value: str) -> None:
    with pytest.raises(Violation):
        check({**GOOD, name: value}, sent=False)


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/projects/p/tuningJobs"),
        ("DELETE", f"{JOBS}/1"),  # there is no such method
        ("GET", "/ui/projects/p/locations/l/operations/1"),
        ("POST", f"{JOBS}/1:stop"),
    ],
)
def test_a_path_that_is_not_google_s_is_found(verb: str, path: str) -> None:
    with pytest.raises(Violation, match="no method"):
        document("aiplatform.v1").method(verb, path)


def sent(server: VertexAIServer, verb: str, path: str, body: Any = None, **query: str) -> requests.Response:
    """One request with a good token."""
    server.tokens.add("t")
    headers = {"Authorization": "Bearer t"}
    with requests.Session() as session:
        return session.request(verb, server.url + path, json=body, params=query, headers=headers, timeout=5)


def test_a_violation_of_a_request_or_an_answer_is_answered_with_500_and_kept() -> None:
    with VertexAIServer() as server:
        assert sent(server, "POST", JOBS, {"baseModell": "m"}).status_code == 500
        assert sent(server, "GET", JOBS, orderBy="name").status_code == 500
        assert sent(server, "GET", JOBS, pageSize="many").status_code == 500
        assert sent(server, "GET", "/v1/nothing").status_code == 500
        assert sent(server, "GET", JOBS, **{"$alt": "json;enum-encoding=int"}).status_code == 500
        assert len(server.violations) == 5
        server._list = lambda _: Answer({"jobs": []})  # type: ignore[method-assign]
        assert sent(server, "GET", JOBS).status_code == 500
        assert "has no field jobs" in server.violations[-1]


def test_the_server_knows_who_asks_and_refuses_what_vertex_ai_would() -> None:
    with VertexAIServer() as server:
        assert sent(server, "GET", JOBS).status_code == 200
        server.tokens.clear()
        with requests.Session() as session:
            assert session.get(server.url + JOBS, timeout=5).status_code == 401
            forged = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}
            assert session.post(f"{server.url}/token", data=forged, timeout=5).status_code == 400
        assert sent(server, "GET", "/v1/projects/other/locations/us-central1/tuningJobs").status_code == 403
        server.objects["o"] = b'{"contents": [{"role": "user", "parts": [{"text": "q"}]}]}\n'
        spec = {"trainingDatasetUri": "gs://acme-datasets/o"}
        for bad, says in (
            ({"baseModel": "gemini-9", "supervisedTuningSpec": spec}, "Base model"),
            ({"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}, "the last is model"),
            (
                {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec, "labels": {"A": "b"}},
                "no label",
            ),
            (
                {
                    "baseModel": "gemini-2.5-pro",
                    "supervisedTuningSpec": {
                        **spec,
                        "hyperParameters": {"adapterSize": "ADAPTER_SIZE_SIXTEEN"},
                    },
                },
                "Adapter size",
            ),
        ):
            answer = sent(server, "POST", JOBS, bad)
            assert (answer.status_code, says in answer.text) == (400, True), answer.text
        assert server.jobs == {}
        assert server.violations == []
