"""Holds requests and answers against Google's discovery documents, as `google-api-python-client` ships them.

Nothing of the shapes is written here: paths, queries, bodies and answers come from `aiplatform.v1.json` and
`storage.v1.json`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any

_INTEGERS = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


class Violation(Exception):
    """A request or an answer is not what the company's own document allows."""


@dataclass(frozen=True)
class Method:
    """One method of an API.

    Attributes:
        method_id: As in the document.
        verb: HTTP method.
        pattern: Matches a whole path, percent-decoded.
        parameters: By name.
        request: Schema of the body; None where there is none.
        response: Schema of the answer; None where there is none.
        media: Whether the body is a file with a description of it.
    """

    method_id: str
    verb: str
    pattern: re.Pattern[str]
    parameters: Mapping[str, Any]
    request: str | None
    response: str | None
    media: bool = False


class Document:
    """One discovery document."""

    def __init__(self, name: str) -> None:
        folder = resources.files("googleapiclient.discovery_cache.documents")
        self._document = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
        self.schemas: Mapping[str, Any] = self._document["schemas"]
        self._common = self._document["parameters"]
        self.methods = tuple(self._all(self._document["resources"]))

    def method(self, verb: str, path: str) -> Method:
        """The one method of a path.

        Raises:
            Violation: There is none, or several.
        """
        found = [each for each in self.methods if each.verb == verb and each.pattern.fullmatch(path)]
        if len(found) != 1:
            raise Violation(f"{verb} {path} is {[each.method_id for each in found] or 'no method'}")
        return found[0]

    def check_query(self, method: Method, query: Mapping[str, Sequence[str]]) -> None:
        """Raise Violation where a query is not allowed."""
        known = {
            **self._common,
            **{name: each for name, each in method.parameters.items() if each["location"] == "query"},
        }
        for name, values in query.items():
            rule = known.get(name)
            if rule is None:
                raise Violation(f"{method.method_id} has no parameter {name}")
            if len(values) > 1 and not rule.get("repeated"):
                raise Violation(f"{method.method_id} takes {name} once")
            for value in values:
                _check_query_value(rule, value, f"{method.method_id} {name}")
        for name, rule in known.items():
            if rule.get("required") and name not in query:
                raise Violation(f"{method.method_id} needs {name}")

    def check(self, schema: str, value: Any, *, sent: bool, new: Collection[Any] = ()) -> None:
        """Raise Violation where a value is not what a schema allows.

        Args:
            schema: Name of the schema.
            value: Parsed JSON.
            sent: It is a request: nothing that only the company writes, and everything that is required.
            new: Words that a later version of the API might have.
        """
        self._check({"$ref": schema}, value, schema, sent=sent, new=new)

    def _all(self, nested: Mapping[str, Any]) -> Iterator[Method]:
        for each in nested.values():
            for method in each.get("methods", {}).values():
                yield from self._method(method)
            yield from self._all(each.get("resources", {}))

    def _method(self, method: Mapping[str, Any]) -> Iterator[Method]:
        parameters = method.get("parameters", {})
        request = method.get("request", {}).get("$ref")
        response = method.get("response", {}).get("$ref")

        def made(path: str, body: str | None, media: bool) -> Method:
            pattern = _path_pattern(path, parameters)
            return Method(method["id"], method["httpMethod"], pattern, parameters, body, response, media)

        yield made(f"/{self._document['servicePath']}{method['path']}", request, False)
        if "mediaUpload" in method:
            yield made(method["mediaUpload"]["protocols"]["simple"]["path"], request, True)

    def _check(self, rule: Mapping[str, Any], value: Any, where: str, **options: Any) -> None:
        if "$ref" in rule:
            schema = self.schemas[rule["$ref"]]
            if schema.get("type") == "object":
                self._check_object(schema, value, where, **options)
            else:
                self._check(schema, value, where, **options)
        elif rule["type"] == "array":
            if not isinstance(value, list):
                raise Violation(f"{where} is no array")
            for number, item in enumerate(value):
                self._check(rule["items"], item, f"{where}[{number}]", **options)
        elif rule["type"] == "object":
            self._check_object(rule, value, where, **options)
        elif rule["type"] != "any":
            _check_scalar(rule, value, where, new=options["new"])

    def _check_object(self, schema: Mapping[str, Any], value: Any, where: str, **options: Any) -> None:
        if not isinstance(value, dict):
            raise Violation(f"{where} is no object")
        known = schema.get("properties", {})
        for name, item in value.items():
            rule = known.get(name, schema.get("additionalProperties"))
            if rule is None:
                raise Violation(f"{where} has no field {name}")
            if options["sent"] and rule.get("readOnly"):
                raise Violation(f"{where}.{name} is written by the company alone")
            self._check(rule, item, f"{where}.{name}", **options)
        for name, rule in known.items():
            if (
                options["sent"]
                and name not in value
                and str(rule.get("description", "")).startswith("Required.")
            ):
                raise Violation(f"{where} lacks {name}")


@functools.cache
def document(name: str) -> Document:
    """A discovery document, read once."""
    return Document(name)


def _path_pattern(path: str, parameters: Mapping[str, Any]) -> re.Pattern[str]:
    pattern = ""
    for part in re.split(r"(\{\+?\w+\})", path if path.startswith("/") else f"/{path}"):
        if not part.startswith("{"):
            pattern += re.escape(part)
            continue
        name = part.strip("{+}")
        # A colon is where a method's own word begins.
        given = parameters[name].get("pattern", "").strip("^$").replace("[^/]+", "[^/:]+")
        pattern += given or (".+" if name == "object" else "[^/]+")
    return re.compile(pattern)


def _check_query_value(rule: Mapping[str, Any], value: str, where: str) -> None:
    kind = rule["type"]
    if kind == "boolean" and value not in {"true", "false"}:
        raise Violation(f"{where}: {value!r} is no boolean")
    if kind == "integer" and not re.fullmatch(r"-?\d+", value):
        raise Violation(f"{where}: {value!r} is no integer")
    if "enum" in rule and value not in rule["enum"]:
        raise Violation(f"{where}: {value!r} is none of {rule['enum']}")


def _check_scalar(rule: Mapping[str, Any], value: Any, where: str, *, new: Collection[Any]) -> None:
    kind, form = rule["type"], rule.get("format", "")
    right = {
        "string": lambda: isinstance(value, str),
        "boolean": lambda: isinstance(value, bool),
        "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda: isinstance(value, int | float) and not isinstance(value, bool),
    }
    if not right[kind]():
        raise Violation(f"{where}: {value!r} is no {kind}")
    if "enum" in rule and value not in rule["enum"] and value not in new:
        raise Violation(f"{where}: {value!r} is none of {rule['enum']}")
    if form in _INTEGERS:
        _check_integer(str(value), form, where)
    elif form in {"google-datetime", "date-time"}:
        _check_time(value, where)
    elif form == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            raise Violation(f"{where}: {value!r} is no base64") from None


def _check_integer(value: str, form: str, where: str) -> None:
    least, most = _INTEGERS[form]
    if not re.fullmatch(r"-?\d+", value) or not least <= int(value) <= most:
        raise Violation(f"{where}: {value!r} is no {form}")


def _check_time(value: str, where: str) -> None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Violation(f"{where}: {value!r} is no time") from None
    if moment.tzinfo is None:
        raise Violation(f"{where}: {value!r} has no zone")
