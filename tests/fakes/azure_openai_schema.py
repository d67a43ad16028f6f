"""Requests and answers held against Azure's own descriptions.

Of the data plane, the specification is Azure/azure-rest-api-specs, AzureOpenAI/authoring/preview/2025-04-01-preview
(azureopenai.yaml); its definitions are no part of any package, so that those of the operations in question are copied
here, field by field. `trainingType` is not in it, but in Azure's documentation of that version. Of the management API,
the models of azure-mgmt-cognitiveservices are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema
from azure.mgmt.cognitiveservices.models import Deployment, DeploymentListResult
from openai.types.chat import ChatCompletion
from tests.fakes import openai_schema
from tests.fakes.http_server import Request

TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def _object(properties: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(item: Mapping[str, Any], *, paged: bool = True) -> dict[str, Any]:
    properties: dict[str, Any] = {"object": {"const": "list"}, "data": {"type": "array", "items": item}}
    if paged:
        properties["has_more"] = {"type": "boolean"}
    return _object(properties, ["object", "data"])


_HYPERPARAMETERS = _object({"n_epochs": WHOLE, "batch_size": WHOLE, "learning_rate_multiplier": NUMBER})
_METHOD = _object(
    {
        "type": {"enum": ["dpo", "supervised"]},
        "supervised": _object({"hyperparameters": _HYPERPARAMETERS}),
    },
    ["type"],
)
CREATION = _object(
    {
        "model": {**TEXT, "minLength": 1},
        "training_file": {**TEXT, "minLength": 1},
        "validation_file": TEXT,
        "hyperparameters": _HYPERPARAMETERS,
        "suffix": {**TEXT, "maxLength": 40, "pattern": "^[A-Za-z0-9_-]+$"},
        "seed": {**WHOLE, "minimum": 0, "maximum": 2**31 - 1},
        "integrations": {"type": "array"},
        "method": _METHOD,
        "trainingType": {"enum": ["Standard", "GlobalStandard", "globalstandard", "developerTier"]},
    },
    ["model", "training_file"],
)
JOB = _object(
    {
        "object": {"const": "fine_tuning.job"},
        "created_at": WHOLE,
        "id": TEXT,
        "status": {
            "enum": [
                "created",
                "pending",
                "running",
                "pausing",
                "paused",
                "resuming",
                "succeeded",
                "cancelled",
                "failed",
            ]
        },
        "model": {**TEXT, "minLength": 1},
        "fine_tuned_model": TEXT,
        "training_file": {**TEXT, "minLength": 1},
        "validation_file": TEXT,
        "result_files": {"type": "array", "items": TEXT},
        "finished_at": WHOLE,
        "organisation_id": TEXT,
        "trained_tokens": WHOLE,
        "error": _object({"code": TEXT, "message": TEXT, "param": TEXT}),
        "estimated_finish": WHOLE,
        "hyperparameters": _HYPERPARAMETERS,
        "suffix": TEXT,
        "seed": WHOLE,
        "integrations": {"type": "array"},
        "method": _METHOD,
    },
    ["model", "training_file"],
)
FILE = _object(
    {
        "object": {"const": "file"},
        "created_at": WHOLE,
        "id": TEXT,
        "status": {"enum": ["uploaded", "pending", "running", "processed", "error", "deleting", "deleted"]},
        "bytes": WHOLE,
        "purpose": {"enum": ["fine-tune", "fine-tune-results"]},
        "filename": {**TEXT, "minLength": 1},
        "expires_at": WHOLE,
        "status_details": TEXT,
    },
    ["filename", "purpose"],
)
CHECKPOINT = _object(
    {
        "object": {"const": "fine_tuning.job.checkpoint"},
        "id": TEXT,
        "created_at": WHOLE,
        "fine_tuned_model_checkpoint": {**TEXT, "minLength": 1},
        "step_number": WHOLE,
        "metrics": {"type": "object", "additionalProperties": NUMBER},
        "fine_tuning_job_id": {**TEXT, "minLength": 1},
    },
    ["created_at", "fine_tuned_model_checkpoint", "fine_tuning_job_id", "metrics", "step_number"],
)
EVENT = _object(
    {
        "object": {"const": "fine_tuning.job.event"},
        "id": TEXT,
        "created_at": WHOLE,
        "level": {"enum": ["info", "warning", "error"]},
        "message": {**TEXT, "minLength": 1},
        "type": {"enum": ["message", "metrics"]},
        "data": True,
    },
    ["created_at", "level", "message", "type"],
)
FILE_DELETE = _object(
    {"object": TEXT, "deleted": {"type": "boolean"}, "id": TEXT}, ["deleted", "id", "object"]
)

ANSWERS: Mapping[str, Any] = {
    "jobs.create": JOB,
    "jobs.get": JOB,
    "jobs.cancel": JOB,
    "jobs.list": _list(JOB),
    "jobs.events": _list(EVENT),
    "jobs.checkpoints": _list(CHECKPOINT),
    "files.create": FILE,
    "files.get": FILE,
    "files.list": _list(FILE, paged=False),
    "files.delete": FILE_DELETE,
}
QUERIES: Mapping[str, Iterable[str]] = {
    "files.list": ("purpose", "limit", "after", "order"),
    "jobs.list": ("after", "limit"),
    "jobs.events": ("after", "limit"),
    "jobs.checkpoints": ("after", "limit"),
}


def request_faults(request: Request) -> list[str]:
    """What is wrong with a request."""
    allowed = {*QUERIES.get(request.operation, ()), "api-version"}
    faults = [f"unknown query parameter {name}" for name in request.query if name not in allowed]
    if request.operation == "jobs.create":
        # OpenAI's types are a second opinion on what the two have in common.
        common = {name: value for name, value in request.json.items() if name != "trainingType"}
        faults += [
            *_faults(CREATION, request.json),
            *openai_schema.request_faults(request, also=allowed, body=common),
        ]
    if request.operation == "chat":
        faults += openai_schema.request_faults(request, also=allowed)
    if request.operation == "arm.put":
        faults += _model_faults(Deployment, request.json)
    return faults


def answer_faults(operation: str, body: Any) -> list[str]:
    """What is wrong with an answer's body."""
    if operation in ANSWERS:
        return _faults(ANSWERS[operation], body)
    if operation == "chat":
        return openai_schema.object_faults(ChatCompletion, body)
    if operation in {"arm.put", "arm.get"}:
        return _model_faults(Deployment, body, shown=True)
    if operation == "arm.list":
        return _model_faults(DeploymentListResult, body, shown=True)
    return []


def _faults(schema: Mapping[str, Any], body: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(body)
    return [f"{'.'.join(map(str, each.path))}: {each.message}" for each in found]


def _model_faults(kind: Any, body: Any, *, shown: bool = False) -> list[str]:
    """What a model of the management API does not know comes back changed or not at all.

    What only the server may say is left out where it is not `shown`.
    """
    understood = kind.deserialize(body).serialize(keep_readonly=shown)
    return [] if understood == body else [f"{body} was understood as {understood}"]
