"""From a raw manifest to a typed resource, with errors that name the field as a person wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.resources.common import API_VERSION, Resource
from finetune_operator.resources.messages import message, shown
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

    A field that is null counts as not given, as it does for the API server.

    Raises:
        InvalidManifest: With one problem for each field that is wrong.
    """
    if not isinstance(raw, Mapping):
        raise InvalidManifest((Problem("", "a manifest must be a mapping with apiVersion, kind and spec"),))
    if raw.get("apiVersion") != API_VERSION:
        found = raw.get("apiVersion")
        text = f"must be {API_VERSION}, not {shown(found) if isinstance(found, str) else 'that'}"
        raise InvalidManifest((Problem("apiVersion", text),))
    try:
        return kind.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidManifest(tuple(_problems(kind, error))) from error


def _problems(kind: type[Resource], error: ValidationError) -> Iterator[Problem]:
    for details in error.errors():
        if not _follows_from_others(details):
            known = _field_names(kind, details["loc"][:-1]) if details["type"] == "extra_forbidden" else ()
            yield Problem(_path(details), message(details, known))


def _follows_from_others(details: ErrorDetails) -> bool:
    """Whether a list is called too short only because its items are wrong, which is told anyway."""
    if details["type"] != "too_short":
        return False
    return bool(len(details["input"]) >= details["ctx"]["min_length"])


def _path(details: ErrorDetails) -> str:
    path = field_path(details["loc"])
    below = details["ctx"]["field"] if details["type"] == "field_error" else ""
    return f"{path}.{below}" if path and below else path + below


def _field_names(model: type[BaseModel], location: Sequence[int | str]) -> tuple[str, ...]:
    """The names of the fields that the mapping at a location may have."""
    here: type[BaseModel] | None = model
    for part in location:
        if here is None:
            return ()
        field = next((each for each in here.model_fields.values() if each.alias == part), None)
        # An item of a list or a value of a mapping: the model of the field itself.
        here = _model_within(field.annotation) if field is not None else here
    return tuple(field.alias or name for name, field in here.model_fields.items()) if here else ()


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_within(each))), None)


def field_path(location: Sequence[int | str]) -> str:
    """`("spec", "candidates", 0, "name")` as `spec.candidates[0].name`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{shown(part)}" if path else shown(part)
    return path
