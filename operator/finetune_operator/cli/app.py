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
    "operator": "finetune_operator.cli.operator_command:operator_command",
    "plan": "finetune_operator.cli.plan_command:plan_command",
    "report": "finetune_operator.cli.report_command:report_command",
    "run": "finetune_operator.cli.run_command:run_command",
}


class LazyGroup(SafeGroup):
    """Imports a command when it is asked for: `finetune run` needs no Kubernetes client."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name not in _COMMANDS:
            return None
        module_name, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module_name), attribute)
        return command


@click.group(cls=LazyGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="finetune")
@click.option("--debug", is_flag=True, help="Show log lines, and tracebacks of unexpected errors.")
@click.pass_context
def main(ctx: click.Context, *, debug: bool) -> None:
    """Find the hyperparameters with which a language model is fine-tuned best."""
    ctx.obj = ctx.obj or Seams()
    if debug:
        log_to_stderr(logging.DEBUG)


def log_to_stderr(level: int) -> None:
    """Show our own log lines, from a level up. Only commands do that, never a library module."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("finetune_operator", "finetune_providers"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
