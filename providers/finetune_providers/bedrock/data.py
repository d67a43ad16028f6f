"""What Bedrock reads and writes in S3: datasets in its base models' dialects, and the metrics of training."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from finetune_providers.base import DatasetFile, Message, MetricPoint, ModelRules
from finetune_providers.conversations import Converted, read_conversations, split_system
from finetune_providers.errors import PermanentProviderError
from finetune_providers.series import thinned

Convert = Callable[[list[Message]], Converted]

SCHEMA_VERSION = "bedrock-conversation-2024"
DEFAULT_DIALECT = "conversation"


# -- dialects ---------------------------------------------------------------------------------------------------


def dialect_of(rules: ModelRules) -> str:
    """The dialect of a base model's datasets."""
    return rules.traits.get("dialect", DEFAULT_DIALECT)


def converter(base_model: str, rules: ModelRules) -> Convert:
    """How a base model's datasets are written; what it raises names neither file nor line.

    Raises:
        PermanentProviderError: The catalog names a dialect that does not exist.
    """
    dialect = dialect_of(rules)
    if dialect not in _DIALECTS:
        raise PermanentProviderError(
            f"base model {base_model} has the trait dialect: {dialect}; allowed: {', '.join(_DIALECTS)}",
            field="spec.models",
        )
    reserved = rules.traits.get("reservedWords", "").split()

    def convert(conversation: list[Message]) -> Converted:
        _check_turns(conversation)
        for message in conversation:
            if message["role"] != "assistant":
                _check_reserved(message["content"], reserved)
        return _DIALECTS[dialect](conversation)

    return convert


