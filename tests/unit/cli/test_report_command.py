"""`finetune report`: a look at a sweep that changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
