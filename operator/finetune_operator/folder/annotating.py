"""What a person writes on a trial of a state folder while nobody works in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.files import FolderLock
from finetune_operator.folder.shelf import Shelf, path_in
from finetune_operator.resources import FinetuneTrial


def read_trial(state: Path, name: str) -> FinetuneTrial:
    """A trial of a state folder.

    Raises:
        StateFolderError: There is none of this name, or its file cannot be used.
    """
    path = path_in(state / "trials")(name)
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in (state / "trials").glob("*.yaml"))) or "none"
        raise StateFolderError(f"there is no trial {name} in {state}; trials: {known}")
    return Shelf(FinetuneTrial, path_in(state / "trials")).load(path)


def annotate_trial(state: Path, name: str, annotations: Mapping[str, str]) -> None:
    """Add annotations to a trial.

    Raises:
        StateFolderInUse: Another process works in the folder.
        StateFolderError: There is no such trial, or its file cannot be used.
    """
    read_trial(state, name)
    lock = FolderLock.acquire(state)
    try:
        shelf = Shelf(FinetuneTrial, path_in(state / "trials"))
        trial = shelf.load(path_in(state / "trials")(name))
        merged = {**(trial.metadata.annotations or {}), **annotations}
        shelf.replace(trial, metadata=trial.metadata.model_copy(update={"annotations": merged}))
    finally:
        lock.release()
