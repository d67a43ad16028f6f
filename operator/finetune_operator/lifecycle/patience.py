"""For how long a model may take to answer: none is waited for, and paid by the hour, for ever."""

from __future__ import annotations

from datetime import timedelta

from finetune_operator.decisions.stopping import EVALUATION_TIMED_OUT, evaluation_may_take
from finetune_operator.lifecycle import serving
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context, Patience
from finetune_operator.lifecycle.transitions import advance, key_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_providers.errors import ProviderError, TransientProviderError

FIRST_TRY = timedelta(minutes=5)
"""What an evaluation gets at least after a restart, or after its sweep was put right, however long ago it began."""
NOTE_AFTER = timedelta(minutes=10)
"""How old the time of the last answer in the status may get: a write for each answer would be too many."""
LOOK_AGAIN_S = 900.0


async def give_up(context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account) -> bool:
    """End a trial whose model has given no new answer for as long as it may take, or past its sweep's end.

    Returns:
        Whether that was so.
    """
    cancel = trial.status.cancel
    patience = _patience(context, trial)
    if cancel is not None and cancel.reason == EVALUATION_TIMED_OUT:
        message = cancel.message
    elif left_s(context, trial, account) <= 0:
        allowed = evaluation_may_take(trial) / timedelta(hours=1)
        message = f"the fine-tuned model has given no new answer for {allowed:g} h"
    else:
        return False
    last = f"the last error: {patience.error}" if patience.error else "an answer was still waited for"
    await context.background.drop(("evaluation", key_of(trial)))
    await serving.conclude(
        context,
        trial,
        sweep,
        account,
        TrialPhase.FAILED,
        reason=EVALUATION_TIMED_OUT,
        message=f"{message}; {last}",
    )
    return True


def left_s(context: Context, trial: FinetuneTrial, account: Account) -> float:
    """Seconds for which the next new answer of the trial's model may be waited for."""
    patience, now = _patience(context, trial), context.now()
    entry = trial.status.serving
    if not _is_asked(trial, account, patience):
        return evaluation_may_take(trial).total_seconds()
    moments = (trial.status.answered_at, None if entry is None else entry.active_at, patience.answered_at)
    last = max((moment for moment in moments if moment is not None), default=patience.since)
    # What is deployed costs by the hour, whoever goes first.
    waited = patience.waited if entry is None else timedelta(0)
    due = max(last + evaluation_may_take(trial) + waited, patience.since + FIRST_TRY)
    return (due - now).total_seconds()


def _is_asked(trial: FinetuneTrial, account: Account, patience: Patience) -> bool:
    entry = trial.status.serving
    if entry is None:
        # It waits for machines, or for the evaluations before it, and costs nothing meanwhile.
        return not (account.provider.capabilities.needs_deployment or patience.waits_for_turn)
    return entry.state == "Active"  # before, it is known for how long its creation may take


def failed(
    context: Context, trial: FinetuneTrial, account: Account, error: TransientProviderError
) -> ProviderError:
    """Note why an evaluation has to be tried again; who asks to be left alone is not waited for longer than allowed.

    Returns:
        The error to raise.
    """
    _patience(context, trial).error = str(error)
    if error.retry_after_s is None:
        return error
    return TransientProviderError(
        str(error), retry_after_s=min(error.retry_after_s, max(0.0, left_s(context, trial, account)))
    )


async def note_progress(context: Context, trial: FinetuneTrial, account: Account) -> float:
    """Write down, now and then, when the last answer came, so that a restart knows it.

    Returns:
        Seconds until the next look.
    """
    answered_at, known = _patience(context, trial).answered_at, trial.status.answered_at
    if answered_at is not None and (known is None or answered_at - known >= NOTE_AFTER):
        trial = await advance(
            context,
            trial,
            trial.phase,
            reason=trial.status.reason or "Evaluating",
            message=trial.status.message or "",
            answered_at=answered_at.replace(microsecond=0),
        )
    return min(LOOK_AGAIN_S, max(1.0, left_s(context, trial, account)))


def _patience(context: Context, trial: FinetuneTrial) -> Patience:
    return context.patience.setdefault(key_of(trial), Patience(context.now()))
