"""Makes docs/crds.md, the reference of the three kinds, from crds/*.yaml.

`python docs/crds_page.py` writes it, with `--check` it only tells whether it is fresh; a test does the same.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "crds.md"
_ORDER = ("finetunesweeps", "finetuneproviders", "finetunetrials")
_HEAD = """\
# The three kinds

<!-- Made from crds/*.yaml by docs/crds_page.py (`make chart`): change it there. -->

`kubectl explain finetunesweep.spec` says the same. `[]` stands for each item of a list, `{}` for each value of a map.
A star marks what its object cannot be without. Sentences in italics are what the API server says where it refuses.
"""
Schema = Mapping[str, Any]


def page() -> str:
    """The whole page."""
    kinds = [yaml.safe_load((ROOT / "crds" / f"{name}.yaml").read_text("utf-8")) for name in _ORDER]
    return _HEAD + "".join(_kind(each["spec"]) for each in kinds)


def _kind(spec: Schema) -> str:
    """One kind: what it is, its columns, its fields."""
    parts = []
    names = spec["names"]
    for version in spec["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        short = ", ".join(f"`{each}`" for each in names.get("shortNames", ()))
        parts.append(
            f"\n## {names['kind']}\n\n`{spec['group']}/{version['name']}`, {spec['scope'].lower()}; "
            f"in kubectl `{names['plural']}`{f' or {short}' if short else ''}. {_cell(schema['description'])}\n"
        )
        columns = version.get("additionalPrinterColumns", ())
        parts.append("\n| column of `kubectl get` | |\n| --- | --- |\n")
        for each in columns:
            wide = " Only with `-o wide`." if each.get("priority") else ""
            parts.append(f"| {each['name']} | {_cell(each.get('description', 'Its age.'))}{wide} |\n")
        for name in ("spec", "status"):
            top = schema["properties"][name]
            parts.append(f"\n### {names['kind']}: {name}\n\n{_described(top)}\n\n")
            parts.append("| field | type | default | |\n| --- | --- | --- | --- |\n")
            parts += [f"| {' | '.join(row)} |\n" for row in _rows(top, name)]
    return "".join(parts)


def _rows(schema: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    """Field, type, default and meaning of each field below a path."""
    for name, field in schema.get("properties", {}).items():
        star = "*" if name in schema.get("required", ()) else ""
        default = f"`{_cell(json.dumps(field['default'], ensure_ascii=False))}`" if "default" in field else ""
        yield f"`{path}.{name}`{star}", _type(field), default, _described(field)
        yield from _below(field, f"{path}.{name}")


def _below(field: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    yield from _rows(field, path) if field.get("type") == "object" else ()
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        inner = field.get(key)
        if isinstance(inner, Mapping):
            about = _described(inner)
            if about:
                yield f"`{path}{mark}`", _type(inner), "", about
            yield from _below(inner, f"{path}{mark}")


def _type(field: Schema) -> str:
    """A field's type, with its bounds."""
    if inner := field.get("items"):
        text = f"list of {_type(inner)}"
    elif isinstance(inner := field.get("additionalProperties"), Mapping):
        text = f"map of {_type(inner)}"
    else:
        text = field.get("type") or ("number or text" if _no_list(field) else "anything")
    if values := field.get("enum"):
        text = ", ".join(f"`{value}`" for value in values)
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ):
        if (bounds := _bounds(field.get(low), field.get(high))) and not _no_list(field):
            text += f", {bounds}{unit}"
    if "maxLength" in field and not values:
        text += f", up to {field['maxLength']} characters"
    return _cell(text)


def _no_list(field: Schema) -> bool:
    """Whether a value of any type has bounds that no list and no object keeps to: the schema's way of refusing them."""
    return bool(field.get("minItems", 0) > field.get("maxItems", math.inf))


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low} to {high}"
    if high is not None:
        return f"up to {high}"
    return f"at least {low}" if low is not None else ""


def _described(field: Schema) -> str:
    """What a field means, and what the API server refuses with which words."""
    told = []
    for rule in field.get("x-kubernetes-validations", ()):
        at, words = rule.get("fieldPath", "").lstrip("."), _cell(rule.get("message", ""))
        if words:
            told.append(f"`{at}`: {words}" if at and not words.startswith("spec.") else words)
    text = _cell(field.get("description", ""))
    return " ".join([text, *(f"*{each}.*" for each in dict.fromkeys(told))]).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Writes the page where it is stale; with `--check` says so and returns 1."""
    check, wanted = "--check" in sys.argv[1:], page()
    if PAGE.exists() and PAGE.read_text("utf-8") == wanted:
        return 0
    sys.stdout.write(f"{'stale' if check else 'wrote'}: {PAGE.relative_to(ROOT)}\n")
    if not check:
        PAGE.write_text(wanted, "utf-8")
    return int(check)


if __name__ == "__main__":
    sys.exit(main())
