"""Trials by name, in messages that stay short."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.resources import FinetuneSweep, FinetuneTrial

NAMED_AT_MOST = 5


def trial_name(sweep: FinetuneSweep, index: int) -> str:
    """What the trial of an index is called: that the name is taken is what keeps it from being made twice."""
    return f"{sweep.name}-{index}"


def counted(trials: Sequence[FinetuneTrial]) -> str:
    """How many trials, and the names of the first few: "2 trials (s-3, s-4)"."""
    return f"{len(trials)} trial{'' if len(trials) == 1 else 's'} ({names(trials)})"


def names(trials: Sequence[FinetuneTrial]) -> str:
    """The names of the first few trials, and how many more there are."""
    return some_of([trial.name for trial in trials])


def some_of(every: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(every[NAMED_AT_MOST:])
    return ", ".join(every[:NAMED_AT_MOST]) + (f" and {more} more" if more else "")


def named(trials: Sequence[FinetuneTrial], one: str, many: str) -> str:
    """A sentence about trials, with their names: "2 trials that still go on are cancelled: s-3, s-4"."""
    return f"{len(trials)} {f'trial {one}' if len(trials) == 1 else f'trials {many}'}: {names(trials)}"
