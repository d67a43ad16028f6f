"""What goes to Cohere and what comes back: its names, its states, its errors.

Its SDK builds objects from whatever arrives, without checking, so everything that is read of one is checked here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from cohere.core.api_error import ApiError
from cohere.core.parse_error import ParsingError

from finetune_providers.base import JobSnapshot, JobState, Message, MetricPoint, ParameterValue
from finetune_providers.calls import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, retry_after_s
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

API_KEY = "CO_API_KEY"
SUFFIX = "-ft"
"""A fine-tuned model answers under its id with this at the end."""

_NO_OBJECT = (type(None), str, int, float, list)

_ROLES = {"system": "System", "user": "User", "assistant": "Chatbot"}

_PARAMETERS: Mapping[str, tuple[str, Callable[[Any], ParameterValue]]] = {
    "epochs": ("train_epochs", int),
    "batchSize": ("train_batch_size", int),
    "learningRate": ("learning_rate", float),
    "earlyStoppingThreshold": ("early_stopping_threshold", float),
    "earlyStoppingPatience": ("early_stopping_patience", int),
    "loraRank": ("lora_rank", int),
    "loraAlpha": ("lora_alpha", int),
    "loraTargetModules": ("lora_target_modules", str),
}
"""By canonical name: Cohere's own name, and its type."""

_STATES = {
    "STATUS_QUEUED": JobState.PENDING,
    "STATUS_FINETUNING": JobState.RUNNING,
    "STATUS_DEPLOYING_API": JobState.RUNNING,
    "STATUS_READY": JobState.SUCCEEDED,
    "STATUS_PAUSED": JobState.SUCCEEDED,
    "STATUS_TEMPORARILY_OFFLINE": JobState.SUCCEEDED,
    "STATUS_FAILED": JobState.FAILED,
    "STATUS_DELETED": JobState.CANCELLED,
}
NATIVE_STATES = frozenset(_STATES)
ASLEEP = {"STATUS_PAUSED", "STATUS_TEMPORARILY_OFFLINE", "STATUS_DEPLOYING_API"}

METRICS = {"cross_entropy": "heldOutLoss", "accuracy": "heldOutTokenAccuracy"}
"""Cohere evaluates on a part of the training data that it sets aside, so these are no validation metrics of ours."""


def to_cohere(conversation: Sequence[Message]) -> dict[str, Any]:
    """A conversation in the form of the dataset type `chat-finetune-input`."""
    return {
        "messages": [
            {"role": _ROLES[message["role"]], "content": message["content"]} for message in conversation
        ]
    }


