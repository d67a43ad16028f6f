"""`finetune plan`: is the manifest right, and what would happen?"""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import click

from finetune_operator.cli.exits import EXIT_CODES_HELP, ExitCode
from finetune_operator.cli.fitting import output_console
from finetune_operator.cli.manifests import load_manifests
from finetune_operator.cli.options import FILES, OUTPUT
from finetune_operator.cli.plan import make_plan
from finetune_operator.cli.plan_output import SHAPE_HELP, plan_as_json, plan_view, problems_as_json
from finetune_operator.cli.seams import Seams
from finetune_operator.errors import InvalidManifest, SweepError
from finetune_providers.errors import TransientProviderError

HELP = f"""Check a sweep and show what it would do, without buying anything.

Everything that the operator checks is checked: the manifest, the search space, what each provider takes
for each base model, credentials, and the datasets. Shown are the size of the space, the limits, what stops
early, the tokens, and where prices are known the cost and what the budget allows; then the first trials, with
the rule that chose each. Every problem is listed with its field.

\b
Examples:
  finetune plan sweep.yaml provider.yaml
  finetune plan sweep.yaml -o json | jq .problems

{SHAPE_HELP}
{EXIT_CODES_HELP}"""


class ProviderNotAsked(SweepError):
    """A provider could not be asked now; the same plan later may be made."""


@click.command(name="plan", help=HELP)
@FILES
@OUTPUT
@click.pass_context
def plan_command(ctx: click.Context, files: tuple[str, ...], *, output: Literal["table", "json"]) -> None:
    """Check a sweep; exit code 2 lists every problem."""
    seams: Seams = ctx.obj
    try:
        plan = asyncio.run(make_plan(load_manifests(files), seams))
    except TransientProviderError as error:
        raise ProviderNotAsked(
            f"{error}. A plan asks each provider what the account may fine-tune there, and could not; nothing is known "
            "to be wrong with the manifest"
        ) from error
    except InvalidManifest as error:
        if output == "table":
            raise
        click.echo(json.dumps({"sweep": None, **problems_as_json(error.problems)}, indent=2))
        ctx.exit(ExitCode.REFUSED)
    if output == "json":
        click.echo(json.dumps(plan_as_json(plan), indent=2))
        ctx.exit(ExitCode.REFUSED if plan.problems else ExitCode.SUCCEEDED)
    if plan.problems:
        raise InvalidManifest(plan.problems)
    output_console().print(plan_view(plan))
