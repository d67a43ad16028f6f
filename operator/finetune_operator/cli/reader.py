"""Looking at sweeps wherever they are: in a state folder or in a cluster. Nothing above this knows which."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from finetune_operator.errors import SweepError
from finetune_operator.resources import FinetuneSweep, FinetuneTrial

SweepAndTrials = tuple[FinetuneSweep, tuple[FinetuneTrial, ...]]

_MOST_NAMES = 5


class NoSuchSweep(SweepError):
    """There is no sweep of this name; the message names those that may be meant."""


class NoSuchTrial(SweepError):
    """There is no trial of this name; the message names those that may be meant."""


class Unreachable(SweepError):
    """Where the sweeps are cannot be asked now; asking again may help."""


class NotAllowed(SweepError):
    """A right is missing; the message says which."""


class SweepReader(Protocol):
    """Reads sweeps and trials; `annotate` alone changes something.

    Any method may raise Unreachable, NotAllowed or another SweepError.
    """

    @property
    def place(self) -> str:
        """Where it looks, in words, such as `namespace team-a`."""
        ...

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What the last `sweeps` left out since this version does not know it so, in words."""
        ...

    async def sweeps(self) -> tuple[FinetuneSweep, ...]:
        """All sweeps, by namespace and name."""
        ...

    async def sweep(self, name: str) -> SweepAndTrials:
        """A sweep and its trials in order of their index.

        Raises:
            NoSuchSweep: There is none of this name.
        """
        ...

    def state_of(self, sweep: FinetuneSweep) -> Path | None:
        """The sweep's state folder; None where there is none."""
        ...

    async def trial(self, name: str) -> FinetuneTrial:
        """One trial.

        Raises:
            NoSuchTrial: There is none of this name.
        """
        ...

    async def annotate(self, trial: FinetuneTrial, annotations: Mapping[str, str]) -> str:
        """Add annotations to a trial as it was read, and not to one that changed since.

        Returns:
            Who goes on with that, as a sentence.
        """
        ...

    async def close(self) -> None:
        """Give back what is open."""
        ...


def no_such_sweep(name: str, known: Sequence[str], place: str) -> NoSuchSweep:
    """The error for a name that no sweep has.

    Args:
        name: What was asked for.
        known: The names that there are.
        place: Where was looked.
    """
    return NoSuchSweep(f"there is no sweep {name} in {place}; {_meant(name, known)}")


def no_such_trial(name: str, known: Sequence[str], place: str) -> NoSuchTrial:
    """The error for a name that no trial has.

    Args:
        name: What was asked for.
        known: The names that there are.
        place: Where was looked.
    """
    return NoSuchTrial(f"there is no trial {name} in {place}; {_meant(name, known)}")


def _meant(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=_MOST_NAMES, cutoff=0.5)
    if near:
        return f"near it: {', '.join(sorted(near))}"
    return f"there are: {_some(sorted(known))}" if known else "there is none at all"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}"


async def read_chosen(reader: SweepReader, name: str | None) -> SweepAndTrials:
    """The sweep of a name, or the only one there is.

    Raises:
        NoSuchSweep: There is none of this name, or none was named and there is not exactly one.
    """
    if name is not None:
        return await reader.sweep(name)
    names = [sweep.name for sweep in await reader.sweeps()]
    if not names:
        raise NoSuchSweep(f"there is no sweep in {reader.place}")
    if len(names) > 1:
        raise NoSuchSweep(f"there are several sweeps in {reader.place}: name one of {_some(names)}")
    return await reader.sweep(names[0])
