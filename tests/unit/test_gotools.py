"""Where tests get their Go tools from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from controlplane.errors import BinariesUnavailableError
from gotools import TOOLS, build_key, ensure_tool


@pytest.mark.parametrize(
    ("tool", "file"),
    [("helm", "go.sum"), ("kstatus", "go.mod"), ("kstatus", "main.go"), ("controller-gen", "kinds.go")],
)
def test_another_version_or_source_is_another_build(tmp_path: Path, tool: str, file: str) -> None:
    tools = shutil.copytree(TOOLS, tmp_path / "tools")
    before = build_key(tool, "go1.26.8", tools=tools)
    assert before == build_key(tool, "go1.26.8")
    changed = tools / tool / file
    changed.write_text(changed.read_text("utf-8") + "\n// another one\n", "utf-8")
    assert build_key(tool, "go1.26.8", tools=tools) != before
    assert build_key(tool, "go1.27.0") != before


def test_without_go_an_earlier_build_is_taken(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    built = tmp_path / "finetune-operator" / "gotools" / build_key("helm", "go1.26.1") / "helm"
    built.parent.mkdir(parents=True)
    built.touch()
    assert ensure_tool("helm", environment) == built


def test_without_go_and_without_a_build_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BinariesUnavailableError, match=r"Install Go 1\.26 or newer"):
        ensure_tool("kstatus", {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
