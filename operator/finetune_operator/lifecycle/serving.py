"""Deployments: a fine-tuned model that answers only from machines which cost by the hour.

A deployment is journaled like a purchase: its name is written down before it is asked for, it is asked for under that
name alone, so that asking again makes no second one, and no trial ends before it is deleted.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Any

from finetune_operator.decisions.costs import CENT
from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.accounts import EVALUATIONS_AT_ONCE, Account
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.job_slots import deployment_name, is_served
from finetune_operator.lifecycle.legality import price_of
from finetune_operator.lifecycle.transitions import advance, advance_surely, end, key_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.trial import ServingJournal
from finetune_providers.base import Deployment, DeploymentState
from finetune_providers.errors import (
    AmbiguousProviderError,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

LOOK_AGAIN_S = 15.0
QUOTA_WAIT_S = 60.0
CREATION_MAY_TAKE_S = 3 * 3600.0


def is_concluded(trial: FinetuneTrial) -> bool:
    """Whether nothing is left to do but to delete the deployment."""
    return trial.status.serving is not None and trial.status.serving.state == "Deleting"


async def serve(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account, model: str
) -> tuple[str | None, float | None]:
    """See to it that the trial's model is deployed.

    Returns:
        What to ask, once it answers; and the seconds until the next look where it does not yet.
    """
    key, entry = key_of(trial), trial.status.serving
    if entry is None:
        # Machines that wait for their turn cost as those that answer; of a sweep that is deleted the trial goes
        # with it, or goes on without us.
        if len(account.deployed - {key}) >= EVALUATIONS_AT_ONCE or sweep.deleting:
            return None, _pause_s(account)
        # Somebody may have taken it away; without it a deletion would not wait for the deployment.
        trial = await context.store.add_finalizer(trial)
        entry = ServingJournal(
            name=deployment_name(trial), state="Pending", at=context.now().replace(microsecond=0)
        )
        trial = await _say_that_it_is_deployed(context, trial, entry)
    account.deployed.add(key)
    if entry.state == "Active" and entry.model is not None:
        return entry.model, None
    try:
        deployment = await account.provider.deploy(model, name=entry.name)
    except QuotaExceeded as error:
        message = f"the provider refuses deployment {entry.name} for now, and is asked again: {error}"
        # One that was seen is there, and costs, though a look at it was one too many.
        made = entry if key in context.deploying else entry.model_copy(update={"at": None})
        await advance(
            context,
            trial,
            TrialPhase.EVALUATING,
            reason="QuotaExceeded",
            message=message,
            serving=made,
        )
        return None, error.retry_after_s or QUOTA_WAIT_S
    except PermanentProviderError as error:
        if await _is_replaced(context, trial, account, entry):
            return None, 0.0
        message = f"the provider refused to deploy the fine-tuned model: {error}"
        await conclude(
            context, trial, sweep, account, TrialPhase.FAILED, reason="DeploymentRefused", message=message
        )
        return None, None
    except (TransientProviderError, AmbiguousProviderError, UnexpectedResponse) as error:
        if _creation_s(context, trial, entry) < CREATION_MAY_TAKE_S:
            raise
        await _give_up(context, trial, sweep, account, entry, str(error))
        return None, None
    if entry.at is None:
        entry = entry.model_copy(update={"at": context.now().replace(microsecond=0)})
        trial = await _say_that_it_is_deployed(context, trial, entry)
    return await _take(context, trial, sweep, account, entry, deployment)


async def _is_replaced(
    context: Context, trial: FinetuneTrial, account: Account, entry: ServingJournal
) -> bool:
    """As `Accounts.replaced`; an account that nobody can open is waited for no longer than a deployment is."""
    try:
        return await context.accounts.replaced(account)
    except (SweepError, ProviderError):
        if _creation_s(context, trial, entry) < CREATION_MAY_TAKE_S:
            raise
        return False


async def begin_anew(context: Context, trial: FinetuneTrial, error: ProviderError) -> bool:
    """Have a model deployed again whose deployment went away while it answered: once, for a model that was paid.

    Returns:
        Whether that is done; not where it went away before, or nothing was deployed.
    """
    entry = trial.status.serving
    if entry is None or entry.state != "Active" or entry.message is not None:
        return False
    again = entry.model_copy(
        update={"state": "Pending", "model": None, "message": f"it was gone: {error}"[:256]}
    )
    await _say_that_it_is_deployed(context, trial, again)
    context.enqueue(key_of(trial))
    return True


async def _say_that_it_is_deployed(
    context: Context, trial: FinetuneTrial, entry: ServingJournal
) -> FinetuneTrial:
    message = f"the fine-tuned model is being deployed as {entry.name}, so that it can answer"
    return await advance(
        context, trial, TrialPhase.EVALUATING, reason="Deploying", message=message, serving=entry
    )


async def _take(
    context: Context,
    trial: FinetuneTrial,
    sweep: FinetuneSweep,
    account: Account,
    entry: ServingJournal,
    deployment: Deployment,
) -> tuple[str | None, float | None]:
    """Go on from what the provider shows of a deployment."""
    key, now = key_of(trial), context.now()
    if deployment.state is DeploymentState.ACTIVE:
        context.deploying.pop(key, None)
        active = entry.model_copy(
            update={"state": "Active", "model": deployment.model, "active_at": now.replace(microsecond=0)}
        )
        message = f"the fine-tuned model answers the evaluation set through deployment {entry.name}"
        await advance(
            context, trial, TrialPhase.EVALUATING, reason="Evaluating", message=message, serving=active
        )
        context.enqueue(key)
        return None, None
    created_for_s = _creation_s(context, trial, entry)
    if deployment.state is DeploymentState.CREATING and created_for_s < CREATION_MAY_TAKE_S:
        return None, _pause_s(account)
    why = deployment.message or f"it is still {deployment.native_state or 'being created'}"
    await _give_up(context, trial, sweep, account, entry, why)
    return None, None


def _creation_s(context: Context, trial: FinetuneTrial, entry: ServingJournal) -> float:
    """Seconds since the deployment was asked for; of one that is made once more, since this process asked."""
    seen = context.deploying.setdefault(key_of(trial), context.now())
    began = entry.at if entry.at is not None and entry.message is None else seen
    return (context.now() - began).total_seconds()


async def _give_up(
    context: Context,
    trial: FinetuneTrial,
    sweep: FinetuneSweep,
    account: Account,
    entry: ServingJournal,
    why: str,
) -> None:
    message = f"deployment {entry.name} of the fine-tuned model did not become active: {why}"
    await conclude(
        context, trial, sweep, account, TrialPhase.FAILED, reason="DeploymentFailed", message=message
    )


def _pause_s(account: Account) -> float:
    return min(LOOK_AGAIN_S, account.provider.capabilities.poll_interval_s)


async def conclude(
    context: Context,
    trial: FinetuneTrial,
    sweep: FinetuneSweep,
    account: Account,
    phase: TrialPhase,
    *,
    reason: str,
    message: str,
    **changes: Any,
) -> None:
    """End a trial whose model was evaluated or cannot be; where it is deployed, that is deleted first."""
    entry = trial.status.serving
    if entry is None or not is_served(trial):
        await end(context, trial, phase, reason=reason, message=message, **changes)
        return
    # The outcome is written before anything is deleted: who comes later need not deploy again to learn it.
    leaving = await advance_surely(
        context,
        trial,
        TrialPhase.EVALUATING,
        reason=reason,
        message=message,
        serving=entry.model_copy(update={"state": "Deleting"}),
        **changes,
    )
    await take_down(context, leaving, sweep, account)


async def take_down(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep | None, account: Account
) -> None:
    """Delete the deployment of a trial whose outcome is written, and end the trial.

    Raises:
        ProviderError: It could not be deleted; the trial does not end before it is.
    """
    entry = trial.status.serving
    if entry is None:
        return
    await _undeploy(context, trial, account, entry)
    now = context.now().replace(microsecond=0)
    await end(
        context,
        trial,
        TrialPhase.FAILED if trial.status.score is None else TrialPhase.SUCCEEDED,
        reason=trial.status.reason or "Ended",
        message=trial.status.message or "",
        serving=entry.model_copy(update={"state": "Deleted", "deleted_at": now}),
        **_cost(trial, sweep, account, entry, now),
    )


async def stand_down(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep | None, account: Account, *, why: str
) -> None:
    """Delete a deployment that serves nobody for now; it is made again when the trial goes on.

    Raises:
        ProviderError: It could not be deleted.
    """
    entry = trial.status.serving
    if entry is None:
        return
    reason, message = "Undeployed", f"deployment {entry.name} is deleted meanwhile: {why}"
    if entry.state != "Pending":  # what is being deleted is not taken for one that answers
        entry = entry.model_copy(update={"state": "Pending", "model": None, "active_at": None})
        trial = await advance(
            context, trial, TrialPhase.EVALUATING, reason=reason, message=message, serving=entry
        )
    await _undeploy(context, trial, account, entry)
    costs = _cost(trial, sweep, account, entry, context.now())
    await advance(
        context, trial, TrialPhase.EVALUATING, reason=reason, message=message, serving=None, **costs
    )


async def _undeploy(context: Context, trial: FinetuneTrial, account: Account, entry: ServingJournal) -> None:
    await account.provider.undeploy(entry.name)
    account.deployed.discard(key_of(trial))
    context.deploying.pop(key_of(trial), None)


def _cost(
    trial: FinetuneTrial, sweep: FinetuneSweep | None, account: Account, entry: ServingJournal, now: datetime
) -> dict[str, Any]:
    """What the trial has cost with the deployment, from when it was asked for; nothing where no price is known."""
    price = None if sweep is None else price_of(account, trial.spec.base_model, sweep.spec.limits.currency)
    if price is None or price.serving_per_hour is None or entry.at is None:
        return {}
    hours = Decimal(max(0, int((now - entry.at).total_seconds()))) / 3600
    serving = (price.serving_per_hour * hours).quantize(CENT, rounding=ROUND_UP)
    costs = {"serving_cost": (trial.status.serving_cost or Decimal(0)) + serving}
    return costs if trial.status.cost is None else {**costs, "cost": trial.status.cost + serving}
