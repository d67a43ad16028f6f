"""Google's own published protos as judge of every request and answer.

From package google-ai-generativelanguage: the messages, read by protobuf's JSON parser with unknown fields refused; the
field behaviours (Required, Output only, Input only), from the protos' comments, which the package carries in its
docstrings, as its descriptors have lost the annotations; and the paths, from its REST transport.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import google.ai.generativelanguage_v1beta as api
from google.ai.generativelanguage_v1beta.services.generative_service.transports import (
    rest_base as generative_paths,
)
from google.ai.generativelanguage_v1beta.services.model_service.transports import rest_base as model_paths
from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.rpc import status_pb2

PACKAGE = "google.ai.generativelanguage.v1beta."


class Violation(Exception):
    """What was sent is not what Google's protos allow."""


def parse(kind: str, value: Mapping[str, Any]) -> Any:
    """A JSON object as a message.

    Args:
        kind: The message's name, such as TunedModel.
        value: The object.

    Raises:
        Violation: It has unknown fields, wrong types, or two of what exclude each other.
    """
    message = _new(kind)
    try:
        json_format.ParseDict(dict(value), message, descriptor_pool=_new("TunedModel").DESCRIPTOR.file.pool)
    except json_format.ParseError as error:
        raise Violation(f"{kind}: {error}") from error
    return message


def check_request(kind: str, value: Mapping[str, Any]) -> Any:
    """A request as a message in which all that is required is set, and nothing that only Google sets.

    Raises:
        Violation: It is not.
    """
    message = parse(kind, value)
    for path, sub, name, behaviour in _fields(message, kind):
        if "Output only" in behaviour and _is_set(sub, name):
            raise Violation(f"{path}: is set by Google only")
        if "Required" in behaviour and not _is_set(sub, name):
            raise Violation(f"{path}: is required")
    return message


def check_answer(kind: str, value: Mapping[str, Any]) -> Any:
    """An answer as a message in which all that is required is set, and nothing that only callers set.

    Raises:
        Violation: It is not.
    """
    message = parse(kind, value)
    for path, sub, name, behaviour in _fields(message, kind):
        if "Input only" in behaviour:
            if _is_set(sub, name):
                raise Violation(f"{path}: is set by callers only")
        elif "Required" in behaviour and not _is_set(sub, name):
            raise Violation(f"{path}: is required")
    return message


def check_error(value: Mapping[str, Any]) -> None:
    """An error's body, as google.rpc.Status in HTTP's clothes: {"error": {code, message, status, details}}.

    Raises:
        Violation: It is not one.
    """
    if set(value) != {"error"} or not {"code", "message", "status"} <= set(value["error"]):
        raise Violation(f"no error of Google's: {value}")
    rest = {name: part for name, part in value["error"].items() if name in {"code", "message"}}
    json_format.ParseDict(rest, status_pb2.Status())


def check_path(method: str, path: str) -> None:
    """A path that the published client could ask for.

    Raises:
        Violation: There is none such.
    """
    if not any(method == allowed and re.fullmatch(pattern, path) for allowed, pattern in published_paths()):
        raise Violation(f"{method} {path} is no path of the published API")


@functools.cache
def published_paths() -> tuple[tuple[str, str], ...]:
    """Methods and patterns of all paths of the published client's model and generative services."""
    classes = (
        model_paths._BaseModelServiceRestTransport,
        generative_paths._BaseGenerativeServiceRestTransport,
    )
    options = [
        option
        for owner in classes
        for part in vars(owner).values()
        if hasattr(part, "_get_http_options")
        for option in part._get_http_options()
    ]
    return tuple((option["method"].upper(), _pattern(option["uri"])) for option in options)


def _pattern(uri: str) -> str:
    """A transcoding template as a regular expression: {name=tunedModels/*} stands for one segment after it."""
    template = re.sub(r"\{[^=}]+=([^}]+)\}", r"\1", uri)
    return re.escape(template).replace(r"\*", r"[^/:]+")


def _new(kind: str) -> Any:
    if kind == "Operation":
        return operations_pb2.Operation()
    if kind == "ListOperationsResponse":
        return operations_pb2.ListOperationsResponse()
    wrapper = getattr(api, kind)
    return wrapper.pb(wrapper())


def _fields(message: Any, path: str) -> Iterator[tuple[str, Any, str, str]]:
    """All fields of a message and of the messages in it: path, message, name and behaviour."""
    behaviours = _behaviours(message.DESCRIPTOR.full_name)
    for field in message.DESCRIPTOR.fields:
        yield f"{path}.{field.name}", message, field.name, behaviours.get(field.name, "")
    for field, value in message.ListFields():
        if field.message_type is None or not field.message_type.full_name.startswith(PACKAGE):
            continue
        several = value if isinstance(value, Sequence) or hasattr(value, "add") else [value]
        for number, each in enumerate(several):
            yield from _fields(each, f"{path}.{field.name}[{number}]")


def _is_set(message: Any, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


@functools.cache
def _behaviours(full_name: str) -> Mapping[str, str]:
    """The behaviours that a message's comments state, by field."""
    if not full_name.startswith(PACKAGE):
        return {}
    owner: Any = api
    for part in full_name.removeprefix(PACKAGE).split("."):
        owner = getattr(owner, part, None)
    text = inspect.getdoc(owner) or ""
    found = re.finditer(
        r"^\s*(\w+) \([^)]*(?:\([^)]*\))*[^)]*\):\s*\n((?:.*\n?)*?)(?=^\s*\w+ \(|\Z)", text, re.M
    )
    words = ("Required", "Optional", "Output only", "Input only", "Immutable")
    return {
        match[1]: ", ".join(
            word for word in words if re.search(rf"\b{word}\.", " ".join(match[2].split()[:12]))
        )
        for match in found
    }
