"""A trial whose job trains, and what comes of the job when it has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from finetune_operator.decisions.costs import token_cost
from finetune_operator.lifecycle import doubt, early_stopping, elsewhere, quick_scores
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.evaluating import finish_reported, prepare_scores
from finetune_operator.lifecycle.legality import price_of
from finetune_operator.lifecycle.transitions import advance, end, key_of
from finetune_operator.resources import REPORTED_METRICS, FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.trial import SeriesPoint
from finetune_providers.base import JobSnapshot, JobState
from finetune_providers.errors import JobNotFound

CANCEL_AGAIN_S = 15.0


async def train(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account
) -> float | None:
    job_id = trial.status.create.external_id if trial.status.create is not None else None
    if job_id is None:
        await doubt.stall(context, trial, "the status has no job id")
        return None
    live = early_stopping.is_wanted(sweep)
    account.watcher.watch(job_id, key_of(trial), live=live)
    snapshot = account.watcher.latest(job_id)
    if snapshot is not None and snapshot.state.terminal:
        wait_s = await _job_ended(context, trial, sweep, account, snapshot)
        if wait_s is None:
            account.watcher.unwatch(job_id)
        return wait_s
    if strange := account.watcher.take_strange_state(job_id):
        message = f'the provider says that job {job_id} is "{strange}", which is not known here: it counts as training'
        await context.store.record_event(trial, "UnknownJobState", message, warning=True)
    if account.watcher.gone(job_id):
        return await _job_missing(context, trial, account, job_id)
    if trial.status.cancel is not None:
        try:
            await account.provider.cancel(job_id)
        except JobNotFound:
            return None  # the watcher will say so, too
        return CANCEL_AGAIN_S
    prepare_scores(context, sweep)
    if live and snapshot is not None:
        await early_stopping.write_metrics(context, trial, series_of(snapshot))
    return None


async def _job_missing(context: Context, trial: FinetuneTrial, account: Account, job_id: str) -> float | None:
    if (wait_s := doubt.may_still_appear_s(context, trial, account)) > 0:
        return wait_s
    is_known = account.watcher.has_shown(job_id) or elsewhere.tells_for_sure(account)
    if not is_known and trial.status.cancel is None:
        return await elsewhere.hold(context, trial, account)
    account.watcher.unwatch(job_id)
    await _end_vanished(context, trial, job_id, is_known=is_known)
    return None


async def _end_vanished(context: Context, trial: FinetuneTrial, job_id: str, *, is_known: bool) -> None:
    """End a trial whose job is gone: by its cancellation, where one was asked for, which some providers do so."""
    cancel, gone = trial.status.cancel, f"job {job_id} is no longer at the provider"
    if not is_known:
        gone = f"{gone}, or its key is another organisation's and the job goes on there"
    if cancel is None:
        message = f"{gone}; it is not bought again"
        await end(context, trial, TrialPhase.FAILED, reason="JobVanished", message=message)
    else:
        phase, message = early_stopping.phase_of(cancel), f"{gone}: {cancel.message}"
        await end(context, trial, phase, reason=cancel.reason, message=message)


async def _job_ended(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account, job: JobSnapshot
) -> float | None:
    facts: dict[str, Any] = {
        "job_state": job.native_state,
        "fine_tuned_model": job.fine_tuned_model,
        "trained_tokens": job.trained_tokens,
        "series": series_of(job) or trial.status.series,
        "cost": _cost(trial, sweep, account, job),
    }
    if job.state is JobState.FAILED:
        message = f"job {job.job_id} failed: {job.message or 'the provider gives no reason'}"
        await end(context, trial, TrialPhase.FAILED, reason="JobFailed", message=message, **facts)
    elif job.state is JobState.CANCELLED:
        cancel = trial.status.cancel
        reason = "CancelledAtProvider" if cancel is None else cancel.reason
        message = f"job {job.job_id} was cancelled" + (" at the provider" if cancel is None else "")
        if cancel is not None:
            message = f"{message}: {cancel.message}"
        phase = early_stopping.phase_of(cancel)
        await end(context, trial, phase, reason=reason, message=message, **facts)
    elif sweep.spec.objective.metric in REPORTED_METRICS:
        await finish_reported(context, trial, sweep, job, facts)
    elif trial.status.cancel is not None and account.provider.capabilities.needs_deployment:
        # Nobody pays for machines by the hour to score a model that the search does not need.
        message = (
            f"job {job.job_id} succeeded before it could be cancelled; its model {job.fine_tuned_model} is not "
            f"deployed, and has no score: {trial.status.cancel.message}"
        )
        phase = early_stopping.phase_of(trial.status.cancel)
        await end(context, trial, phase, reason=trial.status.cancel.reason, message=message, **facts)
    elif not await quick_scores.end_if_scored(context, trial, sweep, facts):
        wait_s = quick_scores.may_take_s(context, trial, sweep, account, job.fine_tuned_model)
        if wait_s > 0:
            return wait_s
        message = f"the fine-tuned model answers the evaluation set ({sweep.spec.objective.metric})"
        evaluating = await advance(
            context,
            trial,
            TrialPhase.EVALUATING,
            reason="Evaluating",
            message=message,
            answered_at=context.now().replace(microsecond=0),
            **facts,
        )
        context.enqueue(key_of(evaluating))
    return None


def series_of(job: JobSnapshot) -> tuple[SeriesPoint, ...]:
    """A job's metrics as a trial's status holds them."""
    return tuple(SeriesPoint(step=each.step, values=_finite(each.values)) for each in job.series)


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """What can be written down: JSON has no NaN, and a metric that is not there cannot be taken for good."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _cost(trial: FinetuneTrial, sweep: FinetuneSweep, account: Account, job: JobSnapshot) -> Decimal | None:
    """What the job cost, from the tokens that the provider reports; None where either is unknown."""
    price = price_of(account, trial.spec.base_model, sweep.spec.limits.currency)
    if price is None or job.trained_tokens is None:
        return None
    return token_cost(job.trained_tokens, price.per_million_tokens)
