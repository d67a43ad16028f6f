"""`finetune trials`: each trial of a sweep, and why it ended."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import click
from rich.console import Console

from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.cli.fitting import output_console
from finetune_operator.cli.json_output import trial_as_json
from finetune_operator.cli.reader import read_chosen
from finetune_operator.cli.seams import Seams
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.trials_output import (
    NoSuchKey,
    sorted_trials,
    trials_as_csv,
    trials_table,
    wide_table,
)
from finetune_operator.cli.where import SWEEP, WHERE_HELP, Where, reader_of, where_options
from finetune_operator.resources import dump_yaml

HELP = f"""List the trials of a sweep: phase, hyperparameters, score, cost, time, and why each ended.

SWEEP may be left out where there is a single one. The best trial has a star; a cost with ~ is reserved.
-o wide shows also by which rule of the search each point was chosen.

\b
Examples:
  finetune trials support-intents --sort score --desc
  finetune trials support-intents --sort learningRate -o wide
  finetune trials support-intents -o csv > trials.csv
  finetune trials support-intents -o json | jq '.[] | select(.phase == "Failed")'

With -o json and yaml a list of trials is printed, as `finetune report -o json` has them.

{WHERE_HELP}
{EXIT_CODES_HELP}"""

Output = Literal["table", "wide", "json", "yaml", "csv"]
_WIDEST = 10_000


@click.command(name="trials", help=HELP)
@SWEEP
@click.option(
    "--sort",
    "key",
    metavar="KEY",
    default="index",
    show_default=True,
    help="score, cost, duration, index, or a hyperparameter.",
)
@click.option("--desc", is_flag=True, help="The largest first.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml", "csv"]),
    default="table",
    show_default=True,
    help="What to print.",
)
@where_options
@click.pass_obj
def trials_command(
    seams: Seams, sweep: str | None, *, where: Where, key: str, desc: bool, output: Output
) -> None:
    """List trials; changes nothing."""
    snapshot = asyncio.run(_read(seams, where, sweep))
    try:
        trials = sorted_trials(snapshot, key, descending=desc)
    except NoSuchKey as error:
        raise click.UsageError(str(error)) from error
    if output == "csv":
        click.echo(trials_as_csv(snapshot, trials), nl=False)
    elif output in ("json", "yaml"):
        rows = [trial_as_json(snapshot, trial) for trial in trials]
        click.echo(json.dumps(rows, indent=2) if output == "json" else dump_yaml(rows).rstrip())
    elif not trials:
        click.echo(f"Sweep {snapshot.sweep.name} has no trials yet.", err=True)
    elif output == "wide":
        Console(width=_WIDEST).print(wide_table(snapshot, trials), crop=False, soft_wrap=True)
    else:
        output_console().print(trials_table(snapshot, trials))


async def _read(seams: Seams, where: Where, name: str | None) -> Snapshot:
    async with reader_of(where) as reader:
        return Snapshot(*await read_chosen(reader, name), seams.clock())