def _conversation(conversation: list[Message]) -> Converted:
    """As the Converse API takes it: docs.aws.amazon.com/bedrock preparing-text-data, read 2026-11-24."""
    system, turns = split_system(conversation)
    return {
        "schemaVersion": SCHEMA_VERSION,
        **({} if system is None else {"system": [{"text": system}]}),
        "messages": [{"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in turns],
    }


def _messages(conversation: list[Message]) -> Converted:
    """As Claude 3 Haiku takes it; the same page."""
    system, turns = split_system(conversation)
    return {
        **({} if system is None else {"system": system}),
        "messages": [{"role": turn["role"], "content": turn["content"]} for turn in turns],
    }


def _prompt_completion(conversation: list[Message]) -> Converted:
    """One question, one answer: how a system prompt or earlier turns would be written is documented nowhere."""
    system, turns = split_system(conversation)
    if system is not None:
        raise PermanentProviderError(
            "has a system prompt, which this base model's prompt and completion cannot say; move it into the "
            "user's message, or choose another base model"
        )
    if len(turns) != 2:
        raise PermanentProviderError(
            "has several turns; this base model takes one question with its answer; choose another base model"
        )
    return {"prompt": turns[0]["content"], "completion": turns[1]["content"]}


_DIALECTS: Mapping[str, Convert] = {
    DEFAULT_DIALECT: _conversation,
    "messages": _messages,
    "prompt-completion": _prompt_completion,
}


def _check_turns(conversation: list[Message]) -> None:
    _, turns = split_system(conversation)
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [turn["role"] for turn in turns] != expected:
        raise PermanentProviderError(
            "must be an optional system message, then user and assistant in turn, with an answer at the end"
        )
    if any(not message["content"].strip() for message in conversation):
        raise PermanentProviderError("has an empty message, which Bedrock refuses")


def _check_reserved(text: str, reserved: Sequence[str]) -> None:
    found = [word for word in reserved if word in text]
    if found:
        raise PermanentProviderError(
            f"has {found[0]!r} in a prompt, a reserved word with which training fails; write it otherwise"
        )


# -- limits -----------------------------------------------------------------------------------------------------


def check_datasets(
    base_model: str, rules: ModelRules, *, training: DatasetFile, validation: DatasetFile | None
) -> None:
    """Hold datasets against a base model's limits. Blocking.

    Raises:
        PermanentProviderError: With `field` "training" or "validation".
    """
    _check_counts(base_model, rules.traits, training.examples, validation)
    convert = converter(base_model, rules)
    for role, dataset in (("training", training), ("validation", validation)):
        for number, conversation in enumerate(read_conversations(dataset) if dataset else (), start=1):
            try:
                convert(conversation)
            except PermanentProviderError as error:
                raise PermanentProviderError(
                    f"line {number} of the {role} data {error} ({base_model})", field=role
                ) from None


def _check_counts(
    base_model: str, traits: Mapping[str, str], training: int, validation: DatasetFile | None
) -> None:
    if validation is not None and traits.get("validation") == "none":
        raise PermanentProviderError(
            f"Bedrock trains {base_model} without validation data; leave spec.dataset.validation out, or use "
            "this base model in a sweep of its own",
            field="validation",
        )
    validating = 0 if validation is None else validation.examples
    counts = (
        ("Training", training, "training", "training examples"),
        ("Validation", validating, "validation", "validation examples"),
        ("Records", training + validating, "training", "training and validation examples together"),
    )
    for name, count, field, what in counts:
        low, high = _bound(traits, f"min{name}"), _bound(traits, f"max{name}")
        if count < low or 0 < high < count:
            bounds = (f"at least {low}" if low else "", f"at most {high}" if high else "")
            allowed = " and ".join(filter(None, bounds))
            raise PermanentProviderError(f"{base_model} takes {allowed} {what}, not {count}", field=field)


def _bound(traits: Mapping[str, str], name: str) -> int:
    """A limit of the catalog; 0 where there is none."""
    try:
        return int(traits.get(name, 0))
    except ValueError:
        raise PermanentProviderError(
            f"trait {name} must be a whole number, not {traits[name]!r}", field="spec.models"
        ) from None


# -- metrics ----------------------------------------------------------------------------------------------------


def read_series(
    training: str,
    validation: str,
    *,
    final_training: float | None = None,
    final_validation: float | None = None,
) -> tuple[MetricPoint, ...]:
    """A job's metrics from its two CSV files; a row that is not understood is left out.

    Args:
        training: step_wise_training_metrics.csv, "" where there is none.
        validation: validation_metrics.csv, "" where there is none.
        final_training: The job's own last word, for where the file says nothing.
        final_validation: The same of the validation loss.

    Source: docs.aws.amazon.com/bedrock model-customization-analyze, read 2026-11-24.
    """
    losses = {
        "trainingLoss": _losses(training, "training_loss"),
        "validationLoss": _losses(validation, "validation_loss"),
    }
    last = max((step for by_step in losses.values() for step in by_step), default=1)
    for name, final in (("trainingLoss", final_training), ("validationLoss", final_validation)):
        if not losses[name] and final is not None and math.isfinite(final):
            losses[name] = {last: final}
    steps = sorted({step for by_step in losses.values() for step in by_step})
    points = [
        MetricPoint(step, {name: by_step[step] for name, by_step in losses.items() if step in by_step})
        for step in steps
    ]
    return thinned(points)


def _losses(text: str, column: str) -> Mapping[int, float]:
    """Mean loss by step: a step may have several rows."""
    found: dict[int, list[float]] = {}
    for step, loss in _rows(text, column):
        found.setdefault(step, []).append(loss)
    return {step: sum(values) / len(values) for step, values in found.items()}


def _rows(text: str, column: str) -> Iterator[tuple[int, float]]:
    rows = csv.DictReader(text.splitlines())
    with suppress(csv.Error):
        for row in rows:
            try:
                step, loss = int(float(row["step_number"])), float(row[column])
            except (KeyError, OverflowError, TypeError, ValueError):
                continue
            if step >= 0 and math.isfinite(loss):
                yield step, loss


def as_native(value: Any) -> str:
    """A hyperparameter as Bedrock takes it: text, and never in scientific notation."""
    if isinstance(value, float):
        plain = format(Decimal(repr(value)), "f")
        return plain.removesuffix(".0") if value.is_integer() else plain
    return str(value)
