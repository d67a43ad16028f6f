"""Vertex AI, Cloud Storage and Google's login, as far as a tuning job needs them.

Every request and every answer is held against Google's discovery documents (`vertex_ai_schema`). What does not fit is
answered with status 500 and kept in `violations`, which a test's end asserts to be empty.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import google_crc32c
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from tests.fakes.hosted import HostedCompany, Job, short_hash
from tests.fakes.http_server import Answer, Refusal, Request, Route
from tests.fakes.vertex_ai_schema import Violation, document

from finetune_providers.base import JobState, ProviderConfig

PROJECT, NUMBER, REGION, BUCKET = "acme-models", "123456789012", "us-central1", "acme-datasets"
MODELS = {
    "gemini-2.5-flash": (1, 2, 4, 8, 16),
    "gemini-2.5-flash-lite": (1, 2, 4, 8, 16),
    "gemini-2.5-pro": (1, 2, 4, 8),
    "gemini-3.5-flash": (1, 2, 4, 8, 16),
}
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_ADAPTERS = {
    f"ADAPTER_SIZE_{word}": size
    for word, size in (("ONE", 1), ("TWO", 2), ("FOUR", 4), ("EIGHT", 8), ("SIXTEEN", 16), ("THIRTY_TWO", 32))
}
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_STATES = {
    JobState.PENDING: "JOB_STATE_PENDING",
    JobState.RUNNING: "JOB_STATE_RUNNING",
    JobState.SUCCEEDED: "JOB_STATE_SUCCEEDED",
    JobState.FAILED: "JOB_STATE_FAILED",
    JobState.CANCELLED: "JOB_STATE_CANCELLED",
}
_PLACE = r"/v1/(?P<parent>projects/[^/]+/locations/[^/]+)"
_EXPERIMENT = r"(?P<experiment>tensorboards/[^/]+/experiments/[^/]+)"


@functools.cache
def _key_pair() -> tuple[str, str]:
    """A service account's private and public key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


