"""Create calls in doubt: what is known of them without their answer, and what a person says.

Nothing is bought here. What cannot be found out stalls the trial, and is asked of a person.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.job_slots import OUTCOME_UNKNOWN
from finetune_operator.lifecycle.resolution import (
    Resolution,
    attempts_of,
    keys_of,
    purchase_key,
    resolution_of,
)
from finetune_operator.lifecycle.transitions import advance, advance_surely, end, key_of, sweep_key_of
from finetune_operator.resources import CreateJournal, FinetuneTrial, TrialPhase
from finetune_providers.base import Capabilities, JobSnapshot
from finetune_providers.errors import PermanentProviderError, UnexpectedResponse


async def recall(context: Context, trial: FinetuneTrial, account: Account) -> None:
    """Go on from what the annotations tell of purchases, where the status that held the journal was lost.

    A job that is found is adopted; without one the last attempt is in doubt, as one is whose answer never came.
    """
    attempt = attempts_of(trial)
    entry = new_entry(context, attempt, purchase_key(trial, attempt))
    answer = resolution_of(trial)
    if answer is not None and answer.verb != "retry":
        await _do_as_told(context, trial, answer, entry)
        return
    found: tuple[JobSnapshot, ...] = ()
    if account.provider.capabilities.finds_by_key:
        for key in keys_of(trial):
            found += await account.provider.find(key)
    if found:
        await settle(context, trial, found, entry)
        return
    await advance(
        context,
        trial,
        TrialPhase.SUBMITTING,
        reason=OUTCOME_UNKNOWN,
        message=f"the status was lost after create call {attempt} was begun; its job is looked up by its key",
        create=entry.model_copy(
            update={"state": "Unknown", "message": "the status with the journal was lost"}
        ),
    )


async def look_back(context: Context, trial: FinetuneTrial, account: Account) -> bool:
    """Take up what a trial bought before its status was lost; an empty one proves nothing.

    Returns:
        Whether there was, or may have been, anything.

    Raises:
        TransientProviderError: It could not be looked up now.
    """
    if trial.status.create is not None:
        return False
    if attempts_of(trial) > 0:
        await recall(context, trial, account)
        return True
    key = purchase_key(trial, 1)
    found: tuple[JobSnapshot, ...] = ()
    if account.provider.capabilities.finds_by_key:
        # Of what nothing tells that it is there no provider that refuses to look keeps the trial from its end.
        with suppress(PermanentProviderError, UnexpectedResponse):
            found = await account.provider.find(key)
    if found:
        await settle(context, trial, found, new_entry(context, 1, key))
    return bool(found)


def looked_for_s(context: Context, trial: FinetuneTrial, entry: CreateJournal) -> float:
    """Seconds for which this process has looked for an attempt's job."""
    now = context.monotonic()
    key, since = context.doubted.get(key_of(trial), ("", now))
    if key != entry.key:
        since = now
    context.doubted[key_of(trial)] = (entry.key, since)
    return now - since


def why_unknown(capabilities: Capabilities) -> str:
    """Why nobody can find out what became of a create call, for people."""
    if not capabilities.finds_by_key:
        return "its provider cannot look a job up by the key of its creation"
    looked_for = f"{capabilities.appears_within_s:g} s"
    return (
        f"no job with its key has appeared within {looked_for}, but the provider does not promise that it shows "
        "every job by then"
    )


async def stall(
    context: Context, trial: FinetuneTrial, why: str, *, entry: CreateJournal | None = None
) -> None:
    """Stop before something is bought twice, and say how to go on.

    The journal's entry is written, too, where the status has none: a person's answer is given to an entry.
    """
    entry = trial.status.create or entry or new_entry(context, 1, purchase_key(trial, 1))
    attempt = entry.attempt
    message = (
        f"it is not known whether create call {attempt} made a job, because {why}. Look at the provider's "
        f"console for key {entry.key}, then say so: finetune resolve {trial.name} adopt=<job id> if there is a job, "
        f"retry if there is none, abandon to give the trial up; or annotate this trial, "
        f'finetune-operator.dev/resolve-create="{attempt} adopt=<job id>"'
    )
    await advance(
        context,
        trial,
        TrialPhase.STALLED,
        reason=OUTCOME_UNKNOWN,
        message=message,
        create=entry.model_copy(update={"state": "Unknown"}),
    )


