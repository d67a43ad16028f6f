"""`finetune best`: the fine-tuned model, for scripts."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import click

from finetune_operator.cli.exits import EXIT_CODES_HELP, ExitCode
from finetune_operator.cli.json_output import best_as_json
from finetune_operator.cli.options import OUTPUT, seconds
from finetune_operator.cli.reader import SweepReader, read_chosen
from finetune_operator.cli.seams import Seams
from finetune_operator.cli.watching import watch
from finetune_operator.cli.where import SWEEP, WHERE_HELP, Where, reader_of, where_options
from finetune_operator.resources import FinetuneSweep

HELP = f"""Print the id of the best fine-tuned model, alone on a line.

While the sweep goes on it is the best so far, whose model may be deleted when a better one comes; --wait waits for
the end. Where there is no model the exit code is not 0 and the standard error says why.

\b
Examples:
  finetune best support-intents
  MODEL=$(finetune best support-intents --wait 48h) || exit
  finetune best support-intents -o json | jq .hyperparameters

SWEEP may be left out where there is a single one.

{WHERE_HELP}
\b
With -o json:
  {{sweep, namespace, phase, metric, trial, candidate, provider, baseModel,
   fineTunedModel, hyperparameters, score, baseScore;
   value, cost where objective.costWeight is set; meanScore, repeats where confirm is}}

{EXIT_CODES_HELP}"""


@click.command(name="best", help=HELP)
@SWEEP
@click.option(
    "--wait",
    "wait_s",
    metavar="DURATION",
    callback=lambda context, parameter, value: None if value is None else seconds(value),
    help="Wait until the sweep has ended, but not longer than this; such as 30m or 48h.",
)
@OUTPUT
@where_options
@click.pass_obj
def best_command(
    seams: Seams,
    sweep: str | None,
    *,
    where: Where,
    wait_s: float | None,
    output: Literal["table", "json"],
) -> None:
    """Print the best model; changes nothing."""
    found = asyncio.run(_read(seams, where, sweep, wait_s=wait_s))
    missing = why_there_is_none(found)
    if missing:
        click.echo(f"Error: {missing}", err=True)
        failed = found.status.phase == "Failed"
        click.get_current_context().exit(ExitCode.SWEEP_FAILED if failed else ExitCode.NO_MODEL_YET)
    if wait_s is not None and not found.status.finished:
        click.echo(f"Error: sweep {found.name} has not ended in time: it is {found.status.phase}", err=True)
        click.get_current_context().exit(ExitCode.NO_MODEL_YET)
    best = found.status.best
    assert best is not None
    if output == "json":
        about = {"sweep": found.name, "namespace": found.metadata.namespace, "phase": found.status.phase}
        click.echo(
            json.dumps(
                about | {"metric": found.spec.objective.metric} | (best_as_json(found) or {}), indent=2
            )
        )
    else:
        click.echo(best.fine_tuned_model)


async def _read(seams: Seams, where: Where, name: str | None, *, wait_s: float | None) -> FinetuneSweep:
    async with reader_of(where) as reader:
        sweep, _ = await read_chosen(reader, name)
        if wait_s is None or sweep.status.finished:
            return sweep
        return await _wait(reader, sweep, seams, wait_s=wait_s)


async def _wait(reader: SweepReader, sweep: FinetuneSweep, seams: Seams, *, wait_s: float) -> FinetuneSweep:
    last = [sweep]

    async def read() -> FinetuneSweep:
        return (await reader.sweep(sweep.name))[0]

    try:
        async with asyncio.timeout(wait_s):
            return await watch(
                read,
                lambda seen, _: last.append(seen),
                ended=lambda seen: seen.status.finished,
                pace=seams.pace,
            )
    except TimeoutError:
        return last[-1]


def why_there_is_none(sweep: FinetuneSweep) -> str:
    """Why a sweep has no model to name; nothing where it has one."""
    best, ready = sweep.status.best, sweep.status.condition("Ready")
    if best is not None and best.fine_tuned_model:
        return ""
    if best is not None:
        return f"the model of {best.trial}, the best trial of sweep {sweep.name}, is no longer there"
    why = f": {' '.join(ready.message.split())}" if ready is not None and ready.message else ""
    yet = "" if sweep.status.finished else " yet"
    return f"sweep {sweep.name} ({sweep.status.phase or 'Pending'}) has no model{yet}{why}"
