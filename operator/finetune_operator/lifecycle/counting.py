"""When a sweep's status is worth a write."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.decisions import CancelTrial, CreateTrial, Decision, MeasureBaseline
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, SweepStatus, TrialPhase
from finetune_operator.resources.sweep import TrialCounts

COUNTS_WITHIN_S = 10.0
LONGEST_COUNTS_S = 30.0
"""So long where the numbers of 40 other sweeps wait, too: then it is the API server that is to be spared."""
BEST_WITHIN_S = 1.0
_MAY_FOLLOW = (CreateTrial, CancelTrial, MeasureBaseline)
"""Actions that a status may be written after: the objects that they changed tell of them."""


def with_unwritten(context: Context, key: Key, sweep: FinetuneSweep) -> FinetuneSweep:
    """The sweep as it will be written: how many trials there were, and their cost, outlives those that are deleted."""
    uid, status = context.unwritten.get(key, (None, sweep.status))
    if uid != sweep.metadata.uid:
        return sweep
    known = sweep.status.model_copy(
        update={"last_index": max(status.last_index, sweep.status.last_index), "cost": status.cost}
    )
    return sweep.model_copy(update={"status": known})


def status_may_wait_s(
    context: Context, key: Key, sweep: FinetuneSweep, decision: Decision, trials: Sequence[FinetuneTrial]
) -> float:
    """For how long a status may wait in which only numbers are new.

    A trial that ends is followed by one that is created, and trains in the next seconds: one write tells all of it. A
    new best trial is told sooner, and a phase or a condition at once, or as soon as the trials that were launched with
    it are at work.

    Args:
        context: The reconcilers' hands.
        key: The sweep's.
        sweep: As it was read.
        decision: What was decided, and carried out.
        trials: Those that it was decided on.
    """
    others = len(context.counts_due) - (key in context.counts_due)
    numbers_s = min(LONGEST_COUNTS_S, COUNTS_WITHIN_S + others / 2)
    allowed_s = _allowed_s(
        sweep, decision, trials, numbers_s, _launching_s(context, key, sweep, decision, trials)
    )
    context.unwritten[key] = (sweep.metadata.uid, decision.status)
    if allowed_s <= 0:
        context.counts_due.pop(key, None)
        return 0.0
    now = context.monotonic()
    due = context.counts_due[key] = min(context.counts_due.get(key, now + allowed_s), now + allowed_s)
    if due <= now:
        del context.counts_due[key]
    return due - now


def forget_numbers(context: Context, key: Key) -> None:
    """Nothing of a sweep waits to be written any more."""
    context.counts_due.pop(key, None)
    context.unwritten.pop(key, None)


def _allowed_s(
    sweep: FinetuneSweep,
    decision: Decision,
    trials: Sequence[FinetuneTrial],
    numbers_s: float,
    launching_s: float,
) -> float:
    known, new = sweep.status, decision.status
    if new == known or any(not isinstance(action, _MAY_FOLLOW) for action in decision.actions):
        return 0.0
    if any(trial.deleting for trial in trials):
        return 0.0  # its index is in nobody's memory but the status' once it is gone
    if _without_numbers(known) == _without_numbers(new):
        # What counts against a budget must not be lost with a trial that is deleted while no operator runs.
        is_bounded = sweep.spec.limits.budget is not None and known.cost != new.cost
        return BEST_WITHIN_S if is_bounded else numbers_s
    return BEST_WITHIN_S if _without_best(known) == _without_best(new) else launching_s


def _launching_s(
    context: Context, key: Key, sweep: FinetuneSweep, decision: Decision, trials: Sequence[FinetuneTrial]
) -> float:
    """For how long trials that were just launched may be about to be at work; 0 where none is."""
    launches = context.launches.get(key)
    creates = any(isinstance(action, CreateTrial) for action in decision.actions)
    pending = any(trial.phase is TrialPhase.PENDING for trial in trials)
    if launches is None or not (creates or pending):
        return 0.0
    if sweep.spec.limits.budget is not None:
        return 0.0  # in which currency it is reckoned is in nobody's memory but the status'
    return max(0.0, launches.launched_at + context.launched_within_s - context.monotonic())


def _without_numbers(status: SweepStatus) -> SweepStatus:
    """The status without what its trials say, too: how many there are, what they cost, the names of their uploads."""
    conditions = tuple(each.model_copy(update={"message": ""}) for each in status.conditions)
    moving = {"trials": TrialCounts(), "last_index": -1, "cost": None, "spent": None, "data_scopes": ()}
    return status.model_copy(update={**moving, "conditions": conditions})


def _without_best(status: SweepStatus) -> SweepStatus:
    return _without_numbers(status).model_copy(update={"best": None, "best_score": None, "baselines": ()})
