"""What the median rule needs of a trial while it trains, and what becomes of one that it stops."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.decisions import MEDIAN_STOPPED
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.transitions import key_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.trial import CancelRequest, SeriesPoint


def is_wanted(sweep: FinetuneSweep) -> bool:
    """Whether the sweep's running trials are judged by their metrics."""
    return sweep.spec.early_stopping is not None and sweep.spec.early_stopping.median is not None


def phase_of(cancel: CancelRequest | None) -> TrialPhase:
    """How a trial ends whose job was cancelled."""
    stopped = cancel is not None and cancel.reason == MEDIAN_STOPPED
    return TrialPhase.EARLY_STOPPED if stopped else TrialPhase.CANCELLED


def have_judged(context: Context, sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> None:
    """Have those jobs' metrics read, too, that run already when a person asks for the rule."""
    for trial in trials if is_wanted(sweep) else ():
        entry, key = trial.status.create, key_of(trial)
        if trial.phase is not TrialPhase.TRAINING or entry is None or entry.external_id is None:
            continue
        account = context.accounts.last_known(key.namespace, trial.spec.provider_ref.name)
        if account is not None and not account.watcher.tells(entry.external_id):
            context.enqueue(key)


async def write_metrics(context: Context, trial: FinetuneTrial, series: tuple[SeriesPoint, ...]) -> None:
    """Write down what a running job told, so that the sweep can judge it; nothing where that is known.

    Without such a sweep nobody needs it before the end, and it would be a write for each look.
    """
    if series and series[-1] not in trial.status.series:
        changed = trial.status.model_copy(update={"series": series})
        await context.store.write_trial_status(trial, changed)
