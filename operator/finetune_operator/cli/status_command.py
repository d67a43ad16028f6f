"""`finetune status`: how are the sweeps?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Literal

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from finetune_operator.cli.display import Display, LineDisplay, LiveDisplay
from finetune_operator.cli.exits import EXIT_CODES_HELP, ExitCode
from finetune_operator.cli.fitting import output_console
from finetune_operator.cli.json_output import SHAPE_HELP, sweep_as_json
from finetune_operator.cli.options import OUTPUT
from finetune_operator.cli.reader import SweepReader
from finetune_operator.cli.seams import Seams
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.sweeps_table import SHAPE_HELP as LIST_SHAPE_HELP
from finetune_operator.cli.sweeps_table import sweep_lines, sweeps_as_json, sweeps_table
from finetune_operator.cli.tables import live_view
from finetune_operator.cli.watching import watch
from finetune_operator.cli.where import SWEEP, WHERE_HELP, Where, reader_of, where_options
from finetune_operator.resources import FinetuneSweep

HELP = f"""Show the state of a sweep, or of all sweeps where none is named.

--watch shows it until it ends, over restarts of the API server, and then ends with its exit code; without
SWEEP it goes on until Ctrl-C. Where the output is no terminal, a line is written for each change.

\b
Examples:
  finetune status
  finetune status support-intents --watch
  finetune status -A --context production
  finetune status --state .finetune

{WHERE_HELP}
{SHAPE_HELP}
{LIST_SHAPE_HELP}
{EXIT_CODES_HELP}"""


@click.command(name="status", help=HELP)
@SWEEP
@click.option("-w", "--watch", "watching", is_flag=True, help="Follow it until it ends.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Sweeps of all namespaces.")
@OUTPUT
@where_options
@click.pass_obj
def status_command(
    seams: Seams, sweep: str | None, *, where: Where, watching: bool, output: Literal["table", "json"]
) -> None:
    """Show sweeps; changes nothing."""
    if sweep is not None and where.everywhere:
        raise click.UsageError("a sweep of a name is looked for in one namespace: give -n, not -A")
    if watching and output == "json":
        raise click.UsageError("--watch is for people: leave out -o json, or look again and again")
    show = _watch if watching else _show
    code = asyncio.run(show(seams, where, sweep, output=output))
    click.get_current_context().exit(code)


async def _show(seams: Seams, where: Where, name: str | None, *, output: str) -> ExitCode:
    async with reader_of(where) as reader:
        if name is None:
            sweeps = await reader.sweeps()
            _print_all(reader, sweeps, seams, everywhere=where.everywhere, output=output)
            return ExitCode.SUCCEEDED
        snapshot = Snapshot(*await reader.sweep(name), seams.clock())
        if output == "json":
            click.echo(json.dumps(sweep_as_json(snapshot, reader.state_of(snapshot.sweep)), indent=2))
        else:
            output_console().print(live_view(snapshot), soft_wrap=False)
    return ExitCode.SUCCEEDED


def _print_all(
    reader: SweepReader,
    sweeps: Sequence[FinetuneSweep],
    seams: Seams,
    *,
    everywhere: bool,
    output: str,
) -> None:
    if output == "json":
        click.echo(json.dumps(sweeps_as_json(sweeps, seams.clock()), indent=2))
    elif sweeps:
        output_console().print(sweeps_table(sweeps, seams.clock(), namespaces=everywhere))
    else:
        click.echo(f"No sweeps in {reader.place}.", err=True)
    for complaint in reader.unreadable:
        click.echo(f"Left out: {complaint}", err=True)


async def _watch(seams: Seams, where: Where, name: str | None, *, output: str) -> ExitCode:
    async with reader_of(where) as reader:
        if name is None:
            await _watch_all(reader, seams, everywhere=where.everywhere)
            return ExitCode.SUCCEEDED
        snapshot = await _watch_one(reader, name, seams)
    failed = snapshot.sweep.status.phase == "Failed"
    return ExitCode.SWEEP_FAILED if failed else ExitCode.SUCCEEDED


async def _watch_one(reader: SweepReader, name: str, seams: Seams) -> Snapshot:
    async def read() -> Snapshot:
        return Snapshot(*await reader.sweep(name), seams.clock())

    def show(snapshot: Snapshot, hint: str) -> None:
        seen.append(snapshot)
        del seen[:-1]
        display.show(snapshot, hint=hint)

    seen: list[Snapshot] = []
    console = Console()
    display: Display = LiveDisplay(console) if console.is_terminal else LineDisplay(click.echo)
    try:
        return await watch(read, show, ended=lambda snapshot: snapshot.sweep.status.finished, pace=seams.pace)
    finally:
        display.close()
        if seen and console.is_terminal:  # what was seen last stays, after Ctrl-C too
            console.print(live_view(seen[-1]))


async def _watch_all(reader: SweepReader, seams: Seams, *, everywhere: bool) -> None:
    console = Console()
    if not console.is_terminal:
        await watch(reader.sweeps, _Lines(seams), ended=lambda _: False, pace=seams.pace)
        return
    # Left where it stood last, as a person who watched a table wants it.
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def show(sweeps: Sequence[FinetuneSweep], hint: str) -> None:
            table = sweeps_table(sweeps, seams.clock(), namespaces=everywhere)
            live.update(Group(table, Text(hint, style="yellow")) if hint else table, refresh=True)

        await watch(reader.sweeps, show, ended=lambda _: False, pace=seams.pace)


class _Lines:
    """Writes what changed since the last look."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams
        self._last: Sequence[FinetuneSweep] = ()
        self._last_hint = ""

    def __call__(self, sweeps: Sequence[FinetuneSweep], hint: str) -> None:
        for line in sweep_lines(self._last, sweeps, self._seams.clock()):
            click.echo(line)
        if hint and hint != self._last_hint:
            click.echo(hint)
        self._last, self._last_hint = sweeps, hint
