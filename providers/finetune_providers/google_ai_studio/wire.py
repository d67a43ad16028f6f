"""Google AI Studio's words for ours, both ways: functions of JSON and conversations."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from finetune_providers.base import (
    Conversation,
    DatasetFile,
    JobRequest,
    JobSnapshot,
    JobState,
    Message,
    MetricPoint,
    ParameterValue,
)
from finetune_providers.conversations import read_conversations, split_system
from finetune_providers.errors import PermanentProviderError, UnexpectedResponse
from finetune_providers.google_ai_studio.rest import COMPANY
from finetune_providers.series import thinned

T = TypeVar("T")
Json = Mapping[str, Any]

_DATA_BYTES = 4 * 1024**2
_LONGEST_NAME = 40
_ID = re.compile(r"[A-Za-z0-9_-]+")
_CHOSEN_ID = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_HYPERPARAMETERS: Mapping[str, tuple[str, type[int] | type[float]]] = {
    "epochs": ("epochCount", int),
    "batchSize": ("batchSize", int),
    "learningRate": ("learningRate", float),
    "learningRateMultiplier": ("learningRateMultiplier", float),
}


def tuned_model_id(key: str) -> str:
    """The id of the tuned model that a purchase makes: the key itself where it may be one, else a hash of it."""
    if _CHOSEN_ID.fullmatch(key):
        return key
    return f"ft-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def possible_id(name: str) -> bool:
    """Whether a tuned model may have this id."""
    return _ID.fullmatch(name) is not None


def check_pairs(training: DatasetFile, traits: Mapping[str, str]) -> None:
    """Refuse what a pair of texts cannot say, and what is too long. Blocking."""
    limits = {
        "textInput": ("a prompt", int(traits.get("longestInputCharacters", 0))),
        "output": ("an answer", int(traits.get("longestOutputCharacters", 0))),
    }
    size = 0
    for number, messages in enumerate(read_conversations(training), start=1):
        try:
            example = pair(messages)
        except PermanentProviderError as error:
            raise PermanentProviderError(f"line {number}: {error}", field="training") from None
        for name, (what, most) in limits.items():
            if most and len(example[name]) > most:
                raise PermanentProviderError(
                    f"line {number}: {what} of {len(example[name]):,} characters, the system prompt included; at most "
                    f"{most:,} are allowed: shorten it or leave the line out",
                    field="training",
                )
        size += len(json.dumps(example, ensure_ascii=False).encode()) + 1
        if size > _DATA_BYTES:
            raise PermanentProviderError(
                f"line {number}: up to here it is more than the {_DATA_BYTES:,} bytes that {COMPANY} takes; "
                "give fewer or shorter examples",
                field="training",
            )


def pair(messages: Sequence[Message]) -> dict[str, str]:
    """A conversation as a tuning example.

    Raises:
        PermanentProviderError: It is more than one question and its answer.
    """
    system, turns = split_system(list(messages))
    if [turn["role"] for turn in turns] != ["user", "assistant"]:
        raise PermanentProviderError(
            f"a conversation of {len(turns)} turns; {COMPANY} learns from one user message and one answer to it, with "
            "or without a system prompt: split it or leave it out",
            field="training",
        )
    question, answer = (turn["content"] for turn in turns)
    if not answer:
        raise PermanentProviderError(f"the answer is empty; {COMPANY} needs one", field="training")
    return {"textInput": _with_system(system, question), "output": answer}


def _with_system(system: str | None, question: str) -> str:
    """A tuning example has no place for a system prompt: it is put before the question, here and when asked."""
    return question if system is None else f"{system}\n\n{question}"


def contents(conversation: Conversation) -> list[dict[str, Any]]:
    """A conversation in Gemini's form, with the roles user and model."""
    system, turns = split_system(list(conversation))
    texts = [turn["content"] for turn in turns]
    if turns and turns[0]["role"] == "user":
        texts[0] = _with_system(system, texts[0])
    return [
        {"role": "model" if turn["role"] == "assistant" else "user", "parts": [{"text": text}]}
        for turn, text in zip(turns, texts, strict=True)
    ]