async def unstall(context: Context, trial: FinetuneTrial) -> bool:
    """Do what a person's annotation says about a stalled trial; nothing without one for this attempt.

    Returns:
        Whether there was one.
    """
    entry = trial.status.create
    answer = resolution_of(trial)
    if entry is None or answer is None:
        return False
    if answer.verb == "adopt" and answer.job_id == entry.external_id:
        return False  # said of it before: that is the job which is waited for
    await _do_as_told(context, trial, answer, entry)
    return True


async def _do_as_told(
    context: Context, trial: FinetuneTrial, answer: Resolution, entry: CreateJournal
) -> None:
    if answer.verb == "adopt":
        if (other := await owner_of(context, trial, answer.job_id)) is None:
            await adopt(context, trial, answer.job_id, entry)
        elif (why := f"job {answer.job_id}, which was named, is that of trial {other}") not in (
            trial.status.message or ""
        ):
            await stall(context, trial, why, entry=entry)
    elif answer.verb == "retry":
        failed = entry.model_copy(update={"state": "Failed", "message": "a person found no job"})
        await advance(
            context,
            trial,
            TrialPhase.PENDING,
            reason="RetryAsked",
            message="a person says that nothing was bought: the job is created anew",
            create=failed,
        )
    else:
        # The entry stays, or comes back where it was lost: what may have been bought counts against the budget.
        await end(
            context,
            trial,
            TrialPhase.FAILED,
            reason="Abandoned",
            message="a person gave the trial up",
            create=entry.model_copy(update={"state": "Unknown"}),
        )


async def owner_of(context: Context, trial: FinetuneTrial, job_id: str) -> str | None:
    """The other trial, of its sweep or its account, that has a job; None where none has."""
    key = key_of(trial)
    others = (
        *await context.store.list_trials(sweep_key_of(trial)),
        *await context.store.list_account_trials(
            key.sibling("FinetuneProvider", trial.spec.provider_ref.name)
        ),
    )
    return next(
        (
            each.name
            for each in others
            if each.name != trial.name
            and each.spec.provider_ref == trial.spec.provider_ref
            and each.status.create is not None
            and each.status.create.external_id == job_id
        ),
        None,
    )


async def settle(
    context: Context, trial: FinetuneTrial, found: tuple[JobSnapshot, ...], entry: CreateJournal
) -> None:
    """Adopt the job that was found; several are a person's to choose from."""
    job_ids = sorted({job.job_id for job in found})  # a list may show a job on two of its pages
    if len(job_ids) > 1:
        await stall(
            context,
            trial,
            f"several jobs have its keys, the last of which is {entry.key}: {', '.join(job_ids)}",
            entry=entry,
        )
    else:
        await adopt(context, trial, job_ids[0], entry)


async def adopt(context: Context, trial: FinetuneTrial, job_id: str, entry: CreateJournal) -> None:
    """Take a job for the trial's own: it was bought, and trains."""
    await advance_surely(
        context,
        trial,
        TrialPhase.TRAINING,
        reason="Training",
        message=f"job {job_id} trains the model",
        create=entry.model_copy(update={"state": "Succeeded", "external_id": job_id, "message": None}),
        started_at=trial.status.started_at or context.now().replace(microsecond=0),
    )
    context.enqueue(key_of(trial))


def new_entry(context: Context, attempt: int, key: str) -> CreateJournal:
    """A journal entry of an attempt whose call is about to be made."""
    return CreateJournal(attempt=attempt, state="Pending", key=key, at=context.now().replace(microsecond=0))


def may_still_appear_s(context: Context, trial: FinetuneTrial, account: Account) -> float:
    """Seconds for which a job that was just bought may be missing from what the provider shows."""
    entry, capabilities = trial.status.create, account.provider.capabilities
    window = capabilities.lookup_window_s
    if window is None:
        window = capabilities.appears_within_s
    if entry is None or entry.at is None:
        return 0.0
    return max(0.0, window - seconds_since(entry.at, context.now()))


def seconds_since(moment: datetime | None, now: datetime) -> float:
    """Seconds from a moment to now; none where there was no such moment."""
    return 0.0 if moment is None else (now - moment).total_seconds()
