"""`finetune report`: a look at a sweep that changes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_contract import MANIFESTS
from tests.unit.cli.conftest import NOW, Cli, succeed

from finetune_operator.folder import FolderStore

STATE = Path(".finetune/support")


def files_of(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def test_it_shows_what_the_command_showed_at_the_end(cli: Cli) -> None:
    cli.script = succeed
    at_the_end = cli("run", "sweep.yaml", "-o", "json").stdout
    before = files_of(cli.folder)
    assert cli("report", "-o", "json").stdout == at_the_end
    assert "Best trial:  support-1" in cli("report", str(STATE)).stdout
    assert files_of(cli.folder) == before


def test_it_looks_in_while_another_process_works(cli: Cli) -> None:
    with FolderStore.open(STATE, MANIFESTS, clock=lambda: NOW):
        result = cli("report", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["phase"] is None


def test_where_there_are_several_one_must_be_named(cli: Cli, manifest: dict[str, Any]) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    (STATE.parent / "other").mkdir()
    result = cli("report")
    assert result.exit_code == 2
    assert "name one of .finetune/other, .finetune/support" in result.stderr


def test_where_there_is_none_it_says_so(cli: Cli) -> None:
    result = cli("report")
    assert result.exit_code == 2
    assert "no sweep was run in this folder" in result.stderr
    (cli.folder / "empty").mkdir()
    result = cli("report", "empty")
    assert result.exit_code == 1
    assert result.stderr == "Error: empty holds no sweep: `finetune run` makes a state folder\n"


def test_a_file_that_is_broken_is_named(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    (STATE / "trials" / "support-0.yaml").write_text("half a tri")
    result = cli("report")
    assert result.exit_code == 1
    assert "trials/support-0.yaml cannot be used: it is not a YAML mapping" in result.stderr


def test_a_file_is_made_of_what_its_name_says(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    before = files_of(STATE)
    for name, start in (
        ("r.html", b"<!doctype html>"),
        ("r.png", b"\x89PNG"),
        ("r.json", b"{"),
        ("r.txt", b"TRIAL"),
    ):
        result = cli("report", "--output", name)
        assert result.exit_code == 0, result.output
        assert f"Wrote {name}" in result.stderr
        assert result.stdout == ""
        assert Path(name).read_bytes().startswith(start)
    assert files_of(STATE) == before
    assert not list(Path().glob(".*.part"))


def test_html_without_a_file_gets_the_sweeps_name(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    assert cli("report", "--format", "html").exit_code == 0
    assert "the provider refused the file" in Path("support.html").read_text()
    assert "No answers are shown: " in Path("support.html").read_text()


def test_a_dash_is_the_standard_output(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    result = cli("report", "--format", "png", "-o", "-")
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.startswith(b"\x89PNG")
    assert cli("report", "--format", "json", "-o", "-").stdout == cli("report", "-o", "json").stdout


def test_answers_can_be_left_out(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    cli("report", "--format", "html", "--no-answers")
    assert "they were left out (--no-answers)" in Path("support.html").read_text()


def test_a_name_that_says_no_format_is_refused(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    result = cli("report", "-o", "report.pdf")
    assert result.exit_code == 2
    assert "what report.pdf is to be cannot be told from its name: give --format" in result.stderr


def test_a_place_that_cannot_be_written_is_named(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    result = cli("report", "-o", "nowhere/r.json")
    assert result.exit_code == 1
    assert result.stderr == "Error: nowhere/r.json cannot be written: No such file or directory\n"


@pytest.mark.parametrize(("form", "package"), [("html", "altair"), ("png", "vl_convert")])
def test_without_its_packages_the_command_says_what_to_install(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, form: str, package: str
) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    for name in [each for each in sys.modules if each.startswith("finetune_operator.report.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    result = cli("report", "--format", form)
    assert result.exit_code == 1
    assert "pip install 'finetune-operator[report]'" in result.stderr
    assert package in result.stderr
    assert cli("report").exit_code == 0
