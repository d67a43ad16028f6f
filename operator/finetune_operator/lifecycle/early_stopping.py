"""What the median rule needs of a trial while it trains, and what becomes of one that it stops."""

from __future__ import annotations

from finetune_operator.decisions import MEDIAN_STOPPED
from finetune_operator.lifecycle.context import Context
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.trial import CancelRequest, SeriesPoint


def is_wanted(sweep: FinetuneSweep) -> bool:
    """Whether the sweep's running trials are judged by their metrics."""
    return sweep.spec.early_stopping is not None and sweep.spec.early_stopping.median is not None


def phase_of(cancel: CancelRequest | None) -> TrialPhase:
    """How a trial ends whose job was cancelled."""
    stopped = cancel is not None and cancel.reason == MEDIAN_STOPPED
    return TrialPhase.EARLY_STOPPED if stopped else TrialPhase.CANCELLED


async def write_metrics(context: Context, trial: FinetuneTrial, series: tuple[SeriesPoint, ...]) -> None:
    """Write down what a running job told, so that the sweep can judge it; nothing where that is known.

    Without such a sweep nobody needs it before the end, and it would be a write for each look.
    """
    if series and series[-1] not in trial.status.series:
        changed = trial.status.model_copy(update={"series": series})
        await context.store.write_trial_status(trial, changed)
