"""Requests and answers held against the types of OpenAI's own SDK, which are generated from its specification.

The SDK checks neither itself: it sends what it is given and builds objects of whatever arrives. Here both are checked
strictly: no unknown field, no missing one, no value of another type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openai.types import FileDeleted, FileObject, Model, ModelDeleted
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.file_list_params import FileListParams
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.job_create_params import JobCreateParams
from openai.types.fine_tuning.job_list_events_params import JobListEventsParams
from openai.types.fine_tuning.job_list_params import JobListParams
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from openai.types.fine_tuning.jobs.checkpoint_list_params import CheckpointListParams
from pydantic import BaseModel, TypeAdapter, ValidationError
from tests.fakes.http_server import Request

BODIES: Mapping[str, TypeAdapter[Any]] = {
    "jobs.create": TypeAdapter(JobCreateParams),
    "chat": TypeAdapter(CompletionCreateParamsNonStreaming),
}
QUERIES: Mapping[str, Iterable[str]] = {
    "jobs.list": JobListParams.__annotations__,
    "jobs.events": JobListEventsParams.__annotations__,
    "jobs.checkpoints": CheckpointListParams.__annotations__,
    "files.list": FileListParams.__annotations__,
}
ANSWERS: Mapping[str, type[BaseModel]] = {
    "jobs.create": FineTuningJob,
    "jobs.get": FineTuningJob,
    "jobs.cancel": FineTuningJob,
    "files.create": FileObject,
    "files.get": FileObject,
    "files.delete": FileDeleted,
    "models.get": Model,
    "models.delete": ModelDeleted,
    "chat": ChatCompletion,
}
LISTS: Mapping[str, type[BaseModel]] = {
    "jobs.list": FineTuningJob,
    "jobs.events": FineTuningJobEvent,
    "jobs.checkpoints": FineTuningJobCheckpoint,
    "files.list": FileObject,
}
NULL_BUT_THERE: Mapping[type[BaseModel], frozenset[str]] = {
    FineTuningJob: frozenset(
        {"error", "fine_tuned_model", "finished_at", "trained_tokens", "validation_file"}
    ),
}
"""Fields that the specification (openai-openapi 2.3.0) requires, though they may be null; the SDK has a default."""

_MESSAGES: TypeAdapter[Any] = TypeAdapter(list[ChatCompletionMessageParam])


def request_faults(request: Request, *, also: Iterable[str] = (), body: Any = None) -> list[str]:
    """What is wrong with a request.

    Args:
        request: As it arrived.
        also: Further query parameters that are allowed.
        body: Checked instead of the request's own.
    """
    allowed = {*QUERIES.get(request.operation, ()), *also}
    faults = [
        f"unknown query parameter {name}"
        for name in request.query
        if re.sub(r"\[.*\]$", "", name) not in allowed
    ]
    adapter = BODIES.get(request.operation)
    if adapter is None:
        return faults
    sent = request.json if body is None else body
    try:
        understood = adapter.validate_json(json.dumps(sent), strict=True)
    except ValidationError as error:
        return [*faults, *_told(error)]
    return [*faults, *_unknown(sent, understood)]


def answer_faults(operation: str, body: Any) -> list[str]:
    """What is wrong with an answer's body."""
    if operation in ANSWERS:
        return object_faults(ANSWERS[operation], body)
    if operation not in LISTS:
        return []
    if not isinstance(body, dict) or not {"object", "data"} <= body.keys() or body["object"] != "list":
        return ["no list"]
    return [fault for item in body["data"] for fault in object_faults(LISTS[operation], item)]


def object_faults(kind: type[BaseModel], body: Any) -> list[str]:
    """What is wrong with one object."""
    try:
        understood = kind.model_validate_json(json.dumps(body), strict=True)
    except ValidationError as error:
        return [f"{kind.__name__}: {fault}" for fault in _told(error)]
    missing = NULL_BUT_THERE.get(kind, frozenset()) - body.keys()
    return [
        f"{kind.__name__}: {fault}" for fault in (*_extras(understood), *(f"{m} missing" for m in missing))
    ]


def messages_faults(messages: Any) -> list[str]:
    """What is wrong with the messages of a training example."""
    try:
        understood = _MESSAGES.validate_json(json.dumps(messages), strict=True)
    except ValidationError as error:
        return _told(error)
    return _unknown(messages, understood)


def _told(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]


def _unknown(sent: Any, understood: Any, path: str = "") -> list[str]:
    """Keys that were sent and that the type does not know: validation leaves them out."""
    if isinstance(sent, dict) and isinstance(understood, Mapping):
        unknown = [f"unknown field {path}{name}" for name in sent.keys() - understood.keys()]
        inner = (
            _unknown(value, understood[name], f"{path}{name}.")
            for name, value in sent.items()
            if name in understood
        )
        return unknown + [fault for faults in inner for fault in faults]
    if isinstance(sent, list) and isinstance(understood, Sequence):
        pairs = zip(sent, understood, strict=True)
        return [fault for a, b in pairs for fault in _unknown(a, b, f"{path}[].")]
    return []


def _extras(value: Any, path: str = "") -> list[str]:
    if isinstance(value, BaseModel):
        faults = [f"unknown field {path}{name}" for name in value.model_extra or {}]
        for name in type(value).model_fields:
            faults += _extras(getattr(value, name), f"{path}{name}.")
        return faults
    if isinstance(value, list):
        return [fault for each in value for fault in _extras(each, f"{path}[].")]
    return []
