"""`finetune run`: a sweep on this machine, without a cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from finetune_operator.cli.display import Display, LineDisplay, LiveDisplay
from finetune_operator.cli.exits import EXIT_CODES_HELP, ExitCode
from finetune_operator.cli.json_output import SHAPE_HELP
from finetune_operator.cli.manifests import load_manifests
from finetune_operator.cli.options import FILES, OUTPUT, STATE_FOLDERS
from finetune_operator.cli.report_command import print_report
from finetune_operator.cli.seams import Seams
from finetune_operator.cli.session import Ending, drive
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.folder import FolderStore, read_documents
from finetune_operator.resources import TrialPhase

STATE_HELP = "Folder that holds the sweep's state.  [default: .finetune/NAME-OF-THE-SWEEP]"

HELP = f"""Run a sweep on this machine, without a cluster.

FILE holds the same manifests that a cluster takes: one FinetuneSweep, its FinetuneProviders, and the
ConfigMaps and Secrets they name; - is the standard input. Secrets stay in memory.

The state folder remembers every trial. The same command again goes on where the last one ended, buys
nothing twice, and takes up edits of limits, earlyStopping, confirm, suspend, keepModels, keepData,
deletionPolicy and output. Ctrl-C stops in order; a second Ctrl-C quits at once, and even that loses nothing.

\b
Examples:
  finetune run sweep.yaml
  finetune run sweep.yaml provider.yaml --state /data/support-intents
  kubectl create secret generic openai --from-literal=OPENAI_API_KEY="$KEY" \\
    --dry-run=client -o yaml | finetune run sweep.yaml -
  finetune run sweep.yaml -o json | jq .best.fineTunedModel

{SHAPE_HELP}
{EXIT_CODES_HELP}"""


@click.command(name="run", help=HELP)
@FILES
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help=STATE_HELP)
@OUTPUT
@click.pass_obj
def run_command(
    seams: Seams, files: tuple[str, ...], *, state: Path | None, output: Literal["table", "json"]
) -> None:
    """Run a sweep to its end; the exit code says how it ended."""
    manifests = load_manifests(files)
    folder = state or STATE_FOLDERS / read_documents(manifests).sweep.name
    with FolderStore.open(folder, manifests, clock=seams.clock) as store:
        display = _display(output)
        try:
            ending, snapshot = asyncio.run(_drive_to_the_end(store, display, seams))
        finally:
            display.close()
    print_report(snapshot, folder, output=output)
    if advice := _advice(ending, snapshot, folder):
        click.echo(advice, err=True)
    click.get_current_context().exit(_exit_code(ending, snapshot))


def _display(output: Literal["table", "json"]) -> Display:
    console = Console()
    if output == "json":
        return LineDisplay(lambda line: click.echo(line, err=True))
    return LiveDisplay(console) if console.is_terminal else LineDisplay(click.echo)


async def _drive_to_the_end(store: FolderStore, display: Display, seams: Seams) -> tuple[Ending, Snapshot]:
    ending = await drive(store, display, seams)
    return ending, Snapshot(store.sweep, await store.list_trials(store.sweep_key), seams.clock())


def _exit_code(ending: Ending, snapshot: Snapshot) -> ExitCode:
    if ending is Ending.FINISHED:
        failed = snapshot.sweep.status.phase == "Failed"
        return ExitCode.SWEEP_FAILED if failed else ExitCode.SUCCEEDED
    return {
        Ending.REFUSED: ExitCode.REFUSED,
        Ending.INTERRUPTED: ExitCode.INTERRUPTED,
    }.get(ending, ExitCode.NEEDS_A_PERSON)


def _advice(ending: Ending, snapshot: Snapshot, folder: Path) -> str:
    """What a person should do now; nothing where the sweep finished."""
    if ending is Ending.INTERRUPTED:
        return "Interrupted: run the same command again to go on."
    if ending is Ending.REFUSED:
        return f"The manifest was refused: {snapshot.reason}\n`finetune plan` lists every problem by itself."
    if ending is Ending.SUSPENDED:
        return "The sweep is suspended: set spec.suspend to false and run the same command again."
    if ending is Ending.FINISHED:
        return ""
    stalled = [trial.name for trial in snapshot.trials if trial.phase is TrialPhase.STALLED]
    where = "".join(f"\n  {folder / 'trials' / name}.yaml" for name in stalled)
    files = (
        f"; an annotation of a trial stands in its file, under metadata.annotations:{where}" if where else ""
    )
    return f"The sweep needs a person: {snapshot.reason}\nThen run the same command again{files}"
