"""From a raw manifest to a typed resource, with errors that name the field as a person wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.resources.common import API_VERSION, Resource
from finetune_operator.resources.provider import FinetuneProvider
from finetune_operator.resources.sweep import FinetuneSweep
from finetune_operator.resources.trial import FinetuneTrial

RESOURCE_KINDS: dict[str, type[FinetuneSweep] | type[FinetuneTrial] | type[FinetuneProvider]] = {
    "FinetuneSweep": FinetuneSweep,
    "FinetuneTrial": FinetuneTrial,
    "FinetuneProvider": FinetuneProvider,
}

R = TypeVar("R", bound=Resource)


def parse_resource(kind: type[R], raw: Mapping[str, Any]) -> R:
    """Read a manifest of a known kind.

    Raises:
        InvalidManifest: With one problem for each field that is wrong.
    """
    if raw.get("apiVersion") != API_VERSION:
        message = f"must be {API_VERSION}, not {raw.get('apiVersion')!r}"
        raise InvalidManifest((Problem("apiVersion", message),))
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise InvalidManifest(tuple(_problem(details) for details in error.errors())) from error


def _problem(details: ErrorDetails) -> Problem:
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        message = "unknown field"
    if details["type"] == "missing":
        message = "is required"
    path = field_path(details["loc"])
    # Rules on the whole spec say in front which of its fields they are about.
    head, colon, rest = message.partition(": ")
    if path == "spec" and colon and head.isidentifier():
        return Problem(f"{path}.{head}", rest)
    return Problem(path, message)


def field_path(location: Sequence[int | str]) -> str:
    """`("spec", "candidates", 0, "name")` as `spec.candidates[0].name`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}" if path else part
    return path
