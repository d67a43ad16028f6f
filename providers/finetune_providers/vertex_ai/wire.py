"""What goes over the wire to Vertex AI and back, as pure functions: datasets, jobs, questions, answers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from google.cloud import aiplatform_v1 as api

from finetune_providers.base import DatasetFile, JobRequest, JobState, Message, ParameterValue
from finetune_providers.conversations import Converted, read_conversations, split_system
from finetune_providers.errors import PermanentProviderError, UnexpectedResponse

_LOG = logging.getLogger(__name__)

KEY_LABEL = "finetune_key"

# Source: docs.cloud.google.com gemini-supervised-tuning, "Limitations", read 2026-11-23. A least number of examples is
# recommended there (100), but not asked for.
MOST_BYTES = 10**9
MOST_EXAMPLES = 10_000_000
MOST_VALIDATION_EXAMPLES = 5_000
FREE_VALIDATION_EXAMPLES = 1_000
VALIDATION_SHARE = 0.3

_LONGEST_DISPLAY_NAME = 128
_LONGEST_LABEL = 63
_ROLES = {"user": "user", "assistant": "model"}

STATES = {
    api.JobState.JOB_STATE_QUEUED: JobState.PENDING,
    api.JobState.JOB_STATE_PENDING: JobState.PENDING,
    api.JobState.JOB_STATE_RUNNING: JobState.RUNNING,
    api.JobState.JOB_STATE_UPDATING: JobState.RUNNING,
    api.JobState.JOB_STATE_PAUSED: JobState.RUNNING,
    api.JobState.JOB_STATE_CANCELLING: JobState.RUNNING,
    api.JobState.JOB_STATE_SUCCEEDED: JobState.SUCCEEDED,
    api.JobState.JOB_STATE_PARTIALLY_SUCCEEDED: JobState.SUCCEEDED,
    api.JobState.JOB_STATE_FAILED: JobState.FAILED,
    api.JobState.JOB_STATE_EXPIRED: JobState.FAILED,
    api.JobState.JOB_STATE_CANCELLED: JobState.CANCELLED,
}

ADAPTER_SIZES = {
    1: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_ONE,
    2: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_TWO,
    4: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_FOUR,
    8: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_EIGHT,
    16: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_SIXTEEN,
    32: api.SupervisedHyperParameters.AdapterSize.ADAPTER_SIZE_THIRTY_TWO,
}


@dataclass(frozen=True, slots=True)
class Made:
    """What a job has made. `model` is "" where the job did not say."""

    base_model: str
    model: str
    endpoints: tuple[str, ...]


def generation_config(traits: Mapping[str, str], max_output_tokens: int) -> dict[str, Any]:
    """How to answer: greedily, and with as little thinking as the model allows, which is what tuning teaches.

    What a model thinks counts towards its output, so that its least budget is added.
    """
    spare = int(traits.get("thinkingTokens", 0))
    config: dict[str, Any] = {
        "temperature": 0.0,
        "candidate_count": 1,
        "max_output_tokens": max_output_tokens + spare,
    }
    if "thinkingBudget" in traits:
        config["thinking_config"] = {"thinking_budget": int(traits["thinkingBudget"])}
    elif "thinkingLevel" in traits:
        config["thinking_config"] = {"thinking_level": traits["thinkingLevel"]}
    return config


def check_traits(name: str, traits: Mapping[str, str]) -> None:
    """Hold what a manifest says of a base model against what is understood.

    Raises:
        PermanentProviderError: A trait has a value that is none.
    """
    levels = [level.name for level in api.GenerationConfig.ThinkingConfig.ThinkingLevel if level.value]
    allowed = {
        "thinkingBudget": (r"-1|\d{1,6}", "a number of tokens"),
        "thinkingTokens": (r"\d{1,6}", "a number of tokens"),
        "thinkingLevel": ("|".join(levels), f"one of {', '.join(levels)}"),
        "served": ("multiRegion", "multiRegion"),
    }
    for trait, (pattern, words) in allowed.items():
        if trait in traits and not re.fullmatch(pattern, traits[trait]):
            raise PermanentProviderError(
                f"base model {name!r}: trait {trait} cannot be {traits[trait]!r}; it is {words}",
                field="spec.models",
            )


def text_of(answer: Any) -> str:
    """The text of the first candidate; "" where the content was refused."""
    if answer.candidates:
        first = answer.candidates[0]
        text = "".join(part.text for part in first.content.parts if not part.thought)
        if not text and first.finish_reason == api.Candidate.FinishReason.MAX_TOKENS:
            _LOG.warning(
                "an answer ended before its first word: the model spent all tokens on thinking; raise "
                "spec.models[].traits.thinkingTokens of the FinetuneProvider"
            )
        return text
    if answer.HasField("prompt_feedback"):
        return ""
    if answer.HasField("usage_metadata"):
        _LOG.warning(
            "a question was counted and has no candidate for an answer: it counts as an empty answer"
        )
        return ""
    raise UnexpectedResponse("Vertex AI answered neither with a candidate nor with a reason for having none")


def to_contents(conversation: list[Message]) -> Converted:
    """A conversation in Gemini's form.

    Source: docs.cloud.google.com gemini-supervised-tuning-prepare, read 2026-11-23.
    """
    system, turns = split_system(conversation)
    converted: Converted = {}
    if system is not None:
        converted["systemInstruction"] = {"role": "system", "parts": [{"text": system}]}
    converted["contents"] = [
        {"role": _ROLES[turn["role"]], "parts": [{"text": turn["content"]}]} for turn in turns
    ]
    return converted


def tuning_job(request: JobRequest) -> Any:
    """The job to ask for; the key is in a label and in the name that people see."""
    if _label(request.key) != request.key:
        raise PermanentProviderError(f"key {request.key!r} is no label of Google Cloud")
    trial = request.labels.get("trial", "")
    display = f"{trial[: _LONGEST_DISPLAY_NAME - 1 - len(request.key)]} {request.key}".strip()
    labels = {_label(f"finetune_{name}"): _label(value) for name, value in request.labels.items()}
    return api.TuningJob(
        base_model=request.base_model,
        tuned_model_display_name=display,
        labels={**labels, KEY_LABEL: request.key},
        supervised_tuning_spec=api.SupervisedTuningSpec(
            training_dataset_uri=request.training,
            validation_dataset_uri=request.validation or "",
            hyper_parameters=_hyperparameters(request.hyperparameters),
            export_last_checkpoint_only=True,  # each checkpoint would get an endpoint of its own
        ),
    )


def _hyperparameters(values: Mapping[str, ParameterValue]) -> Any:
    native = api.SupervisedHyperParameters()
    for name, value in values.items():
        try:
            if name == "epochs":
                native.epoch_count = int(value)
            elif name == "learningRateMultiplier":
                native.learning_rate_multiplier = float(value)
            elif name == "loraRank":
                native.adapter_size = ADAPTER_SIZES[int(value)]
            else:
                raise PermanentProviderError(
                    f"Vertex AI takes no {name}; it takes epochs, learningRateMultiplier and loraRank",
                    field=f"parameters.{name}",
                )
        except (KeyError, ValueError):
            raise PermanentProviderError(
                f"{name} cannot be {value!r}"
                + (f"; it is one of {', '.join(map(str, ADAPTER_SIZES))}" if name == "loraRank" else ""),
                field=f"parameters.{name}",
            ) from None
    return native


def _label(text: str) -> str:
    """A text as Google Cloud takes it for a label."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LONGEST_LABEL]


