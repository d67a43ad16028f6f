"""Looking into a state folder without working in it: another process may be at work there."""

from __future__ import annotations

from pathlib import Path

from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.opening import SWEEP_FILE, manifests_in
from finetune_operator.folder.shelf import read_file
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


def _read_trial(path: Path) -> FinetuneTrial | None:
    """The trial in a file; None where it was removed after the folder was listed."""
    try:
        return read_file(FinetuneTrial, path)
    except StateFolderError:
        if path.exists() or path.is_symlink():
            raise
        return None
