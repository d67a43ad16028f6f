"""Opening a state folder: everything is checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.folder.documents import Documents
from finetune_operator.folder.edits import check_provider_edit, edited_spec
from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.files import FolderLock, file_name, make_folder, remove_leftovers
from finetune_operator.folder.outputs import Outputs
from finetune_operator.folder.shelf import Clock, Shelf, path_in
from finetune_operator.resources import (
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    ObjectMeta,
    SweepStatus,
)
from finetune_operator.resources.provider import ProviderStatus

SWEEP_FILE = "sweep.yaml"
_FOLDERS = ("trials", "providers", "output", "work")
_OWN_ENTRIES = {SWEEP_FILE, "events.jsonl", *_FOLDERS}


@dataclass(frozen=True, slots=True)
class Contents:
    """An open state folder.

    Attributes:
        state: The folder.
        lock: Held while it is open.
        documents: What a person gave this time.
        sweeps: The one sweep.
        trials: Its trials.
        providers: The providers.
        outputs: What applications read.
    """

    state: Path
    lock: FolderLock
    documents: Documents
    sweeps: Shelf[FinetuneSweep]
    trials: Shelf[FinetuneTrial]
    providers: Shelf[FinetuneProvider]
    outputs: Outputs


def open_contents(state: Path, documents: Documents, *, clock: Clock) -> Contents:
    """Open a state folder, or begin one.

    Raises:
        InvalidManifest: The documents do not fit the sweep that the folder holds.
        StateFolderInUse: Another process works in the folder.
        StateFolderError: The folder cannot be used.
    """
    try:
        _refuse_foreign_folder(state)
        make_folder(state)
        lock = FolderLock.acquire(state)
    except OSError as error:
        raise StateFolderError(f"{state} cannot be used as a state folder: {error.strerror}") from error
    contents = Contents(
        state=state,
        lock=lock,
        documents=documents,
        sweeps=Shelf(FinetuneSweep, lambda name: state / SWEEP_FILE),
        trials=Shelf(FinetuneTrial, path_in(state / "trials")),
        providers=Shelf(FinetuneProvider, path_in(state / "providers")),
        outputs=Outputs(state / "output"),
    )
    try:
        _fill(contents, clock)
    except OSError as error:
        lock.release()
        raise StateFolderError(f"{state} cannot be used: {error.strerror} ({error.filename})") from error
    except BaseException:
        lock.release()
        raise
    return contents


def _refuse_foreign_folder(state: Path) -> None:
    """A folder that holds other things is not begun in: a person's own `sweep.yaml` may lie there."""
    if not state.is_dir() or (state / SWEEP_FILE).exists():
        return
    foreign = sorted(
        each.name
        for each in state.iterdir()
        if each.name not in _OWN_ENTRIES and not each.name.startswith(".")
    )
    if foreign:
        message = f"{state} holds other files ({foreign[0]}): give a folder of its own with --state"
        raise StateFolderError(message)


def _fill(contents: Contents, clock: Clock) -> None:
    state = contents.state
    for folder in (state, *(state / name for name in _FOLDERS)):
        make_folder(folder)
        if folder.name != "work":
            remove_leftovers(folder)
    for path in manifests_in(state / "trials"):
        _named_as_file(contents.trials.load(path), path)
    for path in manifests_in(state / "providers"):
        _named_as_file(contents.providers.load(path), path)
    file_name(contents.documents.sweep.name)
    if (state / SWEEP_FILE).exists():
        _continue(contents)
    else:
        _begin(contents, clock)
    for provider in contents.documents.providers.values():
        _keep_provider(contents.providers, provider, clock)


def manifests_in(folder: Path) -> list[Path]:
    """The files of a folder that only this store writes to; whatever else lies there is an error."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if path.suffix != ".yaml" or (path.exists() and not path.is_file()):
            raise StateFolderError(f"{path} does not belong here: move it away. Nothing was changed")
    return paths


def _named_as_file(resource: FinetuneTrial | FinetuneProvider, path: Path) -> None:
    if path.name != f"{resource.name}.yaml":
        message = f"{path} holds {resource.kind} {resource.name}: bring back the file's name or move it away"
        raise StateFolderError(message)


def _begin(contents: Contents, clock: Clock) -> None:
    orphan = next(iter(contents.trials.all()), None)
    if orphan is not None:
        missing = contents.state / SWEEP_FILE
        message = f"{missing} is missing, but its trials are here ({orphan.name}): bring it back from a copy"
        raise StateFolderError(message)
    sweep = contents.documents.sweep
    fresh = {"metadata": _given_metadata(sweep), "status": SweepStatus()}
    contents.sweeps.add(sweep.model_copy(update=fresh), clock=clock)


def _continue(contents: Contents) -> None:
    stored, given = contents.sweeps.load(contents.state / SWEEP_FILE), contents.documents.sweep
    _check_identity(stored, given, state=contents.state)
    if stored.status.last_index >= 0 and not contents.trials.all():
        raise StateFolderError(
            f"{contents.state / 'trials'} is empty, but the sweep has had {stored.status.last_index + 1} trials, which "
            "would be bought again: bring the files back from a copy, or begin anew in another folder with --state"
        )
    for trial in contents.trials.all():
        if not trial.belongs_to(stored):
            message = (
                f"{contents.state / 'trials' / file_name(trial.name)} belongs to another sweep: move it away"
            )
            raise StateFolderError(message)
    spec = edited_spec(stored.spec, given.spec)
    changes = {"labels": given.metadata.labels, "annotations": given.metadata.annotations}
    metadata = stored.metadata.model_copy(update=changes)
    contents.sweeps.replace(stored, bump=spec != stored.spec, spec=spec, metadata=metadata)


def _check_identity(stored: FinetuneSweep, given: FinetuneSweep, *, state: Path) -> None:
    for name, was, now in (
        ("name", stored.name, given.name),
        ("namespace", stored.metadata.namespace, given.metadata.namespace),
    ):
        if was != now:
            message = (
                f"is {now}, but {state} holds a sweep whose {name} is {was}: it is immutable once the sweep "
                "exists; use another --state folder for another sweep"
            )
            raise InvalidManifest((Problem(f"metadata.{name}", message),))


def _keep_provider(shelf: Shelf[FinetuneProvider], given: FinetuneProvider, clock: Clock) -> None:
    stored = shelf.get(given.name)
    if stored is None:
        fresh = {"metadata": _given_metadata(given), "status": ProviderStatus()}
        shelf.add(given.model_copy(update=fresh), clock=clock)
        return
    check_provider_edit(given.name, stored.spec, given.spec)
    shelf.replace(stored, bump=given.spec != stored.spec, spec=given.spec)


def _given_metadata(resource: FinetuneSweep | FinetuneProvider) -> ObjectMeta:
    """The metadata that a person may give; the rest is the store's to give."""
    given = resource.metadata
    return ObjectMeta(
        name=given.name, namespace=given.namespace, labels=given.labels, annotations=given.annotations
    )