def native_parameters(hyperparameters: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Hyperparameters under Cohere's own names.

    Raises:
        PermanentProviderError: Cohere does not take one of them.
    """
    unknown = next((name for name in hyperparameters if name not in _PARAMETERS), None)
    if unknown is not None:
        raise PermanentProviderError(
            f"Cohere does not take {unknown}; it takes {', '.join(_PARAMETERS)}",
            field=f"parameters.{unknown}",
        )
    return {_PARAMETERS[name][0]: _PARAMETERS[name][1](value) for name, value in hyperparameters.items()}


def timeout(seconds: float) -> httpx.Timeout:
    """For one request; a connection is made sooner or not at all."""
    return httpx.Timeout(seconds, connect=CONNECT_TIMEOUT_S)


def options(timeout_s: float = READ_TIMEOUT_S) -> dict[str, Any]:
    """For one request: no retries, and a time-out."""
    return {"max_retries": 0, "timeout": timeout(timeout_s)}


def explain(error: Exception) -> ProviderError | None:
    """What an error of the SDK or of its HTTP client means."""
    if isinstance(error, ApiError):
        return _refusal(error)
    if isinstance(error, ParsingError):
        return UnexpectedResponse("Cohere's answer does not have the form that it should")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return NotReached(f"no connection to Cohere was made: {error or type(error).__name__}")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return PermanentProviderError(f"spec.endpoint cannot be used: {error}")
    if isinstance(error, httpx.HTTPError):
        return TransientProviderError(f"the connection to Cohere broke: {error or type(error).__name__}")
    if isinstance(error, TypeError | ValueError | KeyError | AttributeError):
        # The SDK builds its objects unchecked, and stumbles over an answer that has another form.
        return UnexpectedResponse(f"Cohere's answer could not be read: {type(error).__name__}")
    return None


def _refusal(error: ApiError) -> ProviderError:
    status = error.status_code or 0
    said = f"HTTP {status}: {_message(error.body)}"
    wait_s = retry_after_s(
        {name.lower(): value for name, value in (error.headers or {}).items()}.get("retry-after")
    )
    if status == 429:
        return QuotaExceeded(f"Cohere takes no more for now ({said})", retry_after_s=wait_s)
    if status >= 500 or status in {408, 409, 425, 499}:
        return TransientProviderError(f"Cohere could not answer ({said})", retry_after_s=wait_s)
    if status in {401, 498}:
        return PermanentProviderError(
            f"Cohere does not accept the API key ({said}); check {API_KEY} in the Secret",
        )
    if status == 404 and not _by_cohere(error.body):
        return PermanentProviderError(
            f"{said}, which is not how Cohere says that something is missing: see whether spec.endpoint leads to its "
            "API (Cohere itself ended fine-tuning on 2025-09-15)",
            field="spec.endpoint",
        )
    if status == 404:
        return JobNotFound(f"Cohere has no such thing ({said})")
    if status >= 400:
        return PermanentProviderError(f"Cohere refuses it ({said})")
    if status >= 300:
        return PermanentProviderError(
            f"spec.endpoint answers with a redirection ({said}); write the address that it leads to"
        )
    return UnexpectedResponse(f"Cohere's answer could not be read ({said})")


def _by_cohere(body: object) -> bool:
    """Whether an error's body is Cohere's; else it may be of somebody in between."""
    return isinstance(body, dict) and isinstance(body.get("message"), str)


def _message(body: object) -> str:
    if isinstance(body, dict) and _by_cohere(body):
        return str(body["message"])
    return str(body) if body else "no message"  # cut once it is cleaned, so that no part of a key stays


def snapshot(native: Any) -> JobSnapshot:
    """A fine-tuned model as a job.

    Raises:
        UnexpectedResponse: It has no id or no name.
    """
    job_id = text(native, "id")
    # A value of 0 is left out of the JSON, and this is the state's.
    native_state = str(native.status or "STATUS_UNSPECIFIED")
    state = _STATES.get(native_state, JobState.RUNNING)
    failed = state is JobState.FAILED
    return JobSnapshot(
        job_id=job_id,
        key=text(native, "name"),
        state=state,
        native_state=native_state,
        message="Cohere says that it failed, and gives no reason in its API; see its dashboard"
        if failed
        else "",
        fine_tuned_model=f"{job_id}{SUFFIX}" if state is JobState.SUCCEEDED else None,
        created_at=_moment(native.created_at),
        finished_at=_moment(native.completed_at or native.updated_at) if state.terminal else None,
    )


def point(native: Any) -> MetricPoint:
    """What an evaluation during training found; a step of 0 is left out of the JSON."""
    metrics = native.metrics or {}
    step = native.step_number or 0
    if not isinstance(metrics, dict) or not isinstance(step, int):
        raise UnexpectedResponse("Cohere's metrics of a step do not have the form that they should")
    values = {
        ours: float(metrics[theirs])
        for theirs, ours in METRICS.items()
        if isinstance(metrics.get(theirs), int | float) and math.isfinite(metrics[theirs])
    }
    return MetricPoint(max(0, step), values)


def answer_text(answer: Any) -> str:
    """The text of an answer; "" where Cohere's filter holds it back.

    Raises:
        TransientProviderError: The model broke off.
        UnexpectedResponse: There is no message.
    """
    reason = present(answer, "finish_reason")
    if reason in {"ERROR", "TIMEOUT"}:
        raise TransientProviderError(f"the model broke off: {reason}")
    if reason == "ERROR_TOXIC":
        return ""
    content = items(present(answer, "message"), "content")
    texts = [item.text for item in content if getattr(item, "type", None) == "text"]
    if not all(isinstance(each, str) for each in texts):
        raise UnexpectedResponse("Cohere's answer holds a text that is none")
    return "".join(texts)


def items(answer: Any, name: str) -> Sequence[Any]:
    """A list in an answer; one that is empty may be left out.

    Raises:
        UnexpectedResponse: It is no list of objects.
    """
    found = present(answer, name, optional=True) or []
    if not isinstance(found, list) or any(isinstance(item, _NO_OBJECT) for item in found):
        raise UnexpectedResponse(f"{name} of Cohere's answer is no list of objects")
    return found


def text(native: Any, name: str) -> str:
    """A text that must be there.

    Raises:
        UnexpectedResponse: It is not.
    """
    value = present(native, name)
    if not isinstance(value, str) or not value:
        raise UnexpectedResponse(f"{name} of Cohere's answer is no text")
    return value


def present(native: Any, name: str, *, optional: bool = False) -> Any:
    """A part of an object; None where it may be missing and is.

    Raises:
        UnexpectedResponse: There is no object, or no such part.
    """
    value = getattr(native, name, None)
    if native is None or (value is None and not optional):
        raise UnexpectedResponse(f"Cohere's answer has no {name}")
    return value


def _moment(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
