"""Jobs that an account as it is opened now has never shown: the key may have become another organisation's.

Then the job goes on, and costs, where nobody looks. Its trial is held until the job is shown again or a person says
what became of it; it neither fails nor is bought again.
"""

from __future__ import annotations

from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.job_slots import is_served
from finetune_operator.lifecycle.transitions import advance, key_of
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_providers.errors import PermanentProviderError, UnexpectedResponse

JOB_NOT_SHOWN = "JobNotShown"
LOOK_AGAIN_S = 60.0


def is_held(trial: FinetuneTrial) -> bool:
    """Whether the trial waits for its job to be shown again."""
    entry = trial.status.create
    in_doubt = trial.phase is TrialPhase.STALLED and entry is not None and entry.state == "Unknown"
    return in_doubt and entry is not None and entry.external_id is not None


def tells_for_sure(account: Account) -> bool:
    """Whether what the account does not show is not there, as of a provider on this machine, whoever asks it."""
    return account.provider.capabilities.lookup_window_s is not None


async def hold(context: Context, trial: FinetuneTrial, account: Account) -> float | None:
    """Have a trial wait for its job, which is not shown, and say what may be the cause and how to go on.

    Returns:
        Seconds until the next look; None where there is no job to wait for.
    """
    entry, provider = trial.status.create, account.resource.name
    if entry is None or entry.external_id is None:
        return None
    message = (
        f"job {entry.external_id} is not shown to the key that FinetuneProvider {provider} has now, which has never "
        "shown it. If its Secret was replaced by one of another organisation or project, put the right one back: the "
        "trial goes on by itself. The job may go on and cost meanwhile; nothing is bought in its place. If the job was "
        f"deleted at the provider: finetune resolve {trial.name} abandon"
    )
    await advance(
        context,
        trial,
        TrialPhase.STALLED,
        reason=JOB_NOT_SHOWN,
        message=message,
        create=entry.model_copy(update={"state": "Unknown"}),
    )
    return LOOK_AGAIN_S


async def look_again(context: Context, trial: FinetuneTrial, account: Account) -> None:
    """Let a held trial go on where it was if the account shows its job now."""
    entry, key = trial.status.create, key_of(trial)
    if entry is None or entry.external_id is None:
        return
    account.watcher.watch(entry.external_id, key)
    if not account.watcher.has_shown(entry.external_id) or account.watcher.gone(entry.external_id):
        return
    trained = trial.status.fine_tuned_model is not None
    if trained:
        account.watcher.unwatch(entry.external_id)
    await advance(
        context,
        trial,
        TrialPhase.EVALUATING if trained else TrialPhase.TRAINING,
        reason="JobShown",
        message=f"job {entry.external_id} is shown again: the trial goes on",
        create=entry.model_copy(update={"state": "Succeeded"}),
    )
    context.enqueue(key)


async def may_have_job(trial: FinetuneTrial, account: Account) -> bool:
    """Whether another account than this one may hold a trial's job, whose model this one refuses.

    Raises:
        TransientProviderError: It could not be asked now.
    """
    entry = trial.status.create
    if entry is None or entry.external_id is None or is_served(trial) or tells_for_sure(account):
        return False
    try:
        return entry.external_id not in await account.provider.observe([entry.external_id])
    except (PermanentProviderError, UnexpectedResponse):
        return False
