"""Repeats: the best trials are trained again before the best is named, since a good score may be luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from finetune_operator.decisions.actions import CreateTrial
from finetune_operator.decisions.best import confirmed_groups, group_of, is_there, valued_trials
from finetune_operator.decisions.costs import CostModel, Ledger
from finetune_operator.decisions.proposing import over_budget
from finetune_operator.decisions.repeating import missing_repeats
from finetune_operator.decisions.space import point_of
from finetune_operator.decisions.stopping import CONFIRMABLE, Stop, launched
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.search import Proposal


@dataclass(frozen=True, slots=True)
class Repeats:
    """What is to be done about repeats.

    Attributes:
        creations: Those to launch now.
        held_back: Some are wanted that cannot be launched yet: the sweep is not finished.
        note: Why some will not be launched at all; "" where all will.
    """

    creations: tuple[CreateTrial, ...] = ()
    held_back: bool = False
    note: str = ""


def next_repeats(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], stop: Stop, *, costs: CostModel, ledger: Ledger
) -> Repeats:
    """The repeats to launch once the search has ended, and the trials that it launched, too."""
    wanted = missing_repeats(sweep, trials) if stop.reason in CONFIRMABLE else []
    first = launched(sweep, trials)
    left = sweep.spec.limits.max_trials - first
    if not wanted:
        return Repeats()
    if left <= 0:
        return Repeats(note="limits.maxTrials leaves no trial for further repeats (confirm)")
    active = [trial for trial in trials if not trial.terminal]
    if sweep.spec.suspend or any(trial.spec.repeat_of is None for trial in active):
        return Repeats(held_back=True)
    free = min(sweep.spec.limits.parallel_trials - len(active), left)
    committed = ledger.committed
    creations: list[CreateTrial] = []
    for index, trial in enumerate(wanted[: max(0, free)], start=first):
        point = point_of(trial)
        cost = costs.estimate(point)
        if over_budget(sweep, committed, cost, costs.currency) is not None:
            note = "limits.budget.maxCost leaves no money for further repeats (confirm)"
            return Repeats(tuple(creations), note=note)
        committed += cost or Decimal(0)
        creations.append(
            CreateTrial(index, Proposal(point, "confirmation"), cost, repeat_of=trial.spec.index)
        )
    return Repeats(tuple(creations), held_back=True)


def too_late(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], stop: Stop) -> Repeats:
    """What is to be done after `limits.maxDuration`: nothing, and who asked for repeats is told so."""
    cut_off = any(each.spec.repeat_of is not None and each.phase is TrialPhase.CANCELLED for each in trials)
    if stop.reason not in CONFIRMABLE or not (cut_off or missing_repeats(sweep, trials)):
        return Repeats()
    return Repeats(note="limits.maxDuration left no time for all repeats (confirm)")


def progress_of(trials: Sequence[FinetuneTrial]) -> str:
    """How far the repeats are, in words."""
    repeats = [trial for trial in trials if trial.spec.repeat_of is not None]
    ended = sum(trial.terminal for trial in repeats)
    return f"the best trials are trained again (confirm): {ended} of {len(repeats)} repeats launched so far have ended"


def passed_over(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], best: str) -> str:
    """That a trial scored better than the named one's mean and is not named, for want of repeats; "" where none did."""
    objective = sweep.spec.objective
    groups = confirmed_groups(objective, trials)
    named = next((groups.get(group_of(trial)) for trial in trials if trial.name == best), None)
    if named is None:
        return ""
    sign = 1.0 if objective.sense == "Maximize" else -1.0
    for trial, value in valued_trials(objective, trials):
        if group_of(trial) not in groups and is_there(trial) and sign * value > sign * named.value:
            return (
                f"trial {trial.name} scored {trial.status.score:.4g}, but no repeat of it has a score, and of trials "
                f"with repeats {best} is the best (confirm)"
            )
    return ""
