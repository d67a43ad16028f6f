"""AWS's own service models, as boto3 ships them, held against what goes over the wire in both directions.

botocore checks only types, required members and lower bounds of what it sends, and nothing of what it receives. Here
patterns, enums and upper bounds count as well, and members that AWS does not know are wrong.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from botocore.loaders import Loader
from tests.fakes.http_server import Request

Shape = Mapping[str, Any]


class Violation(AssertionError):
    """Something that AWS's service model does not allow."""


@functools.cache
def service_model(service: str) -> Mapping[str, Any]:
    """A service's model, as parsed JSON."""
    model: Mapping[str, Any] = Loader().load_service_model(service, "service-2")
    return model


@dataclass(frozen=True)
class Operation:
    """One operation of a service, by its name in the model."""

    service: str
    name: str

    @property
    def _shapes(self) -> Mapping[str, Shape]:
        shapes: Mapping[str, Shape] = service_model(self.service)["shapes"]
        return shapes

    @property
    def _model(self) -> Mapping[str, Any]:
        model: Mapping[str, Any] = service_model(self.service)["operations"][self.name]
        return model

    @property
    def status(self) -> int:
        """The status of a right answer."""
        return int(self._model["http"].get("responseCode", 200))

    def input_of(self, request: Request, raw_path: str) -> Mapping[str, Any]:
        """The operation's input, put together again from what arrived, and checked.

        Raises:
            Violation: It is not what the service model allows.
        """
        shape = self._shapes[self._model["input"]["shape"]]
        if self._model["http"]["method"] != request.method:
            raise Violation(f"{self.name} is no {request.method}")
        found: dict[str, Any] = {**self._labels(raw_path), **self._queried(shape, request)}
        found |= self._headed(shape, request)
        body_members = [name for name, member in shape["members"].items() if "location" not in member]
        if "payload" in shape:
            found[shape["payload"]] = request.body
        elif body_members:
            found |= json.loads(request.body or b"{}")
        elif request.body:
            raise Violation(f"{self.name} takes no body")
        self._demand(shape, found, self.name)
        return found

    def _labels(self, raw_path: str) -> Mapping[str, str]:
        template = str(self._model["http"]["requestUri"]).split("?")[0]
        pattern = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", re.escape(template))
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern)
        matched = re.fullmatch(pattern, raw_path)
        if matched is None:
            raise Violation(f"{raw_path} is not {template}")
        return {name: unquote(value) for name, value in matched.groupdict().items()}

    def _queried(self, shape: Shape, request: Request) -> Mapping[str, Any]:
        named = {
            member["locationName"]: (name, self._shapes[member["shape"]]["type"])
            for name, member in shape["members"].items()
            if member.get("location") == "querystring"
        }
        constant = re.findall(r"[?&]([^=&]+)", str(self._model["http"]["requestUri"]))
        found = {}
        for query, values in request.query.items():
            if query in named:
                name, kind = named[query]
                found[name] = int(values[0]) if kind == "integer" else values[0]
            elif query not in constant:
                raise Violation(f"{self.name} has no query parameter {query}")
        return found

    def _headed(self, shape: Shape, request: Request) -> Mapping[str, Any]:
        found = {}
        for name, member in shape["members"].items():
            if member.get("location") == "header" and member["locationName"] in request.headers:
                value: Any = request.headers[member["locationName"]]
                kind = self._shapes[member["shape"]]["type"]
                found[name] = int(value) if kind in {"integer", "long"} else value
        return found

    def check_output(self, answer: Mapping[str, Any], *, allow: Collection[str] = ()) -> None:
        """Check an answer before it is sent.

        Args:
            answer: In the model's words; times as texts in ISO 8601.
            allow: Texts that are right wherever they stand.

        Raises:
            Violation: It is not what the service model allows.
        """
        if "output" not in self._model:
            if answer:
                raise Violation(f"{self.name} answers nothing")
            return
        self._demand(self._shapes[self._model["output"]["shape"]], answer, self.name, allow)

    def xml(self, answer: Mapping[str, Any]) -> bytes:
        """An answer of a service that speaks XML."""
        output = self._model["output"]["shape"]
        root = ElementTree.Element(self._shapes[output].get("locationName", output))
        self._write(root, self._shapes[output], answer)
        return b'<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root)

    def _write(self, parent: ElementTree.Element, shape: Shape, value: Any) -> None:
        for name, item in value.items():
            member = shape["members"][name]
            inner = self._shapes[member["shape"]]
            for each in item if inner["type"] == "list" else [item]:
                element = ElementTree.SubElement(parent, member.get("locationName", name))
                target = self._shapes[inner["member"]["shape"]] if inner["type"] == "list" else inner
                if target["type"] == "structure":
                    self._write(element, target, each)
                else:
                    element.text = str(each).lower() if isinstance(each, bool) else str(each)

    def _demand(self, shape: Shape, value: Any, where: str, allow: Collection[str] = ()) -> None:
        problems = list(_problems(self._shapes, shape, value, where, allow))
        if problems:
            raise Violation("; ".join(problems))


