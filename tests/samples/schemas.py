"""The schemas of the CRDs and of the models, side by side."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from finetune_operator.resources import RESOURCE_KINDS

Schema = dict[str, Any]

_CRDS = Path(__file__).parents[2] / "crds"


@cache
def crds() -> dict[str, Any]:
    """The CustomResourceDefinitions by kind."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(_CRDS.glob("*.yaml"))]
    return {each["spec"]["names"]["kind"]: each for each in documents}


def crd_schema(kind: str) -> Schema:
    """The schema of a kind's only version."""
    (version,) = crds()[kind]["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


@cache
def model_schema(kind: str) -> Schema:
    """What the models accept, as JSON Schema without references and without unions with null."""
    whole = RESOURCE_KINDS[kind].model_json_schema(by_alias=True)
    definitions = whole.pop("$defs")
    resolved: Schema = _resolved(whole, definitions)
    return resolved


def _resolved(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_resolved(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _resolved({**target, **{key: node[key] for key in node if key != "$ref"}}, definitions)
    branches = [each for each in node.get("anyOf", ()) if each != {"type": "null"}]
    if len(branches) == 1 and len(node["anyOf"]) == 2:
        rest = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
        return _resolved({**branches[0], **rest}, definitions)
    if len(node.get("patternProperties", ())) == 1:
        (values,) = node["patternProperties"].values()
        node = {**node, "additionalProperties": values}
    return {key: _resolved(value, definitions) for key, value in node.items()}


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema within a schema with the path of the field that it describes."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}" if path else name)
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")