class VertexAIServer(HostedCompany):
    """One project.

    Attributes:
        violations: What did not fit the discovery documents.
        objects: Content of the bucket's objects by name.
        filters: How a list treats its filter: "evaluated", "ignored", "refused", or "blind" for one that finds nothing.
        operation_looks: How often a long-running operation is looked at before it has ended.
        metrics: Scalars of a finished job by TensorBoard tag, as (step, value).
        with_tensorboard: Whether a job's experiment has a TensorBoard.
        refused_questions: What the content filter lets no model answer.
        ends_in: The word for a job that has ended well.
        without_endpoint: A job ends well, but nothing was deployed.
        serves_in: The location in which tuned models answer.
        ends_operations_at_once: They have ended when they are answered, and are not kept.
        operation_error: What long-running operations fail with.
        endpoints_deleted: Ids of the jobs whose endpoints are gone.
    """

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.violations: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.filters = "evaluated"
        self.operation_looks = 1
        self.ends_operations_at_once = False
        self.metrics: dict[str, Sequence[tuple[int, float]]] = {
            "/train_total_loss": [(step, 2.0 - step / 100) for step in range(1, 101)],
            "/train_fraction_of_correct_next_step_preds": [(step, step / 100) for step in range(1, 101)],
            "/eval_total_loss": [(50, 1.4), (100, 1.1)],
            "/eval_fraction_of_correct_next_step_preds": [(50, 0.6), (100, 0.8)],
        }
        self.with_tensorboard = True
        self.refused_questions: set[str] = set()
        self.ends_in = "JOB_STATE_SUCCEEDED"
        self.without_endpoint = False
        self.serves_in = REGION
        self.operation_error: dict[str, Any] | None = None
        self._undeployed: set[str] = set()
        self.endpoints_deleted: set[str] = set()
        self._operations: dict[str, list[Any]] = {}
        self._sessions: dict[str, tuple[str, bytes]] = {}

    @property
    def key(self) -> str:
        """The service account's key file, whose login is this server."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": self.secret,
                "private_key": _key_pair()[0],
                "client_email": f"sweeps@{PROJECT}.iam.gserviceaccount.com",
                "client_id": "100000000000000000001",
                "token_uri": f"{self.url}/token",
            }
        )

    def routes(self) -> Sequence[Route]:
        place, name = _PLACE, "[^/:]+"
        return (
            Route("login", "POST", "/token", self._login),
            Route("upload", "POST", "/upload/storage/v1/b/(?P<bucket>[^/]+)/o", self._upload),
            Route("upload-part", "PUT", "/upload/storage/v1/b/(?P<bucket>[^/]+)/o", self._upload_part),
            Route("objects", "GET", "/storage/v1/b/(?P<bucket>[^/]+)/o", self._list_objects),
            Route("object", "GET", "/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<object>.+)", self._get_object),
            Route(
                "forget", "DELETE", "/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<object>.+)", self._delete_object
            ),
            Route("create", "POST", f"{place}/tuningJobs", self._create),
            Route("list", "GET", f"{place}/tuningJobs", self._list),
            Route("get", "GET", f"{place}/tuningJobs/(?P<id>{name})", self._get),
            Route("cancel", "POST", f"{place}/tuningJobs/(?P<id>{name}):cancel", self._cancel),
            Route("answer", "POST", f"{place}/endpoints/(?P<id>{name}):generateContent", self._answer_tuned),
            Route(
                "answer",
                "POST",
                f"{place}/publishers/google/models/(?P<model>{name}):generateContent",
                self._answer_base,
            ),
            Route("get-endpoint", "GET", f"{place}/endpoints/(?P<id>{name})", self._get_endpoint),
            Route("undeploy", "POST", f"{place}/endpoints/(?P<id>{name}):undeployModel", self._undeploy),
            Route("delete-endpoint", "DELETE", f"{place}/endpoints/(?P<id>{name})", self._delete_endpoint),
            Route("delete-model", "DELETE", f"{place}/models/(?P<id>{name})", self._delete_model),
            Route("operation", "GET", f"{place}/(?P<name>.+/operations/{name})", self._operation),
            Route("context", "GET", f"{place}/metadataStores/default/contexts/(?P<id>{name})", self._context),
            Route("boards", "GET", f"{place}/{_EXPERIMENT}/runs", self._runs),
            Route(
                "series", "GET", f"{place}/{_EXPERIMENT}/runs/(?P<id>{name})/timeSeries", self._time_series
            ),
            Route("scalars", "GET", f"{place}/tensorboards/(?P<id>{name}):batchRead", self._scalars),
        )

    # -- the discovery documents ----------------------------------------------------------------------------

    def _carry_out(self, route: Route | None, request: Request) -> Answer:
        with self.lock:
            if route is not None and route.operation in {"login", "upload-part"}:
                return super()._carry_out(route, request)
            try:
                if route is None:
                    raise Violation(f"there is no {request.method} {request.path}")
                return self._checked(route, request)
            except Violation as violation:
                self.violations.append(f"{request.operation}: {violation}")
                return self.error(500, f"the test's server found a violation: {violation}")

    def _checked(self, route: Route, request: Request) -> Answer:
        api = document("aiplatform.v1" if request.path.startswith("/v1/") else "storage.v1")
        method = api.method(request.method, request.path)
        api.check_query(method, request.query)
        if method.request is not None and not method.media:
            api.check(method.request, _parsed(request.body), sent=True)
        elif request.body and not method.media:
            raise Violation("a body where none belongs")
        answer = super()._carry_out(route, request)
        if answer.status < 400 and method.response is not None and answer.body is not None:
            new = {job.native_state for job in self.jobs.values() if job.native_state is not None}
            api.check(method.response, answer.body, sent=False, new=new)
        return answer

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        word = code or _WORDS.get(status, "UNKNOWN")
        text = f"{message} ({word})"
        reasons = [{"message": text, "domain": "global", "reason": code or "backendError"}]
        return Answer(
            {"error": {"code": status, "message": text, "status": word, "errors": reasons}}, status=status
        )

    # -- login ----------------------------------------------------------------------------------------------

    def authorize(self, request: Request) -> None:
        if request.operation in {"login", "upload-part"}:  # a session's address is its own password
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens:
            raise Refusal(401, "Request had invalid authentication credentials.")

    def _login(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        try:
            if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
                raise ValueError("unknown grant type")
            claims = jwt.decode(
                form["assertion"], certs=_key_pair()[1], audience="https://oauth2.googleapis.com/token"
            )
            if SCOPE not in claims["scope"].split() or claims["iss"] != json.loads(self.key)["client_email"]:
                raise ValueError("wrong scope or account")
        except (KeyError, ValueError) as error:
            return Answer({"error": "invalid_grant", "error_description": str(error)}, status=400)
        token = f"ya29.{self.secret}.{len(self.tokens)}"
        self.tokens.add(token)
        return Answer({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    # -- Cloud Storage --------------------------------------------------------------------------------------

    def _upload(self, request: Request) -> Answer:
        self._bucket(request)
        if request.one("uploadType") == "resumable":
            described = _parsed(request.body)
            document("storage.v1").check("Object", described, sent=True)
            session = f"session-{len(self._sessions)}"
            self._sessions[session] = (described["name"], b"")
            address = f"{self.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&upload_id={session}"
            return Answer(None, headers={"Location": address})
        if request.one("uploadType") != "multipart":
            raise Refusal(400, "uploadType must be multipart or resumable")
        boundary = request.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        _, description, media, _ = request.body.split(b"--" + boundary)
        described = json.loads(description.partition(b"\r\n\r\n")[2])
        document("storage.v1").check("Object", described, sent=True)
        content = media.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        if "crc32c" in described and described["crc32c"] != _crc32c(content):
            raise Refusal(400, "Provided CRC32C does not match")
        self.objects[described["name"]] = content
        return Answer(self._object(described["name"]))

    def _upload_part(self, request: Request) -> Answer:
        name, content = self._sessions[request.one("upload_id")]
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", request.headers["Content-Range"])
        assert found is not None
        assert int(found[1]) == len(content)
        content += request.body
        self._sessions[request.one("upload_id")] = (name, content)
        if found[3] != str(len(content)):
            return Answer(None, status=308, headers={"Range": f"bytes=0-{len(content) - 1}"})
        self.objects[name] = content
        return Answer(self._object(name))

    def _list_objects(self, request: Request) -> Answer:
        self._bucket(request)
        names = sorted(name for name in self.objects if name.startswith(request.one("prefix")))
        start = int(request.one("pageToken", "0"))
        page: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [self._object(name) for name in names[start : start + self.page_size]],
        }
        if start + self.page_size < len(names):
            page["nextPageToken"] = str(start + self.page_size)
        return Answer(page)

    def _get_object(self, request: Request) -> Answer:
        self._bucket(request)
        return Answer(self._object(request.parts["object"]))

    def _delete_object(self, request: Request) -> Answer:
        self._object(request.parts["object"])
        del self.objects[request.parts["object"]]
        return Answer(None, status=204)

    def _bucket(self, request: Request) -> None:
        if request.parts["bucket"] != BUCKET:
            raise Refusal(404, "The specified bucket does not exist.", code="notFound")

    def _object(self, name: str) -> dict[str, Any]:
        content = self.objects.get(name)
        if content is None:
            raise Refusal(404, f"No such object: {BUCKET}/{name}", code="notFound")
        return {
            "kind": "storage#object",
            "id": f"{BUCKET}/{name}/1700000000000001",
            "name": name,
            "bucket": BUCKET,
            "generation": "1700000000000001",
            "metageneration": "1",
            "size": str(len(content)),
            "crc32c": _crc32c(content),
            "timeCreated": self._time(0.0),
        }

    # -- tuning jobs ----------------------------------------------------------------------------------------

    def _create(self, request: Request) -> Answer:
        self._place(request)
        body = request.json
        spec = body.get("supervisedTuningSpec")
        model = body.get("baseModel")
        if spec is None or model not in MODELS:
            raise Refusal(400, f"Base model {model} is not supported for tuning.")
        _check_names(body)
        native = spec.get("hyperParameters", {})
        _check_hyperparameters(model, native)
        lessons = self._lessons(spec["trainingDatasetUri"])
        if "validationDatasetUri" in spec:
            count = len(self._lines(spec["validationDatasetUri"]))
            if count > 5000:
                raise Refusal(400, "The validation dataset has more than 5000 examples.")
        number = str(6284765961371254784 + len(self.jobs))
        job_id = f"projects/{NUMBER}/locations/{REGION}/tuningJobs/{number}"
        return Answer(self._shown(self.sell(job_id, model, native, lessons, body)))

    def _list(self, request: Request) -> Answer:
        self._place(request)
        jobs = self._filtered(request.one("filter"))
        size = min(int(request.one("pageSize", "100")), self.page_size)
        start = int(request.one("pageToken", "0"))
        page: dict[str, Any] = {"tuningJobs": [self._shown(job) for job in jobs[start : start + size]]}
        if start + size < len(jobs):
            page["nextPageToken"] = str(start + size)
        return Answer(page)

    def _filtered(self, wanted: str) -> list[Job]:
        if not wanted or self.filters == "ignored":
            return self.listed()
        found = re.fullmatch(r'labels\.([a-z_]+)="([^"]*)"', wanted)
        if self.filters == "refused" or found is None:
            raise Refusal(400, f"Invalid filter: {wanted}")
        if self.filters == "blind":
            return []
        return [job for job in self.listed() if job.body.get("labels", {}).get(found[1]) == found[2]]

    def _get(self, request: Request) -> Answer:
        return Answer(self._shown(self._job(request)))

    def _cancel(self, request: Request) -> Answer:
        job = self._job(request)
        if self.state(job).terminal:
            raise Refusal(400, "The job has ended and cannot be cancelled.", code="FAILED_PRECONDITION")
        self.cancel(job)
        return Answer({})

    def _job(self, request: Request) -> Job:
        self._place(request)
        number = request.parts["id"]
        job = self.jobs.get(f"projects/{NUMBER}/locations/{REGION}/tuningJobs/{number}")
        if job is None:
            raise Refusal(404, f"TuningJob {number} does not exist.")
        return job

    def _shown(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        word = self.ends_in if state is JobState.SUCCEEDED else _STATES[state]
        shown: dict[str, Any] = {
            "name": job.job_id,
            **job.body,
            "state": job.native_state or word,
            "createTime": self._time(job.created_s),
            "updateTime": self._time(self.clock.elapsed()),
            "experiment": f"projects/{NUMBER}/locations/{REGION}/metadataStores/default/contexts/{_experiment(job)}",
        }
        if state is not JobState.PENDING:
            shown["startTime"] = self._time(job.created_s + self.training_s / 10)
        if state.terminal:
            shown["endTime"] = self._time(job.created_s + self.training_s)
        if state is JobState.FAILED:
            shown["error"] = {"code": 3, "message": job.failure}
        if state is JobState.CANCELLED:
            shown["error"] = {"code": 1, "message": "The job was cancelled."}
        if state is JobState.SUCCEEDED:
            shown["tunedModel"] = {"model": f"{self._model(job)}@1"}
            if not self.without_endpoint:
                shown["tunedModel"]["endpoint"] = self._endpoint(job)
            shown["tuningDataStats"] = {
                "supervisedTuningDataStats": {
                    "tuningDatasetExampleCount": str(len(job.lessons)),
                    "totalBillableTokenCount": "1000",
                    "tuningStepCount": "100",
                }
            }
        return shown

    def _lines(self, uri: str) -> list[Any]:
        name = uri.removeprefix(f"gs://{BUCKET}/")
        if name == uri or name not in self.objects:
            raise Refusal(400, f"Dataset {uri} does not exist or cannot be read.")
        try:
            return [json.loads(line) for line in self.objects[name].decode("utf-8").splitlines()]
        except ValueError:
            raise Refusal(400, f"Dataset {uri} is no JSONL.") from None

    def _lessons(self, uri: str) -> Mapping[str, str]:
        lessons: dict[str, str] = {}
        for number, line in enumerate(self._lines(uri), start=1):
            # What a model is taught is what it is asked: the same schema.
            document("aiplatform.v1").check("GoogleCloudAiplatformV1GenerateContentRequest", line, sent=True)
            turns = [
                (each["role"], "".join(part["text"] for part in each["parts"])) for each in line["contents"]
            ]
            if {role for role, _ in turns} - {"user", "model"} or turns[-1][0] != "model":
                raise Refusal(400, f"Line {number}: roles are user and model, and the last is model.")
            lessons[_question(turns)] = turns[-1][1]
        return lessons

    # -- answers --------------------------------------------------------------------------------------------

    def _answer_tuned(self, request: Request) -> Answer:
        job = self._served(request)
        if job is None or job.job_id in self._undeployed:
            raise Refusal(404, f"Endpoint {request.parts['id']} is not found.")
        return self._generated(request.json, job.base_model, job)

    def _answer_base(self, request: Request) -> Answer:
        if request.parts["model"] not in MODELS:
            raise Refusal(404, f"Publisher model {request.parts['model']} was not found.")
        return self._generated(request.json, request.parts["model"], None)

    def _generated(self, body: Any, model: str, job: Job | None) -> Answer:
        turns = [
            (each.get("role", "user"), "".join(part.get("text", "") for part in each["parts"]))
            for each in body["contents"]
        ]
        if turns[-1][0] != "user" or not all(text for _, text in turns):
            raise Refusal(400, "Unable to submit request because it must have a text parameter.")
        config = body.get("generationConfig", {})
        question = _question(turns)
        if question in self.refused_questions:
            return Answer({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
        room = config.get("maxOutputTokens", 8192) - _thoughts(model, config.get("thinkingConfig", {}))
        if room <= 0:
            return Answer(
                {
                    "candidates": [
                        {"index": 0, "finishReason": "MAX_TOKENS", "content": {"role": "model", "parts": []}}
                    ]
                }
            )
        parts = [{"text": self.reply(question, job)}]
        candidate = {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": parts}}
        return Answer({"candidates": [candidate], "modelVersion": model})

    # -- models and endpoints -------------------------------------------------------------------------------

    def _model(self, job: Job) -> str:
        return f"projects/{NUMBER}/locations/{self.serves_in}/models/{1000 + job.number}"

    def _endpoint(self, job: Job) -> str:
        return f"projects/{NUMBER}/locations/{self.serves_in}/endpoints/{2000 + job.number}"

    def _served(self, request: Request) -> Job | None:
        """The job whose endpoint a request names, while that exists."""
        name = f"{request.parts['parent']}/endpoints/{request.parts['id']}"
        for job in self.jobs.values():
            made = self.state(job) is JobState.SUCCEEDED and not self.without_endpoint
            if made and self._endpoint(job) == name and job.job_id not in self.endpoints_deleted:
                return job
        return None

    def _there(self, request: Request) -> Job:
        job = self._served(request)
        if job is None:
            raise Refusal(404, f"Endpoint {request.parts['id']} is not found.")
        return job

    def _get_endpoint(self, request: Request) -> Answer:
        job = self._there(request)
        shown: dict[str, Any] = {
            "name": self._endpoint(job),
            "displayName": job.body["tunedModelDisplayName"],
        }
        if job.job_id not in self._undeployed:
            shown["deployedModels"] = [{"id": str(3000 + job.number), "model": f"{self._model(job)}@1"}]
        return Answer(shown)

    def _undeploy(self, request: Request) -> Answer:
        job = self._there(request)
        if request.json["deployedModelId"] != str(3000 + job.number) or job.job_id in self._undeployed:
            raise Refusal(404, "There is no such deployed model.")
        return self._started(self._endpoint(job), lambda: self._undeployed.add(job.job_id))

    def _delete_endpoint(self, request: Request) -> Answer:
        job = self._there(request)
        if job.job_id not in self._undeployed:
            raise Refusal(400, "The endpoint has deployed models.", code="FAILED_PRECONDITION")
        return self._started(self._endpoint(job), lambda: self.endpoints_deleted.add(job.job_id))

    def _delete_model(self, request: Request) -> Answer:
        name = f"{request.parts['parent']}/models/{request.parts['id']}"
        job = next((each for each in self.jobs.values() if self._model(each) == name), None)
        if job is None or self.state(job) is not JobState.SUCCEEDED or name in self.models_deleted:
            raise Refusal(404, f"Model {name} is not found.")
        if job.job_id not in self._undeployed:
            raise Refusal(400, "The model is deployed.", code="FAILED_PRECONDITION")
        return self._started(name, lambda: self.models_deleted.add(name))

    def _started(self, resource: str, effect: Callable[[], object]) -> Answer:
        name = f"{resource}/operations/{4000 + len(self._operations)}"
        if self.ends_operations_at_once:
            effect()
            empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
            return Answer({"name": name, "done": True, "response": empty})
        self._operations[name] = [self.operation_looks, effect]
        return Answer({"name": name, "done": False})

    def _operation(self, request: Request) -> Answer:
        name = f"{request.parts['parent']}/{request.parts['name']}"
        state = self._operations.get(name)
        if state is None:
            raise Refusal(404, f"Operation {name} is not found.")
        state[0] -= 1
        if state[0] > 0:
            return Answer({"name": name, "done": False})
        if self.operation_error is not None:
            if self.operation_error["code"] == 5:  # not found: somebody else was faster
                state[1]()
            return Answer({"name": name, "done": True, "error": self.operation_error})
        state[1]()
        return Answer(
            {"name": name, "done": True, "response": {"@type": "type.googleapis.com/google.protobuf.Empty"}}
        )

    # -- metrics --------------------------------------------------------------------------------------------

    def _board(self) -> str:
        return f"projects/{NUMBER}/locations/{REGION}/tensorboards/777"

    def _context(self, request: Request) -> Answer:
        if request.parts["id"] not in {_experiment(job) for job in self.jobs.values()}:
            raise Refusal(404, "The context does not exist.")
        metadata = {"experiment_deleted": False}
        if self.with_tensorboard:
            metadata["backing_tensorboard_resource"] = self._board()
        name = request.path.removeprefix("/v1/")
        return Answer({"name": name, "schemaTitle": "system.Experiment", "metadata": metadata})

    def _runs(self, request: Request) -> Answer:
        parent = request.path.removeprefix("/v1/")
        return Answer({"tensorboardRuns": [{"name": f"{parent}/tuning", "displayName": "tuning"}]})

    def _time_series(self, request: Request) -> Answer:
        parent = request.path.removeprefix("/v1/")
        shown = [
            {"name": f"{parent}/{number}", "displayName": tag, "valueType": "SCALAR"}
            for number, tag in enumerate(self.metrics, start=1)
        ]
        return Answer({"tensorboardTimeSeries": shown})

    def _scalars(self, request: Request) -> Answer:
        tags = dict(enumerate(self.metrics, start=1))
        found = []
        for name in request.query["timeSeries"]:
            number = name.rpartition("/")[2]
            values = [
                {"step": str(step), "scalar": {"value": value}, "wallTime": self._time(0.0)}
                for step, value in self.metrics[tags[int(number)]]
            ]
            found.append({"tensorboardTimeSeriesId": number, "valueType": "SCALAR", "values": values})
        return Answer({"timeSeriesData": found})

    # -- small things ---------------------------------------------------------------------------------------

    def _place(self, request: Request) -> None:
        if request.parts["parent"] not in {
            f"projects/{each}/locations/{REGION}" for each in (PROJECT, NUMBER)
        }:
            raise Refusal(403, f"Permission denied on {request.parts['parent']}.")

    def _time(self, seconds: float) -> str:
        moment = self.clock.now() + timedelta(seconds=seconds - self.clock.elapsed())
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def config_for(server: VertexAIServer, work_dir: Path, **changes: Any) -> ProviderConfig:
    """The account of a FinetuneProvider whose Secret holds the server's key."""
    given: dict[str, Any] = {
        "name": "vertex",
        "type": "VertexAI",
        "work_dir": work_dir,
        "credentials": {"GOOGLE_APPLICATION_CREDENTIALS_JSON": server.key},
        "endpoint": server.url,
        "region": REGION,
        "project": PROJECT,
        "data_uri": f"gs://{BUCKET}/sweeps",
    }
    return ProviderConfig(**{**given, **changes})


