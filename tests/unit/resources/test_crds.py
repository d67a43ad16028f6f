"""The CRDs are structural, bounded and documented, and they say what the models say."""

import re
from typing import Any

import pytest

from finetune_operator.resources import API_VERSION, RESOURCE_KINDS
from finetune_operator.resources.patterns import MEANINGS
from finetune_operator.resources.provider import ProviderSpec
from samples.schemas import Schema, crd_schema, crds, model_schema, nodes

KINDS = sorted(RESOURCE_KINDS)
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
}
_FORBIDDEN = {
    "$ref",
    "oneOf",
    "anyOf",
    "allOf",
    "uniqueItems",
    "dependencies",
    "patternProperties",
    "nullable",
}
_BOUNDS = {
    "enum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
}


def structural_faults(path: str, node: Schema) -> list[str]:
    """What the API server or a person who reads `kubectl explain` would miss in one node of a schema."""
    faults = [f"{path}: {each} is forbidden" for each in _FORBIDDEN & node.keys()]
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return faults + ([f"{path}: has a type and keeps everything"] if "type" in node else [])
    if node.get("type") not in _TYPES:
        return [*faults, f"{path}: has no type"]
    if "properties" in node and "additionalProperties" in node:
        faults.append(f"{path}: is both an object and a map")
    faults += [
        f"{path}: requires unknown {each}"
        for each in set(node.get("required", ())) - set(node.get("properties", ()))
    ]
    faults += _unbounded(path, node)
    if "default" in node and not isinstance(node["default"], _TYPES[node["type"]]):
        faults.append(f"{path}: has a default of another type")
    if "default" in node and node["default"] not in node.get("enum", [node["default"]]):
        faults.append(f"{path}: has a default that it does not allow")
    if (
        not path.endswith(("[]", ".*"))
        and path not in {"", "metadata"}
        and not node.get("description", "").endswith(".")
    ):
        faults.append(f"{path}: has no description, or one that is not a sentence")
    return faults


