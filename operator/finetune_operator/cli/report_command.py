"""`finetune report`: how is a sweep, or how did it end?"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.cli.fitting import output_console
from finetune_operator.cli.json_output import SHAPE_HELP, sweep_as_json
from finetune_operator.cli.options import is_kubectl
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

Format = Literal["html", "png", "text", "json"]
FORMATS: tuple[Format, ...] = ("html", "png", "text", "json")
STDOUT = "-"

HELP = f"""Show a sweep with all its trials, while it goes on or later.

STATE is a state folder of finetune run; it may be left out where .finetune holds a single one (`kubectl finetune`
looks in the cluster alone, unless --state is given). SWEEP is the name of
a sweep of a cluster, or of a folder that --state names.

The formats text and json are printed unless --output names a file. html and png need the packages of
finetune-operator[report] and are written to NAME-OF-THE-SWEEP.html or .png unless --output names a file, or - for
the standard output. An HTML report holds questions and answers of the evaluation set.

\b
Examples:
  finetune report
  finetune report .finetune/support-intents -o json | jq .best.fineTunedModel
  finetune report --format html
  finetune report --output support-intents.png
  finetune report support-intents -n team-a

{WHERE_HELP}
{SHAPE_HELP}
{EXIT_CODES_HELP}"""


@click.command(name="report", help=HELP)
@click.argument("sweep", metavar="[STATE|SWEEP]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What to make.  [default: what the file's name ends in, else text]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write it; `table` or `json` print that, as for finetune run.",
)
@click.option("--answers/--no-answers", default=True, help="Whether an HTML report shows answers of models.")
@where_options
@click.pass_context
def report_command(
    ctx: click.Context,
    sweep: str | None,
    *,
    where: Where,
    form: Format | None,
    output: str | None,
    answers: bool,
) -> None:
    """Show a sweep; changes nothing of it."""
    seams: Seams = ctx.obj
    wanted, file = _wanted(form, output)
    where, name = sweep_or_state(where, sweep, in_cluster=is_kubectl(ctx))
    snapshot, folder = asyncio.run(_read(seams, where, name))
    if wanted in ("html", "png"):
        _write(_drawn(wanted, snapshot, folder, answers=answers), file or f"{snapshot.sweep.name}.{wanted}")
    elif file in (None, STDOUT):
        print_report(snapshot, folder, output="json" if wanted == "json" else "table")
    else:
        _write(_as_text(wanted, snapshot, folder).encode(), file)


def _wanted(form: Format | None, output: str | None) -> tuple[Format, str | None]:
    """Format and file; for the sake of `-o json` two words are no files."""
    if form is None and output in ("table", "json"):
        return ("json" if output == "json" else "text"), None
    if form is not None:
        return form, output
    endings: dict[str, Format] = {
        ".html": "html",
        ".htm": "html",
        ".png": "png",
        ".json": "json",
        ".txt": "text",
    }
    ending = "" if output in (None, STDOUT) else Path(output or "").suffix.lower()
    if output not in (None, STDOUT) and ending not in endings:
        raise click.UsageError(f"what {output} is to be cannot be told from its name: give --format")
    return endings.get(ending, "text"), output


def _drawn(wanted: Format, snapshot: Snapshot, folder: Path | None, *, answers: bool) -> bytes:
    # Imported here: what draws is an extra, and text needs none of it.
    from finetune_operator.cli.report_files import report_of

    if wanted == "png":
        from finetune_operator.report.png import report_png

        return report_png(report_of(snapshot, folder, with_answers=False))
    from finetune_operator.report.html import report_html

    return report_html(report_of(snapshot, folder, with_answers=answers)).encode()


def _as_text(wanted: Format, snapshot: Snapshot, folder: Path | None) -> str:
    if wanted == "json":
        return json.dumps(sweep_as_json(snapshot, folder), indent=2) + "\n"
    console = Console(file=io.StringIO(), width=160, color_system=None)
    with console.capture() as capture:
        _print_table(console, snapshot, folder)
    return capture.get()


def _write(content: bytes, file: str | None) -> None:
    from finetune_operator.cli.report_files import write_report

    if file is None or file == STDOUT:
        sys.stdout.buffer.write(content)
        return
    write_report(content, Path(file))
    click.echo(f"Wrote {file} ({-(-len(content) // 1000)} kB).", err=True)


async def _read(seams: Seams, where: Where, name: str | None) -> tuple[Snapshot, Path | None]:
    async with reader_of(where) as reader:
        sweep, trials = await read_chosen(reader, name)
        return Snapshot(sweep, trials, seams.clock()), reader.state_of(sweep)


def print_report(snapshot: Snapshot, folder: Path | None, *, output: Literal["table", "json"]) -> None:
    """Print all there is to say about a sweep."""
    if output == "json":
        click.echo(json.dumps(sweep_as_json(snapshot, folder), indent=2))
        return
    _print_table(output_console(), snapshot, folder)


def _print_table(console: Console, snapshot: Snapshot, folder: Path | None) -> None:
    console.print(trial_table(snapshot))
    console.print(summary(snapshot, folder), soft_wrap=True)
