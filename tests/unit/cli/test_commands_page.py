"""`docs/cli.md` shows what is printed: its commands for this machine are run here, the others on an API server."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.commands_page import COLUMNS, PAGE, Shown, shown_commands
from tests.contract.store_contract import MANIFESTS
from tests.contract.sweeps_to_look_at import START, write_states
from tests.unit.cli.conftest import Cli, succeed
from tests.unit.cli.planning import EXAMPLE, TalkingProvider, price

from finetune_operator.cli import main
from finetune_operator.cli.exits import ExitCode
from finetune_operator.resources import dump_yaml

HERE = [shown for shown in shown_commands() if shown.local]


def write_manifest() -> None:
    """`sweep.yaml` with a dataset that can be trained on."""
    data = {"train.jsonl": "".join(json.dumps(EXAMPLE) + "\n" for _ in range(20))}
    priced = {**MANIFESTS[1], "spec": {**MANIFESTS[1]["spec"], "prices": [price("3.00")]}}
    documents = (MANIFESTS[0], priced, MANIFESTS[2], {**MANIFESTS[-1], "data": data})
    Path("sweep.yaml").write_text("---\n".join(map(dump_yaml, documents)))


@pytest.mark.parametrize("shown", HERE, ids=lambda shown: shown.command)
def test_the_page_shows_what_a_command_for_this_machine_prints(cli: Cli, shown: Shown) -> None:
    cli.script = succeed
    asyncio.run(write_states(Path(".finetune")))
    if shown.command.endswith("run sweep.yaml"):
        Path(".finetune").rename("elsewhere")
    write_manifest()
    printed = cli(
        *shown.command.split()[1:],
        columns=COLUMNS,
        clock=lambda: START + timedelta(minutes=20),
        make_provider=TalkingProvider,
    )
    assert shown.matches(printed.output), printed.output


def test_the_page_has_every_command_and_exit_code() -> None:
    page = PAGE.read_text("utf-8")
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert f"## {name}\n" in page or name == "operator"
    for code in ExitCode:
        assert f"| {code.value} | " in page
    typed = {shown.command.removeprefix("kubectl ").split()[1] for shown in shown_commands()}
    assert typed == set(main.list_commands(None)) - {"operator"}  # type: ignore[arg-type]


def test_an_output_that_differs_is_told() -> None:
    shown = Shown("finetune x", "one\n…\nlast …\n")
    assert shown.matches("one  \nlast word\n")
    assert shown.matches("one\ntwo\nthree\nlast thing\n")
    assert not shown.matches("one\nlast word\nmore\n")
    assert not shown.matches("first\none\nlast word\n")