def _experiment(job: Job) -> str:
    return f"tuning-experiment-{short_hash(job.job_id)}"


def _question(turns: Sequence[tuple[str, str]]) -> str:
    return next(text for role, text in reversed(turns) if role == "user")


def _thoughts(model: str, config: Mapping[str, Any]) -> int:
    """Tokens that a model spends on thinking."""
    if model.startswith("gemini-3"):
        if "thinkingBudget" in config:
            raise Refusal(400, f"{model} takes a thinking level, not a budget.")
        return 100 if config.get("thinkingLevel") == "MINIMAL" else 5000
    if "thinkingLevel" in config:
        raise Refusal(400, f"{model} takes a thinking budget, not a level.")
    budget = int(config.get("thinkingBudget", 5000))
    if model.endswith("-pro") and budget < 128:
        raise Refusal(400, f"{model} thinks with 128 tokens at least.")
    return budget


def _check_names(body: Mapping[str, Any]) -> None:
    if len(body.get("tunedModelDisplayName", "")) > 128:
        raise Refusal(400, "tuned_model_display_name is longer than 128 characters.")
    for text in (*body.get("labels", {}), *body.get("labels", {}).values()):
        if not re.fullmatch(r"[a-z0-9_-]{0,63}", text):
            raise Refusal(400, f"{text!r} is no label.")
    if not all(re.match("[a-z]", name) for name in body.get("labels", {})):
        raise Refusal(400, "A label's key begins with a letter.")


def _check_hyperparameters(model: str, native: Mapping[str, Any]) -> None:
    if "epochCount" in native and int(native["epochCount"]) < 1:
        raise Refusal(400, "epoch_count must be positive.")
    if "learningRateMultiplier" in native and not native["learningRateMultiplier"] > 0:
        raise Refusal(400, "learning_rate_multiplier must be positive.")
    size = native.get("adapterSize")
    if size is not None and _ADAPTERS.get(size) not in MODELS[model]:
        raise Refusal(400, f"Adapter size {size} is not supported for {model}.")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except ValueError:
        raise Violation("the body is no JSON") from None


def _crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
