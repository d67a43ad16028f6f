"""YAML in and out, where a scalar means the same to `kubectl` and to `finetune run`.

PyYAML follows YAML 1.1 to the letter: it reads `1e-5` as text and `1:30` as the number 90, and writes the text
`1e-4` without quotes. What `kubectl` takes a scalar for was found by asking it; a test asks it again.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$")
_SPECIAL_FLOAT = re.compile(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$")
_INT = re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)$")
_YES_OR_NO = re.compile(r"^[yYnN]$")
_NUMBER_STARTS = list("-+0123456789.")
_READ_OTHERWISE = {f"{_TAG}{name}" for name in ("int", "float", "timestamp", "value")}


class _Loader(yaml.SafeLoader):
    """SafeLoader that takes scalars for what `kubectl` takes them for."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes every text which some reader could take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in rules if tag not in _READ_OTHERWISE]
    for start, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(f"{_TAG}int", _INT, _NUMBER_STARTS)
    _class.add_implicit_resolver(f"{_TAG}float", _FLOAT, _NUMBER_STARTS)
    _class.add_implicit_resolver(f"{_TAG}float", _SPECIAL_FLOAT, list("-+."))
    _class.add_implicit_resolver(f"{_TAG}bool", _YES_OR_NO, list("yYnN"))


def _int(text: str) -> int:
    sign, digits = (text[0], text[1:]) if text.startswith(("+", "-")) else ("", text)
    digits = digits.replace("0o", "0")
    base = {"0b": 2, "0x": 16}.get(digits[:2], 8 if digits.startswith("0") else 10)
    return int(sign + digits, base)


def _float(text: str) -> float | int:
    if re.fullmatch(r"[-+]?[0-9]+", text):  # Such as 08, which is no octal number.
        return int(text)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _construct_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | int:
    text = str(node.value).replace("_", "")
    try:
        return _int(text) if node.tag == f"{_TAG}int" else _float(text)
    except ValueError as error:
        problem = f"{node.value!r} is no number"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def _construct_bool(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bool:
    return str(node.value).lower() in {"y", "yes", "true", "on"}


def _construct_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(node.value)


_Loader.add_constructor(f"{_TAG}int", _construct_number)
_Loader.add_constructor(f"{_TAG}float", _construct_number)
_Loader.add_constructor(f"{_TAG}bool", _construct_bool)
_Loader.add_constructor(f"{_TAG}merge", _construct_text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Outside double quotes these would be written as plain line breaks, or be lost.
    style = '"' if any(mark in value for mark in "\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar(f"{_TAG}str", value, style=style)


_Dumper.add_representer(str, _represent_text)


def load_yaml(text: str) -> Any:
    """The one document of a YAML text, as plain types.

    Raises:
        yaml.YAMLError: It is no YAML, or more than one document.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)


def load_yaml_documents(text: str) -> list[Any]:
    """All documents of a YAML text; empty ones are left out.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    documents = yaml.load_all(text, Loader=_Loader)
    return [document for document in documents if document is not None]


def dump_yaml(value: Any) -> str:
    """A value of plain types as YAML, fields in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
