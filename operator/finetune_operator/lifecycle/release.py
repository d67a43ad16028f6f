"""Deletion: find out what was bought, cancel it, then let go."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from finetune_operator.decisions import deleting_status
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.data_life import delete_data
from finetune_operator.lifecycle.doubt import owner_of
from finetune_operator.lifecycle.holding import hold, waits_for_trials
from finetune_operator.lifecycle.job_slots import deployment_name, is_served
from finetune_operator.lifecycle.resolution import attempts_of, keys_of, resolution_of
from finetune_operator.lifecycle.store import NotFound, Refused
from finetune_operator.lifecycle.transitions import key_of
from finetune_operator.lifecycle.unreadable import sweep_of
from finetune_operator.resources import REPORTED_METRICS, FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_providers.errors import JobNotFound, PermanentProviderError, ProviderError, UnexpectedResponse

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 5.0
_ORPHANED = "what it bought goes on at the provider, as its sweep's deletionPolicy wants"


async def release_trial(context: Context, trial: FinetuneTrial) -> float | None:
    """Cancel what a deleted trial bought, unless it ended or its sweep says Orphan; then let it go.

    What cannot be cancelled or deleted now is tried again until `release_within_s` has passed since that was first
    found, and the trial says so; then it is let go, and what may go on is named.

    Returns:
        Seconds until the next look; None once it was let go.
    """
    if not trial.has_finalizer:
        return None
    try:
        return await _release(context, trial)
    except (NotFound, Refused, InvalidManifest, ProviderError) as error:
        again_s = await hold(context, trial, error)
        if again_s is None:
            await context.store.remove_finalizer(trial)
        return again_s


async def _release(context: Context, trial: FinetuneTrial) -> float | None:
    if is_served(trial):
        # It costs by the hour and serves nobody, whatever becomes of the job.
        await _take_down(context, trial)
    sweep = await sweep_of(context, trial)
    orphan = sweep is not None and sweep.spec.deletion_policy == "Orphan"
    if trial.terminal or orphan:
        await _let_go(context, trial, sweep, _ORPHANED if orphan else "it had ended")
        return None
    if trial.phase is TrialPhase.EVALUATING:
        await _let_go(context, trial, sweep, "its job had ended")
        return None
    account = await _account(context, trial)
    if account is None:
        await _let_go(context, trial, sweep, "nothing was bought")
        return None
    job_ids = await _bought(context, trial, account)
    open_question = _in_doubt(trial) and not job_ids
    if open_question and _may_still_appear(context, trial, account):
        return LOOK_AGAIN_S
    if job_ids:
        outcome = await _cancelled(account, job_ids)
    elif open_question:
        key = keys_of(trial)[0]
        outcome = f"nobody can say whether a job with key {key} was bought; look at the provider's console"
    else:
        outcome = "nothing was bought"
    await _let_go(context, trial, sweep, outcome)
    return None


async def _cancelled(account: Account, job_ids: Sequence[str]) -> str:
    """Cancel jobs; returns what became of them, in words."""
    cancelled, missing = [], []
    for job_id in job_ids:
        known = account.watcher.has_shown(job_id)
        try:
            await account.provider.cancel(job_id)
            cancelled.append(job_id)
        except JobNotFound:
            if not known:
                missing.append(job_id)
        account.watcher.unwatch(job_id)
    parts = [f"cancelled {', '.join(cancelled)}"] if cancelled else []
    if missing:
        parts.append(
            f"{', '.join(missing)} is not shown by its provider: it is gone, or the Secret holds a key of another "
            "organisation by now, where it may go on and cost"
        )
    return "; ".join(parts) or f"{', '.join(job_ids)} is gone from its provider"


async def _take_down(context: Context, trial: FinetuneTrial) -> None:
    account = await _account(context, trial)
    if account is None or trial.status.serving is None:
        return
    await account.provider.undeploy(trial.status.serving.name)
    account.deployed.discard(key_of(trial))
    context.deploying.pop(key_of(trial), None)


async def _take_down_unseen(context: Context, trial: FinetuneTrial, sweep: FinetuneSweep | None) -> None:
    """Delete a deployment of which only a status told that was lost; mostly there is none."""
    if sweep is not None and sweep.spec.objective.metric in REPORTED_METRICS:
        return  # nothing is deployed for it
    namespace, provider = key_of(trial).namespace, trial.spec.provider_ref.name
    account = context.accounts.last_known(namespace, provider)
    with suppress(NotFound, Refused, InvalidManifest, PermanentProviderError):
        account = await context.accounts.get(namespace, provider)
    if account is None or not account.provider.capabilities.needs_deployment:
        return
    name, orphan = deployment_name(trial), sweep is not None and sweep.spec.deletion_policy == "Orphan"
    try:
        await account.provider.undeploy(name)
    except ProviderError as error:
        # What nobody knows to be there keeps no job that is to go on from being let go.
        if not (orphan or isinstance(error, (PermanentProviderError, UnexpectedResponse))):
            raise
        message = (
            f"deployment {name}, if there is one, could not be deleted, and may cost by the hour: {error}"
        )
        await context.store.record_event(trial, "DeploymentNotDeleted", message, warning=True)


async def release_sweep(context: Context, sweep: FinetuneSweep, trials: tuple[FinetuneTrial, ...]) -> None:
    """Let a deleted sweep go once none of its trials holds anything at a provider."""
    if not sweep.has_finalizer:
        return
    holding = [trial for trial in trials if not trial.terminal and trial.has_finalizer]
    orphan = sweep.spec.deletion_policy == "Orphan"
    for trial in holding:
        if orphan and not is_served(trial):
            await _let_go(context, trial, sweep, _ORPHANED)
        elif not trial.deleting:
            # Where the job goes on: a deployment does not, which costs by the hour and serves nobody.
            await context.store.delete_trial(trial)
    waited_for = [trial for trial in holding if not orphan or is_served(trial)]
    if waited_for:
        message = waits_for_trials(waited_for)
        await context.store.write_sweep_status(sweep, deleting_status(sweep, message, now=context.now()))
    elif orphan:
        await context.store.remove_finalizer(sweep)  # jobs that go on need their datasets
    elif await delete_data(context, sweep, trials):
        await context.store.remove_finalizer(sweep)


async def _account(context: Context, trial: FinetuneTrial) -> Account | None:
    """The account that may hold the trial's job; None where it is gone and nothing was bought.

    Raises:
        NotFound, Refused, InvalidManifest, PermanentProviderError: It cannot be opened, and something was bought.
    """
    entry, namespace, name = trial.status.create, key_of(trial).namespace, trial.spec.provider_ref.name
    try:
        return await context.accounts.get(namespace, name)
    except (NotFound, Refused, InvalidManifest, PermanentProviderError):
        # With a namespace or a file of manifests the provider and its Secret go first; what is open still works.
        account = context.accounts.last_known(namespace, name)
        bought = entry is not None and entry.state != "Failed"
        if account is None and (is_served(trial) or bought or _in_doubt(trial)):
            raise
        return account


async def _bought(context: Context, trial: FinetuneTrial, account: Account) -> tuple[str, ...]:
    entry = trial.status.create
    if entry is not None and entry.external_id is not None:
        return (entry.external_id,)
    answer = resolution_of(trial)
    if (
        answer is not None
        and answer.verb == "adopt"
        and (entry is None or _in_doubt(trial))
        and await owner_of(context, trial, answer.job_id) is None
    ):
        # The status is lost that said so, or the answer came just before the deletion.
        return (answer.job_id,)
    if not account.provider.capabilities.finds_by_key:
        return ()
    jobs = [job.job_id for key in keys_of(trial) for job in await account.provider.find(key)]
    return tuple(dict.fromkeys(jobs))


def _in_doubt(trial: FinetuneTrial) -> bool:
    """Whether a create call may have been made whose outcome is not known; so it is where the status was lost."""
    entry = trial.status.create
    return attempts_of(trial) > 0 if entry is None else entry.state in {"Pending", "Unknown"}


def _may_still_appear(context: Context, trial: FinetuneTrial, account: Account) -> bool:
    """Whether a job whose creation is in doubt may show up yet."""
    entry = trial.status.create
    window = account.provider.capabilities.lookup_window_s
    if entry is None or entry.at is None or trial.phase is TrialPhase.STALLED:
        return False
    waited = (context.now() - entry.at).total_seconds()
    return waited < (window if window is not None else 600.0)


async def _let_go(context: Context, trial: FinetuneTrial, sweep: FinetuneSweep | None, what: str) -> None:
    if trial.status.serving is None and not trial.terminal:
        await _take_down_unseen(context, trial, sweep)
    context.accounts.leave(key_of(trial))
    log.info("%s is deleted: %s", key_of(trial), what)
    await context.store.record_event(trial, "Released", f"the trial is deleted: {what}")
    await context.store.remove_finalizer(trial)
