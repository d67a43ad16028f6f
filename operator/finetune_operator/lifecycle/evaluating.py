"""From a fine-tuned model to a trial's score."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from finetune_operator.decisions.stopping import EVALUATION_TIMED_OUT, MODEL_MAY_TAKE
from finetune_operator.errors import InvalidManifest, SweepError
from finetune_operator.evaluation import (
    Evaluation,
    load_metrics,
    reported_score,
)
from finetune_operator.lifecycle import elsewhere, patience, serving
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.answering import Questions, answer_evaluation_set, questions_of
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key, NotFound, Refused
from finetune_operator.lifecycle.transitions import end, key_of
from finetune_operator.resources import REPORTED_METRICS, FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Baseline
from finetune_providers.base import JobSnapshot
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
    UnexpectedResponse,
)

BaselineName = tuple[str, Key, str | None, str, str]
"""`baseline`, the sweep with its UID, the provider and the base model."""


def prepare_scores(context: Context, sweep: FinetuneSweep) -> None:
    """Have the libraries of the metrics imported before the first model is to be scored, and others wait for it."""
    if context.metrics_wanted or sweep.spec.objective.metric in REPORTED_METRICS:
        return
    context.metrics_wanted = True
    context.background.start(
        "metrics", lambda: asyncio.to_thread(load_metrics), then=lambda: context.background.forget("metrics")
    )


async def take_outcome(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account
) -> bool:
    """End a trial whose evaluation has an outcome.

    Returns:
        Whether that was so.
    """
    if trial.status.fine_tuned_model is None:
        message = "the job succeeded, but the provider names no model"
        await end(context, trial, TrialPhase.FAILED, reason="ModelMissing", message=message)
        return True
    conclude = partial(serving.conclude, context, trial, sweep, account)
    name = ("evaluation", key_of(trial))
    try:
        outcome: Evaluation | _Refused | None = context.background.outcome(name)
    except TransientProviderError as error:
        raise patience.failed(context, trial, account, error) from error
    if isinstance(outcome, _Refused):
        if await _is_replaced(context, trial, account, outcome):
            context.background.forget(name)
            return False
        if isinstance(outcome.error, JobNotFound) and await serving.begin_anew(context, trial, outcome.error):
            context.background.forget(name)
            return True
        if await elsewhere.may_have_job(trial, account):
            context.background.forget(name)
            await elsewhere.hold(context, trial, account)
            return True
        message = f"the fine-tuned model could not be evaluated: {outcome.error}"
        await conclude(TrialPhase.FAILED, reason="EvaluationFailed", message=message)
    elif outcome is not None:
        await write_score(conclude, sweep, dict(outcome.scores), {})
    return outcome is not None


@dataclass(frozen=True, slots=True)
class _Refused:
    """An evaluation that an account refused."""

    account: Account
    error: ProviderError


async def _is_replaced(context: Context, trial: FinetuneTrial, account: Account, refused: _Refused) -> bool:
    """As `Accounts.replaced`; an account that nobody can open is waited for no longer than an answer is."""
    try:
        return await context.accounts.replaced(refused.account)
    except (SweepError, ProviderError):
        cancel = trial.status.cancel
        overdue = cancel is not None and cancel.reason == EVALUATION_TIMED_OUT
        if overdue or patience.left_s(context, trial, account) <= 0:
            return False
        raise


async def start_evaluation(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account, admission: Admission
) -> float | None:
    """Have a trial's model evaluated; the trial is looked at when there is an outcome.

    Returns:
        Seconds until the next look, where the model cannot answer yet.
    """
    key, model = key_of(trial), trial.status.fine_tuned_model
    name = ("evaluation", key)
    if model is None:
        return None
    asked: str | None = model
    if account.provider.capabilities.needs_deployment and name not in context.background:
        asked, wait_s = await serving.serve(context, trial, sweep, account, model)
        if asked is None:
            return wait_s
    begin_answering(context, trial, sweep, account, admission, model=model, through=asked)
    return await patience.note_progress(context, trial, account)


def begin_answering(
    context: Context,
    trial: FinetuneTrial,
    sweep: FinetuneSweep,
    account: Account,
    admission: Admission,
    *,
    model: str,
    through: str | None = None,
) -> None:
    """Have a model answer the evaluation set in the background, unless it does; its trial is looked at then."""
    key, questions = key_of(trial), questions_of(sweep, admission)
    context.background.start(
        ("evaluation", key),
        lambda: _evaluate(context, key, model, questions, account, through=through),
        then=lambda: context.enqueue(key),
    )


async def _evaluate(
    context: Context,
    key: Key,
    model: str,
    questions: Questions | None,
    account: Account,
    *,
    through: str | None,
) -> Evaluation | _Refused:
    try:
        return await answer_evaluation_set(context, key, model, questions, account, through=through)
    except (PermanentProviderError, UnexpectedResponse) as error:
        return _Refused(account, error)


async def finish_reported(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, job: JobSnapshot, facts: Mapping[str, Any]
) -> None:
    """Score a trial by what its trainer reported last, be it that the model diverged."""
    metric = sweep.spec.objective.metric
    value = reported_score(job.series, metric)
    await write_score(partial(end, context, trial), sweep, {} if value is None else {metric: value}, facts)


async def measure_baseline(
    context: Context, key: Key, base_model: str, questions: Questions | None, account: Account, *, metric: str
) -> Baseline:
    """Score a base model that was not fine-tuned; that it cannot answer is an outcome, too."""
    provider = account.resource.name
    try:
        outcome = await answer_evaluation_set(context, key, base_model, questions, account)
    except (PermanentProviderError, UnexpectedResponse) as error:
        if (anew := await _opened_anew(context, key, account)) is not None:
            return await measure_baseline(context, key, base_model, questions, anew, metric=metric)
        return Baseline(provider=provider, base_model=base_model, message=str(error)[:256])
    return Baseline(provider=provider, base_model=base_model, score=outcome.scores[metric])


async def _opened_anew(context: Context, key: Key, account: Account) -> Account | None:
    """The account that took the place of one that refused; None where none did, or nobody can open it."""
    with suppress(NotFound, Refused, InvalidManifest, PermanentProviderError):
        if await context.accounts.replaced(account):
            return await context.accounts.get(key.namespace, account.resource.name)
    return None


def baseline_outcome(
    context: Context, name: BaselineName, trials: Sequence[FinetuneTrial]
) -> Baseline | None:
    """What a base model scored; one that cannot be asked for long after all trials ended holds no sweep up.

    Raises:
        TransientProviderError: It could not be asked for now; that is tried again.
    """
    try:
        outcome: Baseline | None = context.background.outcome(name)
    except TransientProviderError as error:
        ends = [trial.status.finished_at for trial in trials]
        last = max((end for end in ends if end is not None), default=context.now())
        if None in ends or context.now() - last < MODEL_MAY_TAKE:
            raise
        return Baseline(provider=name[3], base_model=name[4], message=str(error)[:256])
    return outcome


async def write_score(
    conclude: Callable[..., Awaitable[None]],
    sweep: FinetuneSweep,
    scores: dict[str, float],
    facts: Mapping[str, Any],
) -> None:
    """End a trial by what its model scored."""
    metric = sweep.spec.objective.metric
    score = scores.get(metric)
    finite = {name: value for name, value in scores.items() if math.isfinite(value)}
    if score is None or not math.isfinite(score):
        message = f"the objective's metric {metric} is missing or not a finite number"
        await conclude(TrialPhase.FAILED, reason="MetricUnusable", message=message, metrics=finite, **facts)
        return
    await conclude(
        TrialPhase.SUCCEEDED,
        reason="Succeeded",
        message=f"{metric} is {score:.4g}",
        score=score,
        score_text=f"{score:.4g}",
        metrics=finite,
        **facts,
    )
