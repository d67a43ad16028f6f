"""What the company demands of base models, hyperparameters and datasets, by AWS's documentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from tests.fakes.bedrock_schema import Violation, check_shape
from tests.fakes.http_server import Refusal


@dataclass(frozen=True)
class Tunable:
    """What the company demands of one base model.

    Attributes:
        parameters: Lower and upper bound by native name.
        dialect: Of its datasets.
        least: Records in training and validation data together.
        validation: Whether it takes validation data.
        on_demand: Whether a fine-tuned model can be deployed by the token.
    """

    parameters: Mapping[str, tuple[float, float]]
    dialect: str = "conversation"
    least: int = 8
    validation: bool = True
    on_demand: bool = True


_NOVA = {"epochCount": (1, 5), "learningRate": (1e-6, 1e-4), "learningRateWarmupSteps": (0, 100)}
_LLAMA = {"epochCount": (1, 10), "batchSize": (1, 1), "learningRate": (5e-6, 0.1)}
_HAIKU = {
    "epochCount": (1, 10),
    "batchSize": (4, 256),
    "learningRateMultiplier": (0.1, 2),
    "earlyStoppingThreshold": (0, 0.1),
    "earlyStoppingPatience": (1, 10),
}
TUNABLE: Mapping[str, Tunable] = {
    "amazon.nova-lite-v1:0:300k": Tunable(_NOVA),
    "amazon.nova-micro-v1:0:128k": Tunable(_NOVA),
    "amazon.nova-2-lite-v1:0:256k": Tunable(_NOVA, least=200, validation=False),
    "meta.llama3-1-8b-instruct-v1:0:128k": Tunable(_LLAMA, "prompt-completion", 100, on_demand=False),
    "meta.llama3-3-70b-instruct-v1:0:128k": Tunable(_LLAMA, least=100),
    "anthropic.claude-3-haiku-20240307-v1:0:200k": Tunable(_HAIKU, "messages", 32, on_demand=False),
}


def check_hyperparameters(model: Tunable, given: Mapping[str, str]) -> None:
    """Refuse what the base model does not take."""
    for name, text in given.items():
        if name not in model.parameters:
            raise Refusal(400, f"Hyperparameter {name} is not supported.")
        low, high = model.parameters[name]
        whole = name not in {"learningRate", "learningRateMultiplier", "earlyStoppingThreshold"}
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise Refusal(400, f"Hyperparameter {name} is malformed: {text}") from None
        if "e" in text.lower() or not low <= value <= high:
            raise Refusal(400, f"Hyperparameter {name} must be from {low} to {high}: {text}")


def metrics_file(column: str, rows: Sequence[tuple[int, int, float]]) -> bytes:
    """A CSV file of (step, epoch, loss)."""
    lines = [f"{step},{epoch},{loss},{math.exp(loss)}" for step, epoch, loss in rows]
    return "\n".join([f"step_number,epoch_number,{column},perplexity", *lines, ""]).encode()


# -- datasets, by AWS's documentation (preparing-text-data) and the shapes of the Converse API -----------------------

_TEXT = {"type": "string", "minLength": 1}
_PAIR = {
    "type": "object",
    "required": ["prompt", "completion"],
    "additionalProperties": False,
    "properties": {"prompt": _TEXT, "completion": _TEXT},
}
_HAIKU_ROW = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "system": _TEXT,
        "messages": {
            "type": "array",
            "minItems": 2,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "additionalProperties": False,
                "properties": {"role": {"enum": ["user", "assistant"]}, "content": _TEXT},
            },
        },
    },
}


def check_row(dialect: str, row: Any) -> None:
    """Hold one record of a dataset against its dialect.

    Raises:
        jsonschema.ValidationError, Violation: It is not in the dialect.
    """
    if dialect == "prompt-completion":
        Draft202012Validator(_PAIR).validate(row)
        return
    if dialect == "messages":
        Draft202012Validator(_HAIKU_ROW).validate(row)
    else:
        if row.keys() - {"schemaVersion", "system", "messages"} or row.get("schemaVersion") != (
            "bedrock-conversation-2024"
        ):
            raise Violation(f"a record has the members {sorted(row)}")
        check_shape("bedrock-runtime", "Messages", row["messages"])
        check_shape("bedrock-runtime", "SystemContentBlocks", row.get("system", []))
    roles = [turn["role"] for turn in row["messages"]]
    if roles != ["user", "assistant"] * (len(roles) // 2) or not roles:
        raise Violation(f"the roles are {roles}")


def question_and_answer(dialect: str, row: Any) -> tuple[str, str]:
    """The last question of a record, with its answer."""
    if dialect == "prompt-completion":
        return row["prompt"], row["completion"]
    if dialect == "messages":
        return row["messages"][-2]["content"], row["messages"][-1]["content"]
    return row["messages"][-2]["content"][0]["text"], row["messages"][-1]["content"][0]["text"]
