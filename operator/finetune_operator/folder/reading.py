"""Looking into a state folder without working in it: another process may be at work there."""

from __future__ import annotations

from pathlib import Path

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.opening import SWEEP_FILE, manifests_in
from finetune_operator.folder.shelf import read_file
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneSweep, FinetuneTrial


def read_state(state: Path) -> tuple[FinetuneSweep, tuple[FinetuneTrial, ...]]:
    """The sweep and its trials in order of their index, as they are now.

    No lock is needed: each file is replaced in one step.

    Raises:
        StateFolderError: There is no sweep, or a file cannot be used.
    """
    if not (state / SWEEP_FILE).is_file():
        raise StateFolderError(f"{state} holds no sweep: `finetune run` makes a state folder")
    sweep = read_file(FinetuneSweep, state / SWEEP_FILE)
    try:
        found = [_read_trial(path) for path in manifests_in(state / "trials")]
    except OSError as error:
        raise StateFolderError(f"{state} cannot be read: {error.strerror}") from error
    trials = [trial for trial in found if trial is not None]
    return sweep, tuple(sorted(trials, key=lambda trial: trial.spec.index))


def read_sweep_of(folder: Path, key: Key) -> FinetuneSweep | None:
    """Another sweep, whose state lies in a folder under the sweep's name; None where there is none.

    Raises:
        InvalidManifest: It is there, but cannot be read.
    """
    found = _state_of(folder, key)
    return None if found is None else found[0]


def read_trials_of(folder: Path, key: Key) -> tuple[FinetuneTrial, ...]:
    """The trials of such a sweep, in order of their index.

    Raises:
        InvalidManifest: One cannot be read.
    """
    found = _state_of(folder, key)
    return () if found is None else found[1]


def _state_of(folder: Path, key: Key) -> tuple[FinetuneSweep, tuple[FinetuneTrial, ...]] | None:
    state = folder / key.name
    if not (state / SWEEP_FILE).is_file():
        return None
    try:
        sweep, trials = read_state(state)
    except StateFolderError as error:
        raise InvalidManifest((Problem("", str(error)),)) from error
    return (sweep, trials) if (sweep.metadata.namespace, sweep.name) == (key.namespace, key.name) else None


def _read_trial(path: Path) -> FinetuneTrial | None:
    """The trial in a file; None where it was removed after the folder was listed."""
    try:
        return read_file(FinetuneTrial, path)
    except StateFolderError:
        if path.exists() or path.is_symlink():
            raise
        return None