def _unbounded(path: str, node: Schema) -> list[str]:
    kind = node["type"]
    missing: set[str] = set()
    if kind == "array":
        missing = {"maxItems", "x-kubernetes-list-type", "items"} - node.keys()
    elif kind == "object" and "additionalProperties" in node:
        missing = {"maxProperties"} - node.keys()
    elif kind == "string" and not node.keys() & {"enum", "format"} and path not in {"apiVersion", "kind"}:
        missing = {"maxLength"} - node.keys()
    elif kind == "integer":
        missing = {"minimum", "format"} - node.keys()
    if kind in {"integer", "number"} and path.startswith("spec"):
        missing |= {"minimum", "maximum"} - node.keys()
    return [f"{path}: has no {each}" for each in sorted(missing)]


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_structural_bounded_and_documented(kind: str) -> None:
    faults = [fault for path, node in nodes(crd_schema(kind)) for fault in structural_faults(path, node)]
    assert faults == []


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ({"description": "A."}, "has no type"),
        ({"type": "string", "description": "A."}, "has no maxLength"),
        ({"type": "string", "maxLength": 3}, "no description"),
        ({"type": "string", "enum": ["a"], "default": "b", "description": "A."}, "does not allow"),
        ({"type": "object", "properties": {}, "required": ["a"], "description": "A."}, "requires unknown a"),
        ({"type": "integer", "format": "int32", "minimum": 0, "description": "A."}, "has no maximum"),
        ({"type": "array", "maxItems": 2, "items": {}, "description": "A."}, "has no x-kubernetes-list-type"),
        ({"type": "string", "maxLength": 2, "nullable": True, "description": "A."}, "nullable is forbidden"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_structural_check_finds_a_fault(node: Schema, fault: str) -> None:
    assert any(fault in each for each in structural_faults("spec.a", node))


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_those_of_the_design(kind: str) -> None:
    crd = crds()[kind]
    names = crd["spec"]["names"]
    assert f"{crd['spec']['group']}/{crd['spec']['versions'][0]['name']}" == API_VERSION
    assert crd["metadata"]["name"] == f"{names['plural']}.{crd['spec']['group']}"
    assert crd["spec"]["scope"] == "Namespaced"
    assert names["categories"] == ["finetune"]
    assert names["shortNames"] == [
        {"Sweep": "fts", "Trial": "ftt", "Provider": "ftp"}[kind.removeprefix("Finetune")]
    ]


def _fields(schema: Schema) -> dict[str, set[str]]:
    return {
        path: set(node["properties"])
        for path, node in nodes(schema)
        if "properties" in node and path != "metadata" and not path.startswith("metadata.")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_crd_have_the_same_fields(kind: str) -> None:
    assert _fields(crd_schema(kind)) == _fields(model_schema(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_crd_require_the_same_fields(kind: str) -> None:
    def required(schema: Schema) -> dict[str, set[str]]:
        return {
            path: set(node.get("required", ()))
            for path, node in nodes(schema)
            if path.startswith("spec") and "properties" in node
        }

    assert required(crd_schema(kind)) == required(model_schema(kind))


def _bounds(node: Schema) -> dict[str, Any]:
    # The length of a listed text is stated for the API server's estimate of what a rule costs.
    return {key: node[key] for key in sorted(_BOUNDS & node.keys()) if key == "enum" or "enum" not in node}


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_crd_have_the_same_bounds(kind: str) -> None:
    # What the models check in code: money, durations and the values of a trial.
    left_out = {path for path, node in nodes(model_schema(kind)) if "anyOf" in node}
    left_out |= {
        "spec.limits.maxDuration",
        "spec.hyperparameters.*",
        "spec.search.firstPoints[].parameters.*",
    }

    def bounds(schema: Schema) -> dict[str, dict[str, Any]]:
        return {
            path: _bounds(node)
            for path, node in nodes(schema)
            if path.startswith("spec") and path not in left_out
        }

    assert bounds(crd_schema(kind)) == bounds(model_schema(kind))


def _defaults(schema: Schema) -> Any:
    """What an object with nothing but its required fields is filled with."""
    if schema.get("type") != "object" or "properties" not in schema:
        return schema.get("default")
    filled = {name: _defaults(each) for name, each in schema["properties"].items() if _filled(each)}
    return filled or None


def _filled(schema: Schema) -> bool:
    return "default" in schema or (schema.get("type") == "object" and _defaults(schema) is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_crd_have_the_same_defaults(kind: str) -> None:
    def defaults(schema: Schema) -> dict[str, Any]:
        return {
            path: node["default"]
            for path, node in nodes(schema)
            if path.startswith("spec")
            and node.get("default") is not None
            and node.get("type") not in {"object", "array"}
        }

    assert defaults(crd_schema(kind)) == defaults(model_schema(kind))
    assert defaults(crd_schema(kind))


def test_sweep_without_search_is_filled_alike_by_models_and_server() -> None:
    search = crd_schema("FinetuneSweep")["properties"]["spec"]["properties"]["search"]
    assert search["default"] == {}
    filled = model_schema("FinetuneSweep")["properties"]["spec"]["properties"]["search"]["default"]
    assert _defaults(search) == {name: value for name, value in filled.items() if value is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_status_that_nobody_has_written_is_of_generation_minus_one(kind: str) -> None:
    status = crd_schema(kind)["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    model = RESOURCE_KINDS[kind].model_fields["status"].default
    assert model.observed_generation == -1


@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_has_a_rule_that_says_what_to_write(kind: str) -> None:
    patterns = [(path, node) for path, node in nodes(crd_schema(kind)) if "pattern" in node]
    assert patterns
    for path, node in patterns:
        rules = {rule["rule"]: rule["message"] for rule in node["x-kubernetes-validations"]}
        assert rules[f"self.matches(r'{node['pattern']}')"] == MEANINGS[node["pattern"]], path


@pytest.mark.parametrize("kind", ["FinetuneProvider", "FinetuneSweep"])
def test_names_that_a_person_chooses_have_the_same_pattern_and_message(kind: str) -> None:
    models = dict(nodes(model_schema(kind)))
    maps = {
        path: node
        for path, node in nodes(crd_schema(kind))
        if path.startswith("spec") and "additionalProperties" in node
    }
    # Values without a type cannot be judged by a rule; admission holds these names against the candidate's.
    maps.pop("spec.search.firstPoints[].parameters", None)
    assert maps
    for path, node in maps.items():
        (pattern,) = models[path]["patternProperties"]
        rules = {
            rule["rule"].replace("(r'", "('"): rule["message"] for rule in node["x-kubernetes-validations"]
        }
        assert rules[f"self.all(k, k.matches('{pattern}'))"] == MEANINGS[pattern], path


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_has_a_message_and_immutability_says_what_to_do(kind: str) -> None:
    rules = [rule for _, node in nodes(crd_schema(kind)) for rule in node.get("x-kubernetes-validations", ())]
    assert all(rule["message"] for rule in rules)
    immutable = [rule for rule in rules if "oldSelf" in rule["rule"]]
    assert all(rule["reason"] == "FieldValueForbidden" for rule in immutable)
    for rule in immutable:
        field = re.escape(rule.get("fieldPath", "").removeprefix("."))
        assert re.search(rf"spec\.{field} is immutable|its spec is immutable", rule["message"])


def test_of_a_provider_only_what_says_where_its_jobs_are_is_immutable() -> None:
    rules = [
        rule
        for _, node in nodes(crd_schema("FinetuneProvider"))
        for rule in node.get("x-kubernetes-validations", ())
    ]
    immutable = {rule["fieldPath"]: rule["rule"] for rule in rules if "oldSelf" in rule["rule"]}
    fixed = ProviderSpec(type="AzureOpenAI").fixed_fields
    assert list(immutable) == [f".{field}" for field in fixed]
    for_all = [path for path, rule in immutable.items() if "self.type !=" not in rule]
    assert for_all == [f".{field}" for field in ProviderSpec(type="OpenAI").fixed_fields]


def test_only_what_decides_the_search_is_immutable() -> None:
    spec = crd_schema("FinetuneSweep")["properties"]["spec"]
    immutable = {rule["fieldPath"] for rule in spec["x-kubernetes-validations"] if "oldSelf" in rule["rule"]}
    assert immutable == {".objective", ".dataset", ".candidates", ".search", ".warmStart"}
