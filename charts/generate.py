"""Makes what the chart holds twice: its copy of the CRDs, and the table of values in its README.

`crds/*.yaml` and the comments of `values.yaml` are the sources. `python charts/generate.py` writes, with `--check` it
only tells what is not fresh; a test does the same.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "finetune-operator"
_BEGIN, _END = "<!-- values: begin -->\n", "<!-- values: end -->"
_METADATA = re.compile(r"^metadata:\n(?=  name: )", re.MULTILINE)
_DESCRIPTION = re.compile(r"^ *# -- (.*)$")
_KEY = re.compile(r"^( *)([A-Za-z]\w*):")
_HEAD = """\
{{- /* Made from crds/%s by charts/generate.py: change it there. */ -}}
{{- if .Values.crds.enabled }}
"""
_ANNOTATIONS = """\
metadata:
  {{- $annotations := .Values.crds.annotations }}
  {{- if .Values.crds.keep }}
  {{- $annotations = merge (dict "helm.sh/resource-policy" "keep") $annotations }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
"""


def crd_template(name: str, text: str) -> str:
    """A CRD as a template of the chart.

    Args:
        name: Its file's name.
        text: Its file's text, in which braces mean nothing; in a template they would.

    Raises:
        ValueError: There is no place for annotations.
    """
    escaped = re.sub(r"\{\{|\}\}", lambda braces: '{{ "%s" }}' % braces.group(), text)  # noqa: UP031
    annotated, count = _METADATA.subn(lambda _: _ANNOTATIONS, escaped)
    if count != 1:
        raise ValueError(
            f"{name}: expected `metadata:` with `name:` below it exactly once, found it {count} times"
        )
    return f"{_HEAD % name}{annotated.rstrip()}\n{{{{- end }}}}\n"


def described_values(text: str) -> Iterator[tuple[str, Any, str]]:
    """Path, default and description of each value whose comment begins with `# --`."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    words: list[str] = []
    for line in text.splitlines():
        if begun := _DESCRIPTION.match(line):
            words = [begun.group(1)]
        elif words and line.lstrip().startswith("# "):
            words.append(line.lstrip()[2:])
        elif key := _KEY.match(line):
            indent = len(key.group(1))
            path = [*(each for each in path if each[0] < indent), (indent, key.group(2))]
            if words:
                names = [name for _, name in path]
                yield ".".join(names), _at(values, names), " ".join(words)
            words = []


def _at(values: Any, names: list[str]) -> Any:
    for name in names:
        values = values[name]
    return values


def values_table(text: str) -> str:
    """The values as a table in Markdown."""
    rows = ["| value | default | what it does |", "| --- | --- | --- |"]
    for name, default, description in described_values(text):
        rows.append(
            f"| `{name}` | `{json.dumps(default, ensure_ascii=False)}` | {description.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(rows) + "\n"


def readme(old: str, values: str) -> str:
    """The README with its table made anew."""
    before, _, rest = old.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{values_table(values)}{_END}{after}"


def generated() -> dict[Path, str]:
    """What each generated file should hold."""
    files = {
        CHART / "templates" / "crds" / source.name: crd_template(source.name, source.read_text("utf-8"))
        for source in sorted((ROOT / "crds").glob("*.yaml"))
    }
    page = CHART / "README.md"
    files[page] = readme(page.read_text("utf-8"), (CHART / "values.yaml").read_text("utf-8"))
    return files


def stale() -> list[Path]:
    """The files that are not as they should be, or should not be there."""
    wanted = generated()
    left_over = set((CHART / "templates" / "crds").glob("*")) - wanted.keys()
    return sorted(
        [
            *left_over,
            *(file for file, text in wanted.items() if not file.exists() or file.read_text("utf-8") != text),
        ]
    )


def main() -> int:
    """Writes what is stale; with `--check` names it and returns 1."""
    check = "--check" in sys.argv[1:]
    wanted, found = generated(), stale()
    for file in found:
        sys.stdout.write(f"{'stale' if check else 'wrote'}: {file.relative_to(ROOT)}\n")
        if not check and file in wanted:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(wanted[file], "utf-8")
        elif not check:
            file.unlink()
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
