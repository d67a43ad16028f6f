"""`kubectl finetune`: what a person does with a cluster's sweeps, as a plugin of kubectl."""

from __future__ import annotations

import copy
import re
import sys

import click
from click.shell_completion import ShellComplete

from finetune_operator import __version__
from finetune_operator.cli.app import LazyGroup, start
from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.cli.options import IN_CLUSTER
from finetune_operator.cli.seams import Seams

NAME = "kubectl finetune"
HELP = f"""Look at the sweeps of a cluster, and answer for their trials.

\b
Examples:
  kubectl finetune status                        all sweeps of the namespace
  kubectl finetune status support-intents -w     one, until it ends
  kubectl finetune trials support-intents --sort score --desc
  kubectl finetune best support-intents          the model's id, for scripts

{EXIT_CODES_HELP}"""

_OF_THIS_MACHINE = frozenset({"operator", "run"})
# What kubectl's own completion expects after the candidates: complete no file names.
_NO_FILES = ":4"
_EXAMPLE = re.compile(r"(^  |\$\()finetune (?!operator|run)", re.MULTILINE)


class KubectlGroup(LazyGroup):
    """The commands that make sense for a cluster, under kubectl's name."""

    left_out = _OF_THIS_MACHINE

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, whose examples are spelt as a person types them here."""
        command = super().get_command(ctx, cmd_name)
        if command is None or command.help is None:
            return command
        spelt = copy.copy(command)  # the other group has the same one
        spelt.help = _EXAMPLE.sub(rf"\1{NAME} ", command.help)
        return spelt


@click.group(cls=KubectlGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=NAME)
@click.option("--debug", is_flag=True, help="Show log lines, and tracebacks of unexpected errors.")
@click.pass_context
def kubectl_group(ctx: click.Context, *, debug: bool) -> None:
    """Look at the sweeps of a cluster."""
    ctx.obj = ctx.obj or Seams()
    ctx.meta[IN_CLUSTER] = True
    start(debug=debug)


def kubectl_main() -> None:
    """Run as `kubectl-finetune`, which kubectl finds on the PATH."""
    kubectl_group(prog_name=NAME)


def complete_main() -> None:
    """Run as `kubectl_complete-finetune`: kubectl passes the words so far and reads the candidates."""
    *words, unfinished = sys.argv[1:] or [""]
    completion = ShellComplete(kubectl_group, {"obj": Seams()}, NAME, "_KUBECTL_FINETUNE_COMPLETE")
    for item in completion.get_completions(words, unfinished):
        click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(_NO_FILES)
