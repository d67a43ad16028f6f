"""A Gemini API that tunes models: the tunedModels part of generativelanguage.googleapis.com, v1beta.

Every request and every answer is held against Google's own protos; what breaks them is kept in `violations`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from tests.fakes import google_ai_studio_schema as schema
from tests.fakes.hosted import HostedCompany, Job, short_hash
from tests.fakes.http_server import Answer, Refusal, Request, Route

from finetune_providers.base import JobState

BASE_MODEL = "gemini-1.5-flash-001-tuning"
UNTUNABLE_MODEL = "gemini-2.5-flash"

_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/"
_HIDDEN_KEY = "API_KEY_INVALID"
_QUERIES = {
    "create": {"tunedModelId"},
    "list": {"pageSize", "pageToken", "filter"},
    "operations": {"pageSize", "pageToken", "filter"},
}
"""By operation, what may stand in a query: the fields of its request that are neither in the path nor the body."""


class GoogleAIStudioServer(HostedCompany):
    """The server.

    Attributes:
        violations: What was sent or answered against Google's protos.
        forbids_the_unknown: A tuned model that is not there is answered with 403 instead of 404.
        undeletable: A tuned model cannot be deleted while it is being created.
        withheld: Questions whose answers are withheld.
        details: Added to every error, as google.rpc's details.
    """

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.violations: list[str] = []
        self.forbids_the_unknown = False
        self.undeletable = False
        self.withheld: set[str] = set()
        self.details: list[dict[str, Any]] = []

    def routes(self) -> Sequence[Route]:
        """The operations that exist; there is none that cancels."""
        tuned = "/v1beta/tunedModels/(?P<id>[^/:]+)"
        return [
            Route("create", "POST", "/v1beta/tunedModels", self._judged(self._create, "Operation")),
            Route("list", "GET", "/v1beta/tunedModels", self._judged(self._list, "ListTunedModelsResponse")),
            Route("get", "GET", tuned, self._judged(self._get, "TunedModel")),
            Route("delete", "DELETE", tuned, self._judged(self._delete, "")),
            Route(
                "operations",
                "GET",
                f"{tuned}/operations",
                self._judged(self._operations, "ListOperationsResponse"),
            ),
            Route(
                "answer",
                "POST",
                "/v1beta/(?P<kind>tunedModels|models)/(?P<id>[^/:]+):generateContent",
                self._judged(self._answer, "GenerateContentResponse"),
            ),
            Route("model", "GET", "/v1beta/models/(?P<id>[^/:]+)", self._judged(self._model, "Model")),
        ]

    def authorize(self, request: Request) -> None:
        """The key stands in a header and nowhere else."""
        if self.secret in request.path or any(
            self.secret in text for text in map(str, request.query.values())
        ):
            self.violations.append("the key is in the URL")
        key = request.headers.get("x-goog-api-key")
        if key is None:
            raise Refusal(403, "Method doesn't allow unregistered callers.")
        if key != self.secret:
            raise Refusal(400, "API key not valid. Please pass a valid API key.", code=_HIDDEN_KEY)

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        """Google's error, as google.rpc.Status."""
        details = list(self.details)
        if code == _HIDDEN_KEY:
            details.append({"@type": f"{_TYPE}google.rpc.ErrorInfo", "reason": code})
            code = ""
        word = code or _WORDS.get(status, HTTPStatus(status).name)
        error: dict[str, Any] = {"code": status, "message": message, "status": word}
        if details:
            error["details"] = details
        schema.check_error({"error": error})
        return Answer({"error": error}, status)

    # -- operations -----------------------------------------------------------------------------------------

    def _create(self, request: Request) -> Answer:
        name = request.one("tunedModelId")
        asked = self._request(
            "CreateTunedModelRequest", {"tunedModelId": name, "tunedModel": _json(request)}
        ).tuned_model
        if not re.fullmatch("[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name):
            raise Refusal(400, f"invalid tuned_model_id {name}")
        if len(asked.display_name) > 40:
            raise Refusal(400, "tuned_model.display_name has more than 40 characters")
        if asked.base_model != f"models/{BASE_MODEL}":
            raise Refusal(404, f"{asked.base_model} is not found or cannot be tuned")
        if self._there(name):
            raise Refusal(409, f"tuned model tunedModels/{name} already exists")
        examples = asked.tuning_task.training_data.examples.examples
        _check_examples(examples)
        settings = asked.tuning_task.hyperparameters
        for field in ("epoch_count", "batch_size", "learning_rate", "learning_rate_multiplier"):
            if settings.HasField(field) and getattr(settings, field) <= 0:
                raise Refusal(400, f"tuned_model.tuning_task.hyperparameters.{field} must be positive")
        lessons = {example.text_input: example.output for example in examples}
        body = request.json
        native = body["tuningTask"].get("hyperparameters", {})
        job = self.sell(name, BASE_MODEL, native, lessons, body)
        job.more["examples"] = len(examples)
        self.models_deleted.discard(name)
        return Answer(self._operation(job))

    def _list(self, request: Request) -> Answer:
        query = {name: values[0] for name, values in request.query.items()}
        asked = self._request("ListTunedModelsRequest", query)
        if asked.page_size < 0:
            raise Refusal(400, "page_size must not be negative")
        if asked.page_token and not re.fullmatch(r"from-\d+", asked.page_token):
            raise Refusal(400, "page_token is invalid")
        size = min(asked.page_size or 10, 1000, self.page_size)
        jobs = [job for job in self.listed() if self._there(job.job_id)]
        start = int(asked.page_token.removeprefix("from-")) if asked.page_token else 0
        body: dict[str, Any] = {}
        if page := jobs[start : start + size]:
            body["tunedModels"] = [self._tuned_model(job) for job in page]
        if start + size < len(jobs):
            body["nextPageToken"] = f"from-{start + size}"
        return Answer(body)

    def _get(self, request: Request) -> Answer:
        return Answer(self._tuned_model(self._known(request)))

    def _delete(self, request: Request) -> Answer:
        job = self._known(request)
        if self.state(job).terminal:
            self.models_deleted.add(job.job_id)
        elif self.undeletable:
            raise Refusal(400, "a model cannot be deleted while it is created", code="FAILED_PRECONDITION")
        else:
            self.cancel(job)
        return Answer({})

    def _operations(self, request: Request) -> Answer:
        return Answer({"operations": [self._operation(self._known(request))]})

    def _answer(self, request: Request) -> Answer:
        model = f"{request.parts['kind']}/{request.parts['id']}"
        asked = self._request("GenerateContentRequest", {**_json(request), "model": model})
        job = None
        if request.parts["kind"] == "tunedModels":
            job = self._known(request)
            if asked.HasField("system_instruction"):
                raise Refusal(400, f"Developer instruction is not enabled for {model}")
            if self.state(job) is not JobState.SUCCEEDED:
                raise Refusal(400, f"{model} is not active", code="FAILED_PRECONDITION")
        elif request.parts["id"] not in {BASE_MODEL, UNTUNABLE_MODEL}:
            raise Refusal(404, f"{model} is not found")
        _check_contents(asked.contents)
        limit = asked.generation_config
        if limit.HasField("max_output_tokens") and limit.max_output_tokens < 1:
            raise Refusal(400, "generation_config.max_output_tokens must be positive")
        if asked.generation_config.temperature != 0 or not asked.generation_config.HasField("temperature"):
            self.violations.append("a model was asked at another temperature than 0")
        question = asked.contents[-1].parts[0].text
        if question in self.withheld:
            return Answer({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": model})
        text = self.reply(question, job)
        return Answer(
            {
                "candidates": [
                    {
                        "index": 0,
                        "content": {"role": "model", "parts": [{"text": text[:4]}, {"text": text[4:]}]},
                        "finishReason": "STOP",
                    }
                ],
                "usageMetadata": {"promptTokenCount": len(question), "totalTokenCount": len(question) + 1},
            }
        )

    def _model(self, request: Request) -> Answer:
        name = request.parts["id"]
        if name not in {BASE_MODEL, UNTUNABLE_MODEL}:
            raise Refusal(404, f"models/{name} is not found for API version v1beta")
        methods = ["generateContent", *(["createTunedModel"] if name == BASE_MODEL else [])]
        body = {"name": f"models/{name}", "baseModelId": name, "version": "001"}
        return Answer({**body, "supportedGenerationMethods": methods})

    # -- what it has ----------------------------------------------------------------------------------------

    def _there(self, name: str) -> bool:
        job = self.jobs.get(name)
        return (
            job is not None and name not in self.models_deleted and self.state(job) is not JobState.CANCELLED
        )

    def _known(self, request: Request) -> Job:
        name = request.parts["id"]
        if self._there(name):
            return self.jobs[name]
        if self.forbids_the_unknown:
            raise Refusal(403, f"You do not have permission to access tuned model tunedModels/{name}.")
        raise Refusal(404, f"tuned model tunedModels/{name} does not exist")

    def _tuned_model(self, job: Job) -> dict[str, Any]:
        state = self.state(job)
        native = {JobState.SUCCEEDED: "ACTIVE", JobState.FAILED: "FAILED"}.get(state, "CREATING")
        task: dict[str, Any] = {"hyperparameters": {"epochCount": 5, "batchSize": 4, **job.hyperparameters}}
        if state is not JobState.PENDING:
            task["startTime"] = self._at(job, 0.1)
            task["snapshots"] = self._snapshots(job)
        if state.terminal:
            task["completeTime"] = self._at(job, 1.0)
        return {
            "name": f"tunedModels/{job.job_id}",
            **{
                name: job.body[name]
                for name in ("displayName", "description", "baseModel")
                if name in job.body
            },
            "state": job.native_state or native,
            "createTime": self._at(job, 0.0),
            "updateTime": self._at(job, 1.0 if state.terminal else self.progress(job)),
            "tuningTask": task,
        }

    def _operation(self, job: Job) -> dict[str, Any]:
        name = f"tunedModels/{job.job_id}"
        operation: dict[str, Any] = {
            "name": f"{name}/operations/{short_hash(name, 12)}",
            "metadata": {
                "@type": f"{_TYPE}{schema.PACKAGE}CreateTunedModelMetadata",
                "tunedModel": name,
                "totalSteps": self._steps(job),
            },
        }
        if self.state(job) is JobState.FAILED:
            operation |= {"done": True, "error": {"code": 3, "message": job.failure}}
        elif self.state(job) is JobState.SUCCEEDED:
            model = {"@type": f"{_TYPE}{schema.PACKAGE}TunedModel", **self._tuned_model(job)}
            operation |= {"done": True, "response": model}
        return operation

    def _steps(self, job: Job) -> int:
        settings = {"epochCount": 5, "batchSize": 4, **job.hyperparameters}
        return int(settings["epochCount"]) * -(-int(job.more["examples"]) // int(settings["batchSize"]))

    def _snapshots(self, job: Job) -> list[dict[str, Any]]:
        """A loss that halves every four steps; numbers that are zero are left out, as protobuf's JSON does."""
        steps, epochs = self._steps(job), int({"epochCount": 5, **job.hyperparameters}["epochCount"])
        shown = range(1, int(steps * self.progress(job)) + 1)
        return [
            {
                "step": step,
                "epoch": 1 + (step - 1) * epochs // steps,
                "meanLoss": 2.0 * 0.5 ** (step / 4),
                "computeTime": self._at(job, step / steps),
            }
            for step in shown
        ]

    def _at(self, job: Job, share: float) -> str:
        moment: datetime = self.clock.now() - timedelta(seconds=self.clock.elapsed() - job.created_s)
        moment += timedelta(seconds=self.training_s * share)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"

    # -- judging --------------------------------------------------------------------------------------------

    def _request(self, kind: str, value: dict[str, Any]) -> Any:
        try:
            return schema.check_request(kind, value)
        except schema.Violation as violation:
            self.violations.append(str(violation))
            raise Refusal(400, f"Invalid JSON payload received. {violation}") from violation

    def _judged(self, handler: Callable[[Request], Answer], kind: str) -> Callable[[Request], Answer]:
        """A handler whose request's path and whose answer are held against what Google has published."""

        def judged(request: Request) -> Answer:
            _check_outside(request)
            answer = handler(request)
            try:
                schema.check_path(request.method, request.path)
                if kind:
                    schema.check_answer(kind, _without_made_up_states(answer.body))
                elif answer.body != {}:
                    raise schema.Violation("an answer to DELETE is empty")
            except schema.Violation as violation:
                self.violations.append(str(violation))
                return self.error(500, str(violation))
            return answer

        return judged


def _check_outside(request: Request) -> None:
    """Refuse what no published request has in its query, and a body that does not say what it is."""
    allowed = _QUERIES.get(request.operation, set())
    for name, values in request.query.items():
        if name not in allowed:
            raise Refusal(400, f'Unknown name "{name}": Cannot bind query parameter. No such field.')
        if len(values) > 1:
            raise Refusal(400, f"{name} is given more than once")
    if request.body and request.headers.get_content_type() != "application/json":
        raise Refusal(400, "the Content-Type of a body must be application/json")


def _check_contents(contents: Sequence[Any]) -> None:
    if not contents:
        raise Refusal(400, "contents is not specified")
    if any(not part.text for content in contents for part in content.parts):
        raise Refusal(400, "contents.parts must not be empty")
    roles = [content.role for content in contents]
    if roles != (["user", "model"] * len(roles))[: len(roles)] or roles[-1] != "user":
        raise Refusal(400, "roles must alternate between user and model, and begin and end with user")


def _json(request: Request) -> dict[str, Any]:
    try:
        body = request.json
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "Invalid JSON payload received.")
    return body


def _check_examples(examples: Sequence[Any]) -> None:
    """The limits of Gemini 1.5 Flash, as they were documented."""
    if not examples:
        raise Refusal(400, "tuned_model.tuning_task.training_data has no examples")
    for number, example in enumerate(examples):
        if len(example.text_input) > 40_000 or len(example.output) > 5_000:
            raise Refusal(400, f"tuned_model.tuning_task.training_data.examples[{number}] is too long")


def _without_made_up_states(body: Any) -> Any:
    """An answer without the states that a test made up, which no proto knows."""
    if isinstance(body, list):
        return [_without_made_up_states(each) for each in body]
    if not isinstance(body, dict):
        return body
    known = {"CREATING", "ACTIVE", "FAILED"}
    kept = {name: part for name, part in body.items() if name != "state" or part in known}
    return {name: _without_made_up_states(part) for name, part in kept.items()}
