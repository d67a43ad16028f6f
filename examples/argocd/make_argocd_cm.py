"""Writes argocd-cm.yaml out of the scripts in resource_customizations, each of which has its tests beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
GROUP = "finetune-operator.dev"
_HEAD = """\
# What Argo CD is to know of finetune-operator's kinds: when they are healthy, which actions a person is offered, and
# that a change of a status alone is no reason to compare anew. Made by make_argocd_cm.py; merge it into your argocd-cm:
#
#   kubectl -n argocd patch configmap argocd-cm --patch-file argocd-cm.yaml
#
# With the Helm chart argo-cd the same keys go below configs.cm.
data:
"""


def render(folder: Path = HERE) -> str:
    """The patch for argocd-cm."""
    lines: list[str] = []
    for kind in sorted((folder / "resource_customizations" / GROUP).iterdir()):
        lines += _block(f"health.{GROUP}_{kind.name}", (kind / "health.lua").read_text("utf-8").splitlines())
        if (kind / "actions").is_dir():
            lines += _block(f"actions.{GROUP}_{kind.name}", _actions(kind / "actions"))
        lines += _block(f"ignoreResourceUpdates.{GROUP}_{kind.name}", ["jsonPointers:", "- /status"])
    return _HEAD + "\n".join(lines) + "\n"


def _block(key: str, lines: list[str] | Iterator[str]) -> list[str]:
    return [f"  resource.customizations.{key}: |", *(f"    {line}".rstrip() for line in lines)]


def _actions(folder: Path) -> Iterator[str]:
    yield "discovery.lua: |"
    yield from (f"  {line}" for line in (folder / "discovery.lua").read_text("utf-8").splitlines())
    yield "definitions:"
    for script in sorted(folder.glob("*/action.lua")):
        yield f"- name: {script.parent.name}"
        yield "  action.lua: |"
        yield from (f"    {line}" for line in script.read_text("utf-8").splitlines())


if __name__ == "__main__":
    (HERE / "argocd-cm.yaml").write_text(render(), encoding="utf-8")
    sys.stdout.write("wrote argocd-cm.yaml\n")
