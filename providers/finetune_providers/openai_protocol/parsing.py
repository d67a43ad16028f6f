"""From the SDK's objects to ours.

The SDK builds its objects without checking them: what is missing or of another type in an answer is only met where it
is read. Everything is therefore read here, and what is not as documented is an UnexpectedResponse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from finetune_providers.base import JobSnapshot, JobState, MetricPoint
from finetune_providers.errors import UnexpectedResponse
from finetune_providers.redaction import clean
from finetune_providers.series import thinned

_STATES = {
    "created": JobState.PENDING,
    "pending": JobState.PENDING,
    "notRunning": JobState.PENDING,
    "validating_files": JobState.PENDING,
    "queued": JobState.PENDING,
    "running": JobState.RUNNING,
    "paused": JobState.RUNNING,
    "succeeded": JobState.SUCCEEDED,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
    "canceled": JobState.CANCELLED,
}
"""OpenAI's states and Azure's (api-version 2025-04-01-preview); any other counts as running."""
NATIVE_STATES = frozenset(_STATES)

_METRICS = {
    "trainingLoss": ("train_loss",),
    "validationLoss": ("full_valid_loss", "valid_loss"),
    "validationTokenAccuracy": ("full_valid_mean_token_accuracy", "valid_mean_token_accuracy"),
}
"""Native names by ours, the better one first: `full_valid_*` covers the whole set, `valid_*` one batch of it."""

METRICS = frozenset(_METRICS)
LIVE_METRICS = frozenset({"trainingLoss"})
"""Of a running job: its validation metrics are those of a few examples, which a finished job's are not."""


def text(source: object, name: str) -> str:
    """A text that must be there.

    Raises:
        UnexpectedResponse: It is not, or it is empty.
    """
    value = getattr(source, name, None)
    if not isinstance(value, str) or not value:
        raise UnexpectedResponse(f"the answer has no {name} that is a text")
    return value


def items(source: object, name: str) -> Sequence[Any]:
    """A list that must be there.

    Raises:
        UnexpectedResponse: It is not.
    """
    value = getattr(source, name, None)
    if not isinstance(value, list):
        raise UnexpectedResponse(f"the answer has no {name} that is a list")
    return value


def snapshot_of(job: object, *, key: str | None) -> JobSnapshot:
    """A job as the company shows it, without its series.

    Raises:
        UnexpectedResponse: It has no id or no status.
    """
    native = text(job, "status")
    state = _STATES.get(native, JobState.RUNNING)
    model = getattr(job, "fine_tuned_model", None)
    tokens = getattr(job, "trained_tokens", None)
    return JobSnapshot(
        job_id=text(job, "id"),
        key=key,
        state=state,
        native_state=native,
        message=_why(job) if state is JobState.FAILED else "",
        fine_tuned_model=model if state is JobState.SUCCEEDED and isinstance(model, str) and model else None,
        trained_tokens=tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None,
        created_at=_moment(getattr(job, "created_at", None)),
        finished_at=_moment(getattr(job, "finished_at", None)) if state.terminal else None,
    )


def _why(job: object) -> str:
    error = getattr(job, "error", None)
    message = error.get("message") if isinstance(error, Mapping) else getattr(error, "message", None)
    return clean(message, ()) if isinstance(message, str) else "the company gives no reason"


def _moment(seconds: object) -> datetime | None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def series_of(events: Sequence[Any], checkpoints: Sequence[Any]) -> tuple[MetricPoint, ...]:
    """What training reported, from events of the type metrics and from checkpoints, in order of steps.

    A validation metric comes from the whole validation set where any step has it so: both kinds in one series
    would not be comparable.
    """
    told: dict[int, dict[str, float]] = {}
    for event in events:
        if getattr(event, "type", None) == "metrics":
            _add(told, getattr(event, "data", None))
    for checkpoint in checkpoints:
        step = getattr(checkpoint, "step_number", None)
        _add(told, {**_plain(getattr(checkpoint, "metrics", None)), "step": step})
    chosen = {
        ours: next((name for name in names if any(name in values for values in told.values())), "")
        for ours, names in _METRICS.items()
    }
    points = (
        MetricPoint(step, {ours: values[name] for ours, name in chosen.items() if name in values})
        for step, values in sorted(told.items())
    )
    return thinned([point for point in points if point.values])


def is_newest_first(listed: Sequence[Any]) -> bool:
    """Whether a list of events or checkpoints goes back in time; OpenAI's does, Azure's example does not."""
    first, last = (getattr(listed[end], "created_at", None) for end in (0, -1))
    return not (isinstance(first, int) and isinstance(last, int) and first < last)


def _add(told: dict[int, dict[str, float]], data: object) -> None:
    values = _plain(data)
    step = values.pop("step", None)
    if not isinstance(step, int | float) or isinstance(step, bool) or not math.isfinite(step) or step < 0:
        return
    numbers = {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    told.setdefault(int(step), {}).update(numbers)


def _plain(data: object) -> dict[str, Any]:
    if isinstance(data, Mapping):
        return dict(data)
    dump = getattr(data, "model_dump", None)
    return dict(dump()) if callable(dump) else {}