def checked_job(job: Any) -> Any:
    """A job that has a name, without which nothing could be done with it."""
    if not job.name:
        raise UnexpectedResponse("Vertex AI answered with a tuning job without a name")
    return job


def number_of(job_id: str) -> str:
    """The part of a job's resource name by which two names of one job can be compared."""
    # Google names the project by its number where we name it by its id.
    return job_id.rpartition("/")[2]


def has_key(job: Any, key: str) -> bool:
    """Whether the job was created with the key, as its label or its model's display name says."""
    return bool(job.labels.get(KEY_LABEL) == key or job.tuned_model_display_name.split()[-1:] == [key])


def what_it_made(job: Any) -> Made:
    """The model that a job has made, and the endpoints that answer for it, each once."""
    tuned = job.tuned_model
    endpoints = [tuned.endpoint, *(each.endpoint for each in tuned.checkpoints)]
    return Made(job.base_model.rpartition("/")[2], tuned.model, tuple(dict.fromkeys(filter(None, endpoints))))


def trained_tokens(job: Any) -> int | None:
    """Tokens billed: those of the dataset, once an epoch.

    The count is the dataset's alone: in a job of 10 epochs it is the sum of `user_input_token_distribution` and
    `user_output_token_distribution`.
    """
    tokens = job.tuning_data_stats.supervised_tuning_data_stats.total_billable_token_count
    epochs = job.supervised_tuning_spec.hyper_parameters.epoch_count
    return int(tokens * epochs) if tokens and epochs else None


def time_of(job: Any, field: str) -> datetime | None:
    """A moment of the job, timezone-aware; None where it has not come."""
    if not job.HasField(field):
        return None
    return cast("datetime", getattr(job, field).ToDatetime(tzinfo=UTC))


def check_file(dataset: DatasetFile, field: str) -> None:
    """Hold a dataset against what Gemini can be taught. Blocking."""
    if dataset.examples > MOST_EXAMPLES:
        raise PermanentProviderError(
            f"{dataset.examples} examples; Vertex AI takes at most {MOST_EXAMPLES}; leave some out",
            field=field,
        )
    size = 0
    for line, conversation in enumerate(read_conversations(dataset), start=1):
        trouble = _trouble(conversation)
        if trouble:
            raise PermanentProviderError(f"line {line}: {trouble}", field=field)
        size += len(json.dumps(to_contents(conversation), ensure_ascii=False).encode()) + 1
        if size > MOST_BYTES:
            raise PermanentProviderError(
                f"line {line}: the file becomes larger than {MOST_BYTES} bytes, which is the most that Vertex AI "
                "takes; leave some examples out",
                field=field,
            )


def _trouble(conversation: list[Message]) -> str:
    _, turns = split_system(conversation)
    for number, message in enumerate(conversation, start=1):
        if not message["content"].strip():
            return (
                f"message {number} is empty; Gemini takes none without text; write one or leave the line out"
            )
    if any(turn["role"] not in _ROLES for turn in turns):
        return (
            "Gemini takes a system message as the first one only, then user and assistant; move or merge it"
        )
    if not turns or turns[0]["role"] != "user" or turns[-1]["role"] != "assistant":
        return "Gemini learns from a user's message first and the assistant's last; add what is missing"
    return ""
