"""`finetune report`: how is a sweep, or how did it end?"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.cli.json_output import SHAPE_HELP, sweep_as_json
from finetune_operator.cli.options import OUTPUT, is_kubectl
from finetune_operator.cli.reader import read_chosen
from finetune_operator.cli.seams import Seams
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.tables import summary, trial_table
from finetune_operator.cli.where import (
    WHERE_HELP,
    Where,
    reader_of,
    sweep_or_state,
    where_options,
)

HELP = f"""Show a sweep with all its trials, while it goes on or later.

STATE is a state folder of finetune run; it may be left out where .finetune holds a single one (`kubectl finetune`
looks in the cluster alone, unless --state is given). SWEEP is the name of
a sweep of a cluster, or of a folder that --state names.

\b
Examples:
  finetune report
  finetune report .finetune/support-intents -o json | jq .best.fineTunedModel
  finetune report support-intents -n team-a

{WHERE_HELP}
{SHAPE_HELP}
{EXIT_CODES_HELP}"""


@click.command(name="report", help=HELP)
@click.argument("sweep", metavar="[STATE|SWEEP]", required=False)
@OUTPUT
@where_options
@click.pass_context
def report_command(
    ctx: click.Context, sweep: str | None, *, where: Where, output: Literal["table", "json"]
) -> None:
    """Show a sweep; changes nothing."""
    seams: Seams = ctx.obj
    where, name = sweep_or_state(where, sweep, in_cluster=is_kubectl(ctx))
    snapshot, folder = asyncio.run(_read(seams, where, name))
    print_report(snapshot, folder, output=output)


async def _read(seams: Seams, where: Where, name: str | None) -> tuple[Snapshot, Path | None]:
    async with reader_of(where) as reader:
        sweep, trials = await read_chosen(reader, name)
        return Snapshot(sweep, trials, seams.clock()), reader.state_of(sweep)


def print_report(snapshot: Snapshot, folder: Path | None, *, output: Literal["table", "json"]) -> None:
    """Print all there is to say about a sweep."""
    if output == "json":
        click.echo(json.dumps(sweep_as_json(snapshot, folder), indent=2))
        return
    console = Console()
    console.print(trial_table(snapshot))
    console.print(summary(snapshot, folder), soft_wrap=True)
