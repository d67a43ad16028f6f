"""YAML in and out, where numbers stay numbers.

PyYAML follows YAML 1.1: it reads `1e-5` as text and writes the text `1e-4` without quotes. Kubernetes reads
YAML 1.2's core schema, so a manifest would mean one thing to `kubectl` and another to `finetune run`.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_FLOAT = re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$")
_STARTS = list("-+0123456789.")


class _Loader(yaml.SafeLoader):
    """SafeLoader that knows 1e-5 and does not turn dates into objects."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes every text which a reader could take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _without_timestamps(table: dict[str, list[tuple[str, re.Pattern[str]]]]) -> dict[str, Any]:
    return {
        start: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
        for start, rules in table.items()
    }


_Loader.yaml_implicit_resolvers = _without_timestamps(_Loader.yaml_implicit_resolvers)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, _STARTS)


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | int:
    text = str(node.value).replace("_", "")
    return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else _special_or_float(text)


def _special_or_float(text: str) -> float:
    lowered = text.lower().lstrip("+")
    if lowered in {".inf", "-.inf", ".nan"}:
        return float(lowered.replace(".", ""))
    return float(text)


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def load_yaml(text: str) -> Any:
    """The one document of a YAML text, as plain types."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


def load_yaml_documents(text: str) -> list[Any]:
    """All documents of a YAML text; empty ones are left out."""
    documents = yaml.load_all(text, Loader=_Loader)
    return [document for document in documents if document is not None]


def dump_yaml(value: Any) -> str:
    """A value of plain types as YAML, fields in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