def hyperparameters(given: Mapping[str, ParameterValue]) -> dict[str, int | float]:
    """Google's names for ours.

    Raises:
        PermanentProviderError: There is no such name, or two that exclude each other.
    """
    if "learningRate" in given and "learningRateMultiplier" in given:
        raise PermanentProviderError(
            f"{COMPANY} takes learningRate or learningRateMultiplier, not both: drop one of them",
            field="parameters.learningRateMultiplier",
        )
    native: dict[str, int | float] = {}
    for name, value in given.items():
        if name not in _HYPERPARAMETERS:
            known = ", ".join(_HYPERPARAMETERS)
            raise PermanentProviderError(f"{COMPANY} takes {known}, not {name}", field=f"parameters.{name}")
        native_name, as_type = _HYPERPARAMETERS[name]
        try:
            native[native_name] = as_type(value)
        except ValueError:
            raise PermanentProviderError(f"{value!r} is no number", field=f"parameters.{name}") from None
    return native


def tuned_model(request: JobRequest, data: Path) -> dict[str, Any]:
    """The body of a create call, whose training data is in a file of the canonical form. Blocking."""
    settings = hyperparameters(request.hyperparameters)
    examples = [pair(messages) for messages in read_conversations(DatasetFile(data, "", 0))]
    task: dict[str, Any] = {"trainingData": {"examples": {"examples": examples}}}
    if settings:
        task["hyperparameters"] = settings
    return {
        "displayName": (request.labels.get("trial") or request.key)[:_LONGEST_NAME],
        "description": request.key,
        "baseModel": model_path(request.base_model, quoted=False),
        "tuningTask": task,
    }


def snapshot(resource: Json) -> JobSnapshot:
    """A tuned model as a job.

    CREATING is PENDING until the tuning has a start time. The key is the description, where the id is that key's.
    """
    name, native, key = (take(resource, each, str, "") for each in ("name", "state", "description"))
    task = take(resource, "tuningTask", dict, {})
    if not possible_id(id_in_name(name)) or not native:
        raise UnexpectedResponse(f"{COMPANY}: a tuned model without a name or a state")
    if native == "CREATING":
        state = JobState.RUNNING if task.get("startTime") else JobState.PENDING
    else:
        state = {"ACTIVE": JobState.SUCCEEDED, "FAILED": JobState.FAILED}.get(native, JobState.RUNNING)
    ended = moment(task, "completeTime") or moment(resource, "updateTime")
    return JobSnapshot(
        id_in_name(name),
        key if key and tuned_model_id(key) == id_in_name(name) else None,
        state,
        native,
        fine_tuned_model=name if state is JobState.SUCCEEDED else None,
        series=_series(task),
        created_at=moment(resource, "createTime"),
        finished_at=ended if state.terminal else None,
    )


def _series(task: Json) -> tuple[MetricPoint, ...]:
    """The training loss by step; numbers that are zero are left out of Google's JSON.

    What cannot be read is left out, too: no metrics are worth that a job's end is not seen.
    """
    losses: dict[int, float] = {}
    shown = task.get("snapshots")
    for point in shown if isinstance(shown, list) else ():
        try:
            losses[int(point.get("step", 0))] = float(point.get("meanLoss", 0.0))  # a string where it is NaN
        except (AttributeError, TypeError, ValueError, OverflowError):
            continue
    return thinned([MetricPoint(step, {"trainingLoss": losses[step]}) for step in sorted(losses)])


def moment(resource: Json, name: str) -> datetime | None:
    """A moment, timezone-aware; what is no moment counts as missing."""
    try:
        moment = datetime.fromisoformat(str(resource.get(name)))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def take(resource: Json, name: str, kind: type[T], default: T) -> T:
    """A field of an answer.

    Raises:
        UnexpectedResponse: It is of another type.
    """
    value = resource.get(name, default)
    if not isinstance(value, kind):
        raise UnexpectedResponse(f"{COMPANY}: {name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def objects(resource: Json, name: str) -> list[Json]:
    """A field that is a list of objects; empty where it is missing, as Google leaves empty lists out."""
    found: list[Json] = take(resource, name, list, [])
    if not all(isinstance(each, dict) for each in found):
        raise UnexpectedResponse(f"{COMPANY}: {name} holds something else than objects")
    return found


def id_in_name(name: str) -> str:
    """The id of a tuned model in its resource name, `tunedModels/ID`, or the id itself."""
    return name.removeprefix("tunedModels/")


def model_path(model: str, *, quoted: bool = True) -> str:
    """A model's name as the API has it: tunedModels/x, or models/x, which may be written without models/."""
    path = model if model.startswith(("tunedModels/", "models/")) else f"models/{model}"
    return quote(path, safe="/") if quoted else path
