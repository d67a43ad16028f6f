"""Manifests that nobody means well: drawn from the CRDs' own schemas, or made of good ones by spoiling a place."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from samples import GOOD
from samples.schemas import Schema, crd_schema

Manifest = dict[str, Any]
Path = tuple[str | int, ...]

_DEEP: Any = 1
for _ in range(400):
    _DEEP = [_DEEP]
_NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.1,
    -0.0,
    1e-320,
    1e308,
    float("inf"),
    float("nan"),
]
_TEXTS = [
    "",
    " ",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "\u202e",
    "\U0001f600" * 99,
    "x" * 100_000,
    "1e999",
    "-0",
    "NaN",
]
_TEXTS += [
    "../../etc/passwd",
    "/",
    "..",
    "a/../b",
    "file:///etc/passwd",
    "http://169.254.169.254/",
    "https://u:p@h",
]
_TEXTS += [
    "{{7*7}}",
    "${jndi:ldap://h}",
    "$(id)",
    "%s%n",
    "!!python/object/apply:os.system [id]",
    "__class__",
    "0x10",
]
_TEXTS += [
    "9" * 5000,
    "1." + "0" * 5000,
    "1_000",
    "\uff11\uff12",
    "2026-02-30T25:61:00Z",
    "99999h",
    "-1h",
    "P1D",
    "\r\n: x",
]
_FORMS: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    {"": None},
    {"a": {"a": {}}},
    _DEEP,
    ["a"] * 2000,
]
_FORMS += [
    {str(key): key for key in range(2000)},
    {"__proto__": 1},
    {"$ref": "#"},
    {"k" * 10_000: 1},
    {"é\ud800": 1},
]

HOSTILE = st.sampled_from([*_NUMBERS, *_TEXTS, *_FORMS]).map(copy.deepcopy)
"""Values that are wrong nearly everywhere."""

_NAMES = st.sampled_from(
    ["epochs", "learningRate", "batchSize", "loraRank", "a", "spec", "__class__", "a b", ""]
)


def from_schema(node: Schema) -> st.SearchStrategy[Any]:
    """Values that a structural schema describes, with something hostile now and then at any place of them."""
    right = _right(node)
    return st.integers(0, 59).flatmap(lambda number: right if number else HOSTILE)


@functools.cache
def _fields(kind: str) -> dict[str, st.SearchStrategy[Any]]:
    """What a manifest of a kind holds besides its name; made once, as that takes longer than drawing from it."""
    properties = crd_schema(kind)["properties"]
    return {name: from_schema(properties[name]) for name in ("spec", "status") if name in properties}


def _right(node: Schema) -> st.SearchStrategy[Any]:
    if "enum" in node:
        return st.sampled_from(node["enum"])
    match node.get("type"):
        case "object":
            return _mappings(node)
        case "array":
            least, most = node.get("minItems", 0), min(node.get("maxItems", 3), 3)
            return st.lists(from_schema(node["items"]), min_size=least, max_size=max(least, most))
        case "string":
            return _texts(node)
        case "integer":
            return st.integers(int(node.get("minimum", -5)), int(node.get("maximum", 2**31)))
        case "number":
            return st.floats(node.get("minimum"), node.get("maximum"), allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case _:
            return st.one_of(st.integers(), st.floats(), st.text(max_size=9), HOSTILE)


def _mappings(node: Schema) -> st.SearchStrategy[Any]:
    properties = node.get("properties")
    if not properties:
        inner = node.get("additionalProperties")
        values = from_schema(inner) if isinstance(inner, dict) else HOSTILE
        return st.dictionaries(_NAMES, values, max_size=3)
    required = {name for name in node.get("required", ()) if name in properties}
    fields = {name: from_schema(each) for name, each in properties.items()}
    return st.fixed_dictionaries(
        {name: each for name, each in fields.items() if name in required},
        optional={name: each for name, each in fields.items() if name not in required},
    )


def _texts(node: Schema) -> st.SearchStrategy[str]:
    longest = min(node.get("maxLength", 60), 60)
    if "pattern" in node:
        return st.from_regex(node["pattern"], fullmatch=True).filter(lambda text: len(text) <= 2 * longest)
    return st.text(min_size=min(node.get("minLength", 0), longest), max_size=longest)


@st.composite
def drawn(draw: st.DrawFn, kind: str) -> Manifest:
    """A manifest of a kind as its CRD's schema has it, more or less."""
    manifest = {name: draw(each) for name, each in _fields(kind).items()}
    name = draw(st.one_of(st.just("drawn"), st.sampled_from([text for text in _TEXTS if len(text) < 99])))
    return {
        "apiVersion": "finetune-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        **manifest,
    }


@st.composite
def spoiled(draw: st.DrawFn) -> Manifest:
    """A good sample, of which up to three places were replaced, renamed, doubled or taken away."""
    manifest = copy.deepcopy(draw(st.sampled_from(GOOD)).manifest)
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in places_of(manifest) if place != ("kind",)]
        if not places:
            break
        _spoil(draw, manifest, draw(st.sampled_from(places)))
    return manifest


def _spoil(draw: st.DrawFn, manifest: Manifest, place: Path) -> None:
    *parents, last = place
    here: Any = manifest
    for part in parents:
        here = here[part]
    match draw(st.sampled_from(("replace", "replace", "take", "rename", "double"))):
        case "replace":
            here[last] = draw(HOSTILE)
        case "take":
            del here[last]
        case "rename" if isinstance(here, dict):
            here[draw(st.sampled_from([text for text in _TEXTS if len(text) < 99]))] = here.pop(last)
        case _ if isinstance(here, list):
            here.extend(copy.deepcopy(here) * 3)
        case _:
            here[f"{last}Two"] = copy.deepcopy(here[last])


def places_of(value: Any, path: Path = (), *, deepest: int = 12) -> Iterator[Path]:
    """The paths of all that is within a value."""
    if len(path) >= deepest:
        return
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*path, key)
        yield from places_of(child, (*path, key), deepest=deepest)


def can_be_sent(manifest: Manifest) -> bool:
    """Whether a manifest can be written as the JSON that reaches an API server at all."""
    try:
        return len(json.dumps(manifest, allow_nan=False).encode()) < 1_000_000 and not _has_surrogates(
            manifest
        )
    except (ValueError, RecursionError):
        return False


def _has_surrogates(manifest: Manifest) -> bool:
    return any(0xD800 <= ord(each) < 0xE000 for each in json.dumps(manifest, ensure_ascii=False))
