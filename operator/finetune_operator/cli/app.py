"""The `finetune` command: its subcommands and what they share."""

from __future__ import annotations

import importlib
import logging

import click

from finetune_operator import __version__
from finetune_operator.cli.exits import EXIT_CODES_HELP, SafeGroup
from finetune_operator.cli.seams import Seams

HELP = f"""Find the best hyperparameters for fine-tuning a language model.

A sweep is one manifest: a dataset, base models, a search space, limits. It is the same for a cluster
(kubectl apply, with the operator running) and for this machine (finetune run).

\b
Examples:
  finetune plan sweep.yaml      check it, and see what would be tried
  finetune run sweep.yaml       run it here, without a cluster
  finetune report               look at it, while it goes on or later
  finetune operator --all-namespaces
  finetune status -A            the sweeps of a cluster
  finetune best support-intents its model's id, for scripts

{EXIT_CODES_HELP}"""

_COMMANDS = {
    "best": "Print the id of the best fine-tuned model.",
    "operator": "Serve the sweeps of a cluster.",
    "plan": "Check a sweep and show what it would do.",
    "report": "Show a sweep with all its trials.",
    "resolve": "Say what became of a purchase that is in doubt.",
    "run": "Run a sweep on this machine.",
    "status": "Show the state of a sweep, or of all.",
    "trials": "List the trials of a sweep.",
}


class LazyGroup(SafeGroup):
    """Imports a command when it is asked for: `finetune run` needs no Kubernetes client, help not even pydantic."""

    left_out: frozenset[str] = frozenset()
    """Commands that this group does not have."""

    @property
    def _commands(self) -> dict[str, str]:
        return {name: text for name, text in sorted(_COMMANDS.items()) if name not in self.left_out}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(self._commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name not in self._commands:
            return None
        module = importlib.import_module(f"finetune_operator.cli.{cmd_name}_command")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them: help is there at once."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._commands.items()))


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="finetune")
@click.option("--debug", is_flag=True, help="Show log lines, and tracebacks of unexpected errors.")
@click.pass_context
def main(ctx: click.Context, *, debug: bool) -> None:
    """Find the best hyperparameters for fine-tuning a language model."""
    ctx.obj = ctx.obj or Seams()
    start(debug=debug)


def start(*, debug: bool) -> None:
    """What every command begins with."""
    if debug:
        from finetune_operator.cli.logs import log_to_stderr

        log_to_stderr(logging.DEBUG)
