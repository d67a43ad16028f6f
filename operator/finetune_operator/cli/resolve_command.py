"""`finetune resolve`: say what became of a create call of which nobody else can tell."""

from __future__ import annotations

import asyncio

import click

from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.cli.where import WHERE_HELP, Where, reader_of, where_options
from finetune_operator.lifecycle.resolution import ANNOTATION, annotation_for, open_question
from finetune_operator.resources import FinetuneTrial

HELP = f"""Say what became of a trial's create call, where neither the operator nor its provider can.

A trial is Stalled with reason CreateOutcomeUnknown where a job may have been bought or not: it is never bought
again on a guess. Look at the provider's console for the trial's key, then give the ANSWER. Without one, what is
known is shown. Where the reason is JobNotShown, bring the right key back, or
answer likewise.

\b
ANSWER:
  retry      there is no job: buy one
  adopt=ID   there is one, with this id
  abandon    give the trial up

The answer is written as an annotation of the trial, for this attempt alone; a manifest in Git can do the same.

\b
Examples:
  finetune resolve support-intents-3 -n team-a
  finetune resolve support-intents-3 adopt=ftjob-abc123 -n team-a
  finetune resolve support-intents-3 retry --state .finetune/support-intents    (then finetune run again)

{WHERE_HELP}
{EXIT_CODES_HELP}"""


@click.command(name="resolve", help=HELP)
@click.argument("trial")
@click.argument("answer", required=False)
@where_options
def resolve_command(trial: str, answer: str | None, *, where: Where) -> None:
    """Answer for a stalled trial."""
    asyncio.run(_resolve(where, trial, answer))


async def _resolve(where: Where, name: str, answer: str | None) -> None:
    async with reader_of(where) as reader:
        trial = await reader.trial(name)
        value = _ask(trial, answer)
        if value is not None:
            who = await reader.annotate(trial, {ANNOTATION: value})
            click.echo(f"{name}: {value}. {who}")


def _ask(trial: FinetuneTrial, answer: str | None) -> str | None:
    """The annotation's value; None where only a look was asked for, which is printed."""
    if answer is not None:
        try:
            return annotation_for(trial, answer)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    entry = trial.status.create
    click.echo(f"{trial.name} is {trial.phase}: {trial.status.message or 'nothing is known of it yet'}")
    if entry is not None:
        click.echo(f"Key of attempt {entry.attempt}: {entry.key}")
    if not open_question(trial):
        click.echo("There is nothing to resolve.")
    return None
