"""The create journal: a job is bought once, whatever dies in between.

What is about to be bought is written down first, guarded by the trial's resource version, so that of two
who want to buy only one may. Whoever finds an entry without an outcome looks the job up by its key before
anything else.
"""

from __future__ import annotations

from datetime import timedelta

from finetune_operator.decisions.waiting import (
    NOT_REACHED,
    QUOTA_EXCEEDED,
    WAITING_FOR_QUOTA,
    WAITING_FOR_SLOT,
    moment_text,
)
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.doubt import (
    looked_for_s,
    new_entry,
    recall,
    seconds_since,
    settle,
    stall,
    why_unknown,
)
from finetune_operator.lifecycle.resolution import ATTEMPTS, attempts_of, noted_attempts, purchase_key
from finetune_operator.lifecycle.submission import LOOK_UP_AGAIN_S, job_request, submit
from finetune_operator.lifecycle.transitions import advance, end, key_of
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_providers.errors import PermanentProviderError

SLOT_AGAIN_S = 60.0
PROBE_S = 15.0
"""For how long an account's other trials see what becomes of the first one that asks again after a refusal."""
TELL_AGAIN = timedelta(minutes=10)


async def buy(context: Context, trial: FinetuneTrial, account: Account, admission: Admission) -> float | None:
    """Buy a trial's job, or adopt the one that was bought before its status was lost.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    if trial.status.create is None and attempts_of(trial) > 0:
        await recall(context, trial, account)
        return None
    if (wait_s := account.full_for(context.now())) > 0:
        context.accounts.leave(key_of(trial))  # nobody waits behind who cannot go
        await _say_until_when_it_waits(context, trial, account)
        return wait_s
    if not account.slots.ask(key_of(trial), sweep=trial.spec.sweep_ref.name, index=trial.spec.index):
        await _say_that_it_waits(context, trial, account)
        return SLOT_AGAIN_S
    attempt = _next_attempt(trial)
    key = purchase_key(trial, attempt)
    again = trial.status.reason in {QUOTA_EXCEEDED, NOT_REACHED}
    if account.provider.capabilities.finds_by_key:
        # An empty status proves nothing: it may have been lost in a restore.
        found = await account.provider.find(key)
        if found:
            await settle(context, trial, found, new_entry(context, attempt, key))
            return None
    try:
        request = job_request(context, trial, account, admission, key)
    except PermanentProviderError as error:
        message = f"the provider refused a dataset: {error}"
        await end(context, trial, TrialPhase.FAILED, reason="UploadRefused", message=message)
        return None
    if request is None:
        return None  # a dataset is on its way
    _ask_alone(context, trial, account)
    # Somebody may have taken it away; without it a deletion would not wait for the job.
    trial = await context.store.add_finalizer(trial)
    trial = await _note_attempt(context, trial, account, attempt)
    journaled = await advance(
        context,
        trial,
        TrialPhase.SUBMITTING,
        reason="Submitting",
        message=f"a fine-tuning job is being created with key {key}",
        quiet=again,
        create=new_entry(context, attempt, key),
        started_at=trial.status.started_at or context.now().replace(microsecond=0),
    )
    return await submit(context, journaled, account, request, first=True, again=again)


async def _note_attempt(
    context: Context, trial: FinetuneTrial, account: Account, attempt: int
) -> FinetuneTrial:
    """Note outside the status that there was this attempt, where it would not be found without.

    A first one is looked for in any case, and one that cannot buy twice may be made again.
    """
    capabilities = account.provider.capabilities
    found_anyway = attempt == 1 and (capabilities.finds_by_key or capabilities.idempotent_create)
    if found_anyway or noted_attempts(trial) >= attempt:
        return trial
    return await context.store.annotate_trial(trial, {ATTEMPTS: str(attempt)})


def _next_attempt(trial: FinetuneTrial) -> int:
    previous = trial.status.create
    if previous is None:
        return 1
    # With a key that nothing was bought by it goes on: one that is found though the status is lost.
    refused_for_now = trial.status.reason in {QUOTA_EXCEEDED, NOT_REACHED}
    return previous.attempt if refused_for_now else previous.attempt + 1


def _ask_alone(context: Context, trial: FinetuneTrial, account: Account) -> None:
    """After a refusal, as before a restart, one trial asks and the others see: a full quota is not stormed."""
    now, until = context.now(), trial.status.waits_until
    if account.full_until is not None or (until is not None and until > now):
        account.full_until = now + timedelta(seconds=PROBE_S)
        account.full_because = account.full_because or trial.status.message or ""


async def _say_until_when_it_waits(context: Context, trial: FinetuneTrial, account: Account) -> None:
    until, known = account.full_until, trial.status.waits_until
    if until is None or (known is not None and until - known < TELL_AGAIN):
        return  # it was said; a write of each trial at each try of one would be too many
    until = until.replace(microsecond=0)
    name, refused = account.resource.name, trial.status.reason in {QUOTA_EXCEEDED, NOT_REACHED}
    await advance(
        context,
        trial,
        TrialPhase.PENDING,
        # That its own key bought nothing must not be forgotten.
        reason=str(trial.status.reason) if refused else WAITING_FOR_QUOTA,
        message=f"FinetuneProvider {name} has no room: {account.full_because}; next try at {moment_text(until)}",
        waits_until=until,
    )


async def _say_that_it_waits(context: Context, trial: FinetuneTrial, account: Account) -> None:
    if trial.status.reason in {WAITING_FOR_SLOT, QUOTA_EXCEEDED, NOT_REACHED}:
        return  # it says that it waits; and that its key bought nothing must not be forgotten
    name, limit = account.resource.name, account.slots.limit
    message = f"waits for its turn: FinetuneProvider {name} has as many jobs as its maxConcurrentJobs allows ({limit})"
    await advance(context, trial, TrialPhase.PENDING, reason=WAITING_FOR_SLOT, message=message)


async def resolve(
    context: Context, trial: FinetuneTrial, account: Account, admission: Admission
) -> float | None:
    """Find out what became of a create call whose outcome is not known.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    entry = trial.status.create
    if entry is None:
        return None
    capabilities = account.provider.capabilities
    waited = seconds_since(entry.at, context.now())
    if capabilities.finds_by_key:
        found = await account.provider.find(entry.key)
        if found:
            await settle(context, trial, found, entry)
            return None
    if capabilities.idempotent_create:
        pause = LOOK_UP_AGAIN_S - waited if entry.state == "Unknown" else 0.0
        if (wait_s := max(pause, account.full_for(context.now()))) > 0:
            return wait_s
        request = job_request(context, trial, account, admission, entry.key)
        if request is None:
            return None
        return await submit(context, trial, account, request, first=False)
    window = capabilities.lookup_window_s if capabilities.finds_by_key else None
    if window is None and capabilities.finds_by_key and waited < capabilities.appears_within_s:
        return min(capabilities.appears_within_s - waited, LOOK_UP_AGAIN_S)
    if window is None:
        await stall(context, trial, why_unknown(capabilities))
        return None
    # A clock may jump, or be another's that wrote the entry; what follows is a purchase, so this process waits, too.
    waited = min(waited, looked_for_s(context, trial, entry))
    if waited < window:
        return min(window - waited, LOOK_UP_AGAIN_S)
    context.doubted.pop(key_of(trial), None)
    await advance(
        context,
        trial,
        TrialPhase.PENDING,
        reason="NothingWasBought",
        message=f"the provider has no job with key {entry.key}: it is created anew",
        create=entry.model_copy(update={"state": "Failed", "message": "no job was found by its key"}),
    )
    return None
