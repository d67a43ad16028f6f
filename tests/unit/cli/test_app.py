"""The command as a whole: help, and the reader of a pipe that goes away."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import click
from click.testing import CliRunner

from finetune_operator.cli import main
from finetune_operator.cli.exits import SafeGroup


def test_help_lists_every_command_without_loading_what_they_need() -> None:
    code = (
        "import sys\n"
        "from finetune_operator.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print({'pydantic', 'rich', 'aiohttp'} & set(sys.modules), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert shown.stderr.strip() == "set()"
    context = click.Context(main)
    for name in main.list_commands(context):
        assert f"  {name}  " in shown.stdout
        assert main.get_command(context, name) is not None


def test_a_reader_that_goes_away_is_no_unexpected_error() -> None:
    group = SafeGroup()

    @group.command("much")
    def much() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    result = CliRunner().invoke(group, ["much"])
    assert (result.exit_code, result.stderr) == (1, "")
