"""Holds requests and answers against Google's discovery documents, as `google-api-python-client` ships them.

Nothing of the shapes is written here: paths, queries, bodies and answers come from `aiplatform.v1.json` and
`storage.v1.json`; the numbers of enums, which those documents lack, from the descriptors of the API's protocol buffers.
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

from google.cloud import aiplatform_v1

_PREFIX = "GoogleCloudAiplatformV1"
# A system parameter of all of Google's APIs that discovery documents leave out; the REST clients always send it.
# Source: cloud.google.com/apis/docs/system-parameters
ENUMS_AS_NUMBERS = "json;enum-encoding=int"
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
        self._common = {
            **self._document["parameters"],
            "$alt": {"type": "string", "enum": [ENUMS_AS_NUMBERS]},
        }
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


def in_words(schema: str, value: Any) -> Any:
    """A value whose enums are written as numbers, with words instead."""
    return _recoded(schema, value, _word)


def in_numbers(schema: str, value: Any, new: Mapping[str, int]) -> Any:
    """A value whose enums are written as words, with numbers instead; `new` has those that no package knows."""

    def number(enum: Any, item: Any) -> Any:
        known = enum.values_by_name.get(item)
        return known.number if known is not None else new[item]

    return _recoded(schema, value, number)


def _word(enum: Any, item: Any) -> Any:
    if not isinstance(item, int):
        return item
    if item not in enum.values_by_number:
        raise Violation(f"{enum.full_name} has no value {item}")
    return enum.values_by_number[item].name


def _recoded(schema: str, value: Any, recode: Any) -> Any:
    message = _messages().get(schema)
    return value if message is None else _recoded_message(message, value, recode)


def _recoded_message(message: Any, value: Any, recode: Any) -> Any:
    if not isinstance(value, dict) or message.full_name.startswith("google.protobuf."):
        return value
    fields = {field.json_name: field for field in message.fields}
    return {
        name: _recoded_field(fields[name], item, recode) if name in fields else item
        for name, item in value.items()
    }


def _recoded_field(field: Any, item: Any, recode: Any) -> Any:
    if isinstance(item, list):
        return [_recoded_field(field, each, recode) for each in item]
    if field.enum_type is not None:
        return recode(field.enum_type, item)
    if field.message_type is not None and not field.message_type.GetOptions().map_entry:
        return _recoded_message(field.message_type, item, recode)
    return item


@functools.cache
def _messages() -> Mapping[str, Any]:
    """Descriptors by the names that the discovery document gives their schemas."""
    pool = aiplatform_v1.TuningJob.pb(aiplatform_v1.TuningJob()).DESCRIPTOR.file.pool
    found: dict[str, Any] = {}

    def take(message: Any) -> None:
        name = message.full_name.removeprefix("google.cloud.aiplatform.v1.").replace(".", "")
        found[_PREFIX + name] = message
        for nested in message.nested_types:
            take(nested)

    for each in vars(aiplatform_v1).values():
        meta = getattr(each, "meta", None)
        if isinstance(each, type) and hasattr(each, "pb") and meta is not None:
            name = each.pb(each()).DESCRIPTOR.full_name
            if name.startswith("google.cloud.aiplatform.v1."):
                take(pool.FindMessageTypeByName(name))
    return found


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
