"""When a sweep's status is worth a write."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.decisions import CancelTrial, CreateTrial, Decision, MeasureBaseline
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneTrial, SweepStatus
from finetune_operator.resources.sweep import TrialCounts

COUNTS_WITHIN_S = 10.0
LONGEST_COUNTS_S = 30.0
"""So long where the numbers of 40 other sweeps wait, too: then it is the API server that is to be spared."""
BEST_WITHIN_S = 1.0
_MAY_FOLLOW = (CreateTrial, CancelTrial, MeasureBaseline)
"""Actions that a status may be written after: the objects that they changed tell of them."""


def status_may_wait_s(
    context: Context, key: Key, known: SweepStatus, decision: Decision, trials: Sequence[FinetuneTrial]
) -> float:
    """For how long a status may wait in which only numbers are new.

    A trial that ends is followed by one that is created, and trains in the next seconds: one write tells all of it. A
    new best trial is told sooner, and a phase or a condition at once.

    Args:
        context: The reconcilers' hands.
        key: The sweep's.
        known: The status as it is written.
        decision: What was decided, and carried out.
        trials: Those that it was decided on.
    """
    others = len(context.counts_due) - (key in context.counts_due)
    numbers_s = min(LONGEST_COUNTS_S, COUNTS_WITHIN_S + others / 2)
    allowed_s = _allowed_s(known, decision, trials, numbers_s)
    if allowed_s <= 0:
        context.counts_due.pop(key, None)
        return 0.0
    now = context.monotonic()
    due = context.counts_due[key] = min(context.counts_due.get(key, now + allowed_s), now + allowed_s)
    if due <= now:
        del context.counts_due[key]
    return due - now


def _allowed_s(
    known: SweepStatus, decision: Decision, trials: Sequence[FinetuneTrial], numbers_s: float
) -> float:
    new = decision.status
    if new == known or any(not isinstance(action, _MAY_FOLLOW) for action in decision.actions):
        return 0.0
    if any(trial.deleting for trial in trials):
        return 0.0  # its index is in nobody's memory but the status' once it is gone
    if _without_numbers(known) == _without_numbers(new):
        return numbers_s
    return BEST_WITHIN_S if _without_best(known) == _without_best(new) else 0.0


def _without_numbers(status: SweepStatus) -> SweepStatus:
    """The status without what its trials say, too: how many there are, what they cost, the names of their uploads."""
    conditions = tuple(each.model_copy(update={"message": ""}) for each in status.conditions)
    moving = {"trials": TrialCounts(), "last_index": -1, "cost": None, "spent": None, "data_scopes": ()}
    return status.model_copy(update={**moving, "conditions": conditions})


def _without_best(status: SweepStatus) -> SweepStatus:
    return _without_numbers(status).model_copy(update={"best": None, "best_score": None, "baselines": ()})
