"""`finetune resolve`: say what became of a create call of which nobody else can tell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from finetune_operator.cli.exits import EXIT_CODES_HELP
from finetune_operator.lifecycle.resolution import ANNOTATION, annotation_for, open_question
from finetune_operator.resources import FinetuneTrial

HELP = f"""Say what became of a trial's create call, where neither the operator nor its provider can.

A trial is Stalled with reason CreateOutcomeUnknown where a job may have been bought or not: it is never bought
again on a guess. Look at the provider's console for the trial's key, then give the ANSWER. Without one, what is
known is shown.

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

{EXIT_CODES_HELP}"""


@click.command(name="resolve", help=HELP)
@click.argument("trial")
@click.argument("answer", required=False)
@click.option("-n", "--namespace", default="default", show_default=True, help="The trial's namespace.")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A kubeconfig."
)
@click.option("--context", "kube_context", help="A context of the kubeconfig, instead of its current one.")
@click.option(
    "--state",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A state folder of finetune run, instead of a cluster.",
)
def resolve_command(
    *,
    trial: str,
    answer: str | None,
    namespace: str,
    kubeconfig: Path | None,
    kube_context: str | None,
    state: Path | None,
) -> None:
    """Answer for a stalled trial."""
    if state is not None:
        _in_folder(state, trial, answer)
    else:
        asyncio.run(_in_cluster(kubeconfig, kube_context, namespace, name=trial, answer=answer))


def _in_folder(state: Path, name: str, answer: str | None) -> None:
    from finetune_operator.folder.annotating import annotate_trial, read_trial

    value = _ask(read_trial(state, name), answer)
    if value is not None:
        annotate_trial(state, name, {ANNOTATION: value})
        click.echo(f"{name}: {value}. Run `finetune run` again: it goes on with that.")


async def _in_cluster(
    kubeconfig: Path | None, kube_context: str | None, namespace: str, *, name: str, answer: str | None
) -> None:
    from finetune_operator.cluster.access import ClusterAccess
    from finetune_operator.cluster.client import TRIALS, KubeClient
    from finetune_operator.resources import parse_resource

    client = await KubeClient.connect(ClusterAccess(kubeconfig=kubeconfig, context=kube_context))
    try:
        trial = parse_resource(FinetuneTrial, await client.get(TRIALS, namespace, name))
        value = _ask(trial, answer)
        if value is not None:
            version = trial.metadata.resource_version  # what was looked at, and nothing that came since
            body = {"metadata": {"resourceVersion": version, "annotations": {ANNOTATION: value}}}
            await client.patch(TRIALS, namespace, name, body=body)
            click.echo(f"{name}: {value}. The operator goes on with that.")
    finally:
        await client.close()


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