def check_shape(service: str, shape: str, value: Any) -> None:
    """Hold one value against a named shape of a service.

    Raises:
        Violation: It does not fit.
    """
    shapes = service_model(service)["shapes"]
    if problems := list(_problems(shapes, shapes[shape], value, shape, ())):
        raise Violation("; ".join(problems))


def _problems(
    shapes: Mapping[str, Shape], shape: Shape, value: Any, where: str, allow: Collection[str]
) -> Iterator[str]:
    kind = shape["type"]
    if kind == "structure":
        yield from _of_structure(shapes, shape, value, where, allow)
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        yield from _of_length(shape, len(value), where)
        for place, item in enumerate(value):
            yield from _problems(shapes, shapes[shape["member"]["shape"]], item, f"{where}[{place}]", allow)
    elif kind == "map":
        if not isinstance(value, Mapping):
            yield f"{where} is no map"
            return
        for key, item in value.items():
            yield from _problems(shapes, shapes[shape["key"]["shape"]], key, f"{where} key", allow)
            yield from _problems(shapes, shapes[shape["value"]["shape"]], item, f"{where}.{key}", allow)
    else:
        yield from _of_scalar(shape, value, where, allow)


def _of_structure(
    shapes: Mapping[str, Shape], shape: Shape, value: Any, where: str, allow: Collection[str]
) -> Iterator[str]:
    if shape.get("document"):
        return
    if not isinstance(value, Mapping):
        yield f"{where} is no structure"
        return
    yield from (f"{where}.{name} is missing" for name in shape.get("required", ()) if name not in value)
    if shape.get("union") and len(value) != 1:
        yield f"{where} must have exactly one member"
    for name, item in value.items():
        if name not in shape["members"]:
            yield f"{where}.{name} is not known"
        else:
            inner = shapes[shape["members"][name]["shape"]]
            yield from _problems(shapes, inner, item, f"{where}.{name}", allow)


def _of_length(shape: Shape, length: float, where: str) -> Iterator[str]:
    if not shape.get("min", length) <= length <= shape.get("max", length):
        yield f"{where} is {length}, not from {shape.get('min')} to {shape.get('max')}"


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "blob": bytes,
    "boolean": bool,
    "double": (int, float),
    "float": (int, float),
    "integer": int,
    "long": int,
    "string": str,
    "timestamp": str,
}


def _of_scalar(shape: Shape, value: Any, where: str, allow: Collection[str]) -> Iterator[str]:
    kind = shape["type"]
    if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        yield f"{where} is {type(value).__name__}, not {kind}"
    elif kind == "timestamp":
        try:
            datetime.fromisoformat(str(value))
        except ValueError:
            yield f"{where} is no time: {value}"
    elif isinstance(value, str):
        yield from _of_length(shape, len(value), where)
        if "enum" in shape and value not in (*shape["enum"], *allow):
            yield f"{where} is {value!r}, not one of {shape['enum']}"
        if "pattern" in shape and re.fullmatch(shape["pattern"], value) is None:
            yield f"{where} is {value!r}, which is not like {shape['pattern']}"
    elif isinstance(value, int | float):
        yield from _of_length(shape, value, where)
