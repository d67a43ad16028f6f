"""The `finetune` command: its subcommands and what they share."""

from __future__ import annotations

import importlib
import logging

import click

from finetune_operator import __version__
from finetune_operator.cli.exits import EXIT_CODES_HELP, SafeGroup
from finetune_operator.cli.seams import Seams

HELP = f"""Find the hyperparameters with which a language model is fine-tuned best.

A sweep is one manifest: a dataset, base models, a search space, limits. It is the same for a cluster
(kubectl apply, with the operator running) and for this machine (finetune run).

\b
Examples:
  finetune plan sweep.yaml      check it, and see what would be tried
  finetune run sweep.yaml       run it here, without a cluster
  finetune report               look at it, while it goes on or later
  finetune operator --all-namespaces

{EXIT_CODES_HELP}"""

_COMMANDS = {
    "operator": "Serve the sweeps of a cluster.",
    "plan": "Check a sweep and show what it would do.",
    "report": "Show a sweep of this machine.",
    "resolve": "Say what became of a purchase that is in doubt.",
    "run": "Run a sweep on this machine.",
}


class LazyGroup(SafeGroup):
    """Imports a command when it is asked for: `finetune run` needs no Kubernetes client, help not even pydantic."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"finetune_operator.cli.{cmd_name}_command")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them: help is there at once."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="finetune")
@click.option("--debug", is_flag=True, help="Show log lines, and tracebacks of unexpected errors.")
@click.pass_context
def main(ctx: click.Context, *, debug: bool) -> None:
    """Find the hyperparameters with which a language model is fine-tuned best."""
    ctx.obj = ctx.obj or Seams()
    if debug:
        from finetune_operator.cli.logs import log_to_stderr

        log_to_stderr(logging.DEBUG)
