"""Cohere's fine-tuning, datasets and chat, as its SDK and its archived pages describe them.

Every request is parsed into the SDK's own types and every answer is held against them: what breaks one of them is
recorded in `violations`, and the request fails.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

from tests.fakes import cohere_schema
from tests.fakes.hosted import HostedCompany, Job, short_hash
from tests.fakes.http_server import Answer, Refusal, Request, Route

from finetune_providers.base import JobState

BASE_MODELS = ("command-r-08-2024",)

RANGES: Mapping[str, tuple[float, float]] = {
    "train_epochs": (1, 10),
    "train_batch_size": (2, 16),
    "learning_rate": (5e-5, 0.1),
    "early_stopping_threshold": (0.001, 0.1),
    "early_stopping_patience": (0, 10),
    "lora_rank": (1, 1024),
    "lora_alpha": (1, 1024),
}
"""Source: docs.cohere.com chat-starting-the-training, archived; those of LoRA are not published."""

STATES = {
    JobState.PENDING: "STATUS_QUEUED",
    JobState.RUNNING: "STATUS_FINETUNING",
    JobState.SUCCEEDED: "STATUS_READY",
    JobState.FAILED: "STATUS_FAILED",
    JobState.CANCELLED: "STATUS_DELETED",
}

DATASET_TYPE = "chat-finetune-input"
ROLES = {"System", "User", "Chatbot"}


@dataclass
class Dataset:
    """A dataset that was sent.

    Attributes:
        error: Why it does not pass validation; None where it does.
        looks: How often it was looked at.
        status: Shown instead of its status.
    """

    dataset_id: str
    name: str
    dataset_type: str
    created: str
    lessons: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    looks: int = 0
    status: str | None = None
    content: bytes = b""


class CohereServer(HostedCompany):
    """The company's server.

    Attributes:
        violations: What broke Cohere's own types.
        datasets: By their ids.
        uploads: Datasets that were taken.
        validation_looks: Looks at a dataset until it has been validated.
        shows_deleted: Whether a deleted fine-tuned model can still be seen, as STATUS_DELETED.
        evaluations: How often a job was evaluated while it was trained.
        asleep: Chat calls that a fine-tuned model refuses while it is woken up.
        finish_reason: Of every chat answer.
        base_models: What may be fine-tuned.
    """

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.violations: list[str] = []
        self.datasets: dict[str, Dataset] = {}
        self.uploads = 0
        self.validation_looks = 1
        self.shows_deleted = False
        self.evaluations = 5
        self.asleep = 0
        self.finish_reason = "COMPLETE"
        self.base_models = set(BASE_MODELS)

    def routes(self) -> Sequence[Route]:
        models, datasets = "/v1/finetuning/finetuned-models", "/v1/datasets"
        return (
            Route("metrics", "GET", f"{models}/(?P<id>[^/]+)/training-step-metrics", self._metrics),
            Route("create", "POST", models, self._create),
            Route("list", "GET", models, self._list),
            Route("get", "GET", f"{models}/(?P<id>[^/]+)", self._get),
            Route("delete", "DELETE", f"{models}/(?P<id>[^/]+)", self._delete),
            Route("upload", "POST", datasets, self._upload),
            Route("datasets", "GET", datasets, self._list_datasets),
            Route("dataset", "GET", f"{datasets}/(?P<id>[^/]+)", self._get_dataset),
            Route("delete-dataset", "DELETE", f"{datasets}/(?P<id>[^/]+)", self._delete_dataset),
            Route("chat", "POST", "/v2/chat", self._chat),
        )

    def authorize(self, request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self.secret}":
            raise Refusal(401, "invalid api token")

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        answer = Answer({"message": f"{message} {code}".strip()}, status)
        cohere_schema.check_error(answer.encoded())
        return answer

    def _carry_out(self, route: Route | None, request: Request) -> Answer:
        if route is not None and request.query and route.operation not in cohere_schema.QUERIES:
            return self.error(400, f"unknown parameters: {', '.join(request.query)}")
        if route is not None and route.operation in {"create", "chat"}:
            kind = request.headers.get_content_type()
            if kind != "application/json":
                return self.error(400, f"the Content-Type must be application/json, not {kind}")
        answer = super()._carry_out(route, request)
        if answer.status != 200 or route is None:
            return answer
        try:
            any_state = any(job.native_state is not None for job in self.jobs.values())
            cohere_schema.check_answer(route.operation, answer.encoded(), any_state=any_state)
        except ValueError as error:
            self.violations.append(f"answer of {route.operation}: {error}")
            return self.error(500, f"the fake's answer breaks Cohere's types: {error}")
        return answer

    def _broken(self, request: Request, error: ValueError) -> Refusal:
        self.violations.append(f"request {request.operation}: {error}")
        return Refusal(400, f"invalid request: {error}")

    # -- fine-tuned models ----------------------------------------------------------------------------------

    def _create(self, request: Request) -> Answer:
        try:
            cohere_schema.parse_create(request.body)
        except ValueError as error:
            raise self._broken(request, error) from error
        body = request.json
        settings = body["settings"]
        if not body["name"]:
            raise Refusal(400, "name must be set")
        base_model = self._check_settings(settings)
        dataset = self.datasets.get(settings["dataset_id"])
        if dataset is None or dataset.dataset_type != DATASET_TYPE:
            raise Refusal(400, f"dataset {settings['dataset_id']} was not found")
        if self._status(dataset) != "validated":
            raise Refusal(400, f"dataset {dataset.dataset_id} is not validated")
        job_id = str(uuid.UUID(short_hash(f"{len(self.jobs)} {body['name']}", 32)))
        hyperparameters = settings.get("hyperparameters", {})
        job = self.sell(job_id, base_model, hyperparameters, dataset.lessons, body)
        return Answer({"finetuned_model": self._shown(job)})

    def _check_settings(self, settings: Mapping[str, Any]) -> str:
        base_model = settings["base_model"]
        if base_model["base_type"] != "BASE_TYPE_CHAT":
            raise Refusal(400, "the dataset does not fit the base type")
        name = base_model.get("name", BASE_MODELS[0])
        if name not in self.base_models:
            raise Refusal(400, f"base model {name} cannot be fine-tuned")
        for key, value in settings.get("hyperparameters", {}).items():
            if key in RANGES and not RANGES[key][0] <= value <= RANGES[key][1]:
                raise Refusal(400, f"{key} must be between {RANGES[key][0]} and {RANGES[key][1]}")
        return str(name)

    def _gone(self, job: Job) -> bool:
        return job.job_id in self.models_deleted or self.state(job) is JobState.CANCELLED

    def _visible(self, job: Job) -> bool:
        return self.shows_deleted or not self._gone(job)

    def _job(self, request: Request) -> Job:
        job = self.jobs.get(request.parts["id"])
        if job is None or not self._visible(job):
            raise Refusal(404, f"finetuned model {request.parts['id']} was not found")
        return job

    def _shown(self, job: Job) -> dict[str, Any]:
        state = JobState.CANCELLED if self._gone(job) else self.state(job)
        status = job.native_state or STATES[state]
        if state is JobState.SUCCEEDED and self.asleep:
            status = "STATUS_PAUSED"
        model = {
            "id": job.job_id,
            "creator_id": "7f000000-0000-4000-8000-000000000001",
            "organization_id": "7f000000-0000-4000-8000-000000000002",
            "name": job.body["name"],
            "settings": job.body["settings"],
            "status": status,
            "created_at": self._time(job.created_s),
            "updated_at": self._time(self.clock.elapsed()),
        }
        if state is JobState.SUCCEEDED:
            model["completed_at"] = self._time(job.created_s + self.training_s)
            model["updated_at"] = model["completed_at"]
        return model

    def _time(self, seconds: float) -> str:
        moment = self.clock.now() - timedelta(seconds=self.clock.elapsed() - seconds)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _list(self, request: Request) -> Answer:
        self._check_query(request)
        order = request.one("order_by", "created_at")
        if order not in {"created_at", "created_at desc"}:
            raise Refusal(400, f"cannot order by {order}")
        jobs = [job for job in self.listed() if self._visible(job)]
        if order == "created_at":
            jobs.reverse()
        page, more = self._cut(jobs, request)
        answer = {"finetuned_models": [self._shown(job) for job in page], "total_size": len(jobs)}
        return Answer(answer | more)

    def _cut(self, items: Sequence[Any], request: Request) -> tuple[Sequence[Any], dict[str, str]]:
        size, token = request.one("page_size", "0"), request.one("page_token", "at-0")
        if not size.isdecimal() or not token.removeprefix("at-").isdecimal():
            raise Refusal(400, "page_size or page_token is invalid")
        start = int(token.removeprefix("at-"))
        end = start + min(int(size) or 50, self.page_size)
        # As in JSON made of protocol buffers, a text that is empty is left out.
        return items[start:end], {"next_page_token": f"at-{end}"} if end < len(items) else {}

    def _check_query(self, request: Request) -> None:
        try:
            cohere_schema.check_query(request.operation, request.query)
        except ValueError as error:
            raise self._broken(request, error) from error

    def _get(self, request: Request) -> Answer:
        return Answer({"finetuned_model": self._shown(self._job(request))})

    def _delete(self, request: Request) -> Answer:
        job = self._job(request)
        if self.state(job).terminal:
            self.models_deleted.add(job.job_id)
        else:
            self.cancel(job)
        return Answer({})

    def _metrics(self, request: Request) -> Answer:
        self._check_query(request)
        job = self._job(request)
        steps = [self._step(job, number) for number in reversed(range(self.evaluations))]
        page, more = self._cut(steps, request)
        return Answer({"step_metrics": list(page)} | more)

    def _step(self, job: Job, number: int) -> dict[str, Any]:
        accuracy = 1.0 - 0.5 ** (number + 1)
        loss = 4.0 * 0.5**number
        metrics = {
            "accuracy": accuracy,
            "cross_entropy": loss,
            "generation_accuracy": accuracy,
            "generation_cross_entropy": loss,
            "step": number * 9,
        }
        shown = {"created_at": self._time(job.created_s + number), "metrics": metrics}
        return shown | ({"step_number": number * 9} if number else {})

    # -- datasets -------------------------------------------------------------------------------------------

    def _upload(self, request: Request) -> Answer:
        self._check_query(request)
        name, dataset_type = request.one("name"), request.one("type")
        if not name:
            raise Refusal(400, "the name parameter must be set")
        if len(name) >= 50:
            raise Refusal(400, "the name must be less than 50 characters long")
        if dataset_type != DATASET_TYPE:
            raise Refusal(400, "the dataset type is invalid")
        parts = _multipart(request)
        if set(parts) - {"data", "eval_data"} or "data" not in parts:
            raise Refusal(400, f"invalid parts: {', '.join(sorted(parts))}")
        file_name, content = parts["data"]
        if not file_name.endswith(".jsonl"):
            raise Refusal(400, f"file type of {file_name!r} is not supported")
        self.uploads += 1
        dataset_id = f"{name[:20]}-{short_hash(f'{self.uploads} {name}', 6)}"
        dataset = Dataset(dataset_id, name, dataset_type, self._time(self.clock.elapsed()), content=content)
        dataset.lessons, dataset.error = judge_dataset(content)
        self.datasets[dataset_id] = dataset
        return Answer({"id": dataset_id})

    def _status(self, dataset: Dataset) -> str:
        if dataset.status is not None:
            return dataset.status
        if dataset.looks <= self.validation_looks:
            return "queued" if dataset.looks == 0 else "processing"
        return "failed" if dataset.error is not None else "validated"

    def _shown_dataset(self, dataset: Dataset) -> dict[str, Any]:
        status = self._status(dataset)
        shown: dict[str, Any] = {
            "id": dataset.dataset_id,
            "name": dataset.name,
            "created_at": dataset.created,
            "updated_at": dataset.created,
            "dataset_type": dataset.dataset_type,
            "validation_status": status,
        }
        if status == "failed" and dataset.error is not None:
            shown["validation_error"] = dataset.error
        if status == "validated":
            part = {"id": f"{dataset.dataset_id}-0", "name": dataset.name, "index": 0}
            shown["dataset_parts"] = [part | {"size_bytes": len(dataset.content)}]
        return shown

    def _list_datasets(self, request: Request) -> Answer:
        self._check_query(request)
        wanted = request.one("datasetType")
        found = [each for each in self.datasets.values() if wanted in {"", each.dataset_type}]
        numbers = [request.one("offset", "0"), request.one("limit", "100")]
        if not all(re.fullmatch(r"\d+(\.0)?", number) for number in numbers):
            raise Refusal(400, "limit or offset is invalid")
        start, limit = (int(float(number)) for number in numbers)
        limit = min(limit, self.page_size)
        return Answer({"datasets": [self._shown_dataset(each) for each in found[start : start + limit]]})

    def _dataset(self, request: Request) -> Dataset:
        dataset = self.datasets.get(request.parts["id"])
        if dataset is None:
            raise Refusal(404, f"the dataset with id '{request.parts['id']}' was not found")
        return dataset

    def _get_dataset(self, request: Request) -> Answer:
        dataset = self._dataset(request)
        dataset.looks += 1
        return Answer({"dataset": self._shown_dataset(dataset)})

    def _delete_dataset(self, request: Request) -> Answer:
        del self.datasets[self._dataset(request).dataset_id]
        return Answer({})

    # -- chat -----------------------------------------------------------------------------------------------

    def _chat(self, request: Request) -> Answer:
        try:
            body = cohere_schema.parse_chat(request.body)
        except ValueError as error:
            raise self._broken(request, error) from error
        job = self._answering(str(body["model"]))
        messages = body["messages"]
        if not messages or messages[-1]["role"] != "user":
            raise Refusal(400, "the last message must be the user's")
        if body.get("max_tokens", 1) < 1:
            raise Refusal(400, "max_tokens must be at least 1")
        text = self.reply(messages[-1]["content"], job)
        answer = {
            "id": str(uuid.UUID(int=len(self.requests))),
            "finish_reason": self.finish_reason,
            "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
            "usage": {"tokens": {"input_tokens": 10.0, "output_tokens": 2.0}},
        }
        return Answer(answer)

    def _answering(self, model: str) -> Job | None:
        if model in self.base_models:
            return None
        job = self.jobs.get(model.removesuffix("-ft")) if model.endswith("-ft") else None
        if job is None or self._gone(job) or self.state(job) is not JobState.SUCCEEDED:
            raise Refusal(404, f"model '{model}' not found, make sure the correct model ID was used")
        if self.asleep:
            self.asleep -= 1
            raise Refusal(404, f"model '{model}' is not available")
        return job


def judge_dataset(content: bytes) -> tuple[dict[str, str], str | None]:
    """What a dataset teaches, and why it does not pass Cohere's validation.

    Source: the tables of errors in docs.cohere.com chat-starting-the-training, archived.
    """
    lessons: dict[str, str] = {}
    distinct: set[str] = set()
    for number, line in enumerate(content.decode("utf-8").split("\n"), start=1):
        if not line:
            continue
        row = json.loads(line)
        if set(row) != {"messages"}:
            return {}, f"unknown fields (line : {number})"
        messages = row["messages"]
        for message in messages:
            if set(message) != {"role", "content"} or not isinstance(message["content"], str):
                return {}, f"a message needs role and content (line : {number})"
            if message["role"] not in ROLES:
                return {}, f"extra speaker in example: {message['role']} (line : {number})"
        for speaker in ("Chatbot", "User"):
            if not any(message["role"] == speaker for message in messages):
                return {}, f"missing {speaker} in example (line : {number})"
        distinct.add(line)
        lessons |= _lessons(messages)
    if len(distinct) < 2:
        return {}, f"not enough valid examples: found only {len(distinct)} valid train examples"
    return lessons, None


def _lessons(messages: Sequence[Mapping[str, str]]) -> dict[str, str]:
    lessons, question = {}, ""
    for message in messages:
        if message["role"] == "User":
            question = message["content"]
        elif message["role"] == "Chatbot":
            lessons[question] = message["content"]
    return lessons


def _multipart(request: Request) -> dict[str, tuple[str, bytes]]:
    """The parts of a form by name: file name and content."""
    head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode()
    form = message_from_bytes(head + request.body, policy=policy.HTTP)
    if not form.is_multipart():
        raise Refusal(400, "the body must be multipart/form-data")
    parts = {}
    for part in form.iter_parts():
        name = part.get_param("name", header="content-disposition")
        parts[str(name)] = (part.get_filename() or "", part.get_payload(decode=True))
    return parts
