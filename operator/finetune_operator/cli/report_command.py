"""`finetune report`: how is a sweep of this machine, or how did it end?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.cli.json_output import SHAPE_HELP, sweep_as_json
from finetune_operator.cli.options import OUTPUT, STATE_FOLDERS
from finetune_operator.cli.seams import Seams
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.tables import summary, trial_table
from finetune_operator.folder import read_state

HELP = f"""Show a sweep of this machine, while `finetune run` works on it or later.

STATE is the sweep's state folder; it may be left out where .finetune holds a single one.

\b
Examples:
  finetune report
  finetune report .finetune/support-intents -o json | jq .best.fineTunedModel

{SHAPE_HELP}
{EXIT_CODES_HELP}"""


@click.command(name="report", help=HELP)
@click.argument("state", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@OUTPUT
@click.pass_obj
def report_command(seams: Seams, state: Path | None, *, output: Literal["table", "json"]) -> None:
    """Show a sweep; changes nothing."""
    folder = state or _only_state_folder()
    sweep, trials = read_state(folder)
    print_report(Snapshot(sweep, trials, seams.clock()), folder, output=output)


def print_report(snapshot: Snapshot, folder: Path, *, output: Literal["table", "json"]) -> None:
    """Print all there is to say about a sweep."""
    if output == "json":
        click.echo(json.dumps(sweep_as_json(snapshot, folder), indent=2))
        return
    console = Console()
    console.print(trial_table(snapshot))
    console.print(summary(snapshot, folder), soft_wrap=True)


def _only_state_folder() -> Path:
    found = sorted(path for path in STATE_FOLDERS.glob("*") if path.is_dir())
    if len(found) == 1:
        return found[0]
    if not found:
        raise click.UsageError(f"no sweep was run in this folder ({STATE_FOLDERS} holds none): name STATE")
    raise click.UsageError(f"name one of {', '.join(str(path) for path in found)}")
