"""Trials by name, in messages that stay short."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.resources import FinetuneTrial

NAMED_AT_MOST = 5


def counted(trials: Sequence[FinetuneTrial]) -> str:
    """How many trials, and the names of the first few: "2 trials (s-3, s-4)"."""
    return f"{len(trials)} trial{'' if len(trials) == 1 else 's'} ({names(trials)})"


def names(trials: Sequence[FinetuneTrial]) -> str:
    """The names of the first few trials, and how many more there are."""
    shown = [trial.name for trial in trials[:NAMED_AT_MOST]]
    more = len(trials) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def named(trials: Sequence[FinetuneTrial], one: str, many: str) -> str:
    """A sentence about trials, with their names: "2 trials that still go on are cancelled: s-3, s-4"."""
    return f"{len(trials)} {f'trial {one}' if len(trials) == 1 else f'trials {many}'}: {names(trials)}"
