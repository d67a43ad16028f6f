"""Sweeps of this machine: one state folder, or a folder that holds several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetune_operator.cli.reader import SweepAndTrials, no_such_sweep, no_such_trial
from finetune_operator.folder import StateFolderError, read_state
from finetune_operator.folder.annotating import annotate_trial, read_trial
from finetune_operator.folder.opening import SWEEP_FILE
from finetune_operator.resources import FinetuneSweep, FinetuneTrial


class FolderReader:
    """Reads what `finetune run` writes, while it does or later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._states: dict[str, Path] = {}

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """A file that cannot be used is an error at once."""
        return ()

    async def sweeps(self) -> tuple[FinetuneSweep, ...]:
        """All sweeps, by name."""
        found = [(read_state(state)[0], state) for state in self._state_folders()]
        self._states = {sweep.name: state for sweep, state in found}
        return tuple(sorted((sweep for sweep, _ in found), key=lambda sweep: sweep.name))

    async def sweep(self, name: str) -> SweepAndTrials:
        """A sweep and its trials, as they are now."""
        if name not in self._states:
            await self.sweeps()
        if name not in self._states:
            raise no_such_sweep(name, tuple(self._states), self.place)
        return read_state(self._states[name])

    def state_of(self, sweep: FinetuneSweep) -> Path | None:
        """The sweep's state folder."""
        return self._states.get(sweep.name)

    async def trial(self, name: str) -> FinetuneTrial:
        """One trial."""
        return read_trial(self._state_with(name), name)

    async def annotate(self, trial: FinetuneTrial, annotations: Mapping[str, str]) -> str:
        """Add annotations to a trial, while nobody works in its folder."""
        annotate_trial(self._state_with(trial.name), trial.name, annotations)
        return "Run `finetune run` again: it goes on with that."

    async def close(self) -> None:
        """Nothing is open."""

    def _state_with(self, trial: str) -> Path:
        """The state folder that holds a trial."""
        known = {
            path.stem: state for state in self._state_folders() for path in (state / "trials").glob("*.yaml")
        }
        if trial not in known:
            raise no_such_trial(trial, sorted(known), self.place)
        return known[trial]

    def _state_folders(self) -> list[Path]:
        if (self._folder / SWEEP_FILE).is_file():
            return [self._folder]
        found = sorted(path.parent for path in self._folder.glob(f"*/{SWEEP_FILE}"))
        if not found:
            raise StateFolderError(f"{self._folder} holds no sweep: `finetune run` makes a state folder")
        return found
