"""Evaluations that go on longer after their sweep's deadline than they may."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from finetune_operator.decisions.actions import CancelTrial
from finetune_operator.decisions.stopping import EVALUATION_TIMED_OUT, evaluation_may_take
from finetune_operator.resources import FinetuneTrial, TrialPhase


def overdue(
    active: Sequence[FinetuneTrial], deadline: datetime | None, now: datetime
) -> tuple[CancelTrial, ...]:
    """The cancellations of those evaluations."""
    message = (
        "the sweep ended (limits.maxDuration), and the evaluation did not end within {hours:g} h after it"
    )
    return tuple(
        CancelTrial(
            trial.name,
            EVALUATION_TIMED_OUT,
            message.format(hours=evaluation_may_take(trial) / timedelta(hours=1)),
        )
        for trial in active
        if (due := evaluation_ends(trial, deadline)) is not None and due <= now
    )


def evaluation_ends(trial: FinetuneTrial, deadline: datetime | None) -> datetime | None:
    """When a trial that is evaluated must end for its sweep's deadline; None where nothing is left to say of it."""
    cancel = trial.status.cancel
    told = cancel is not None and cancel.reason == EVALUATION_TIMED_OUT
    if deadline is None or told or trial.phase is not TrialPhase.EVALUATING:
        return None
    return deadline + evaluation_may_take(trial)
