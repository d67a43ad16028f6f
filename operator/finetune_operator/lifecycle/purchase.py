"""The create journal: a job is bought once, whatever dies in between.

What is about to be bought is written down first, guarded by the trial's resource version, so that of two
who want to buy only one may. Whoever finds an entry without an outcome looks the job up by its key before
anything else.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from finetune_operator.decisions import conditions
from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.job_slots import OUTCOME_UNKNOWN
from finetune_operator.lifecycle.resolution import (
    ATTEMPTS,
    Resolution,
    attempts_of,
    keys_of,
    noted_attempts,
    purchase_key,
    resolution_of,
)
from finetune_operator.lifecycle.transitions import advance, advance_surely, end, key_of
from finetune_operator.resources import CreateJournal, FinetuneTrial, TrialPhase
from finetune_providers.base import Capabilities, DatasetFile, JobRequest, JobSnapshot
from finetune_providers.errors import (
    AmbiguousProviderError,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    UnexpectedResponse,
)

LOOK_UP_AGAIN_S = 5.0
QUOTA_WAIT_S = 60.0
NOT_REACHED_WAIT_S = 15.0
SLOT_AGAIN_S = 60.0
QUOTA_EXCEEDED = "QuotaExceeded"
NOT_REACHED = "ProviderNotReached"
WAITING_FOR_SLOT = "WaitingForSlot"


async def buy(context: Context, trial: FinetuneTrial, account: Account, admission: Admission) -> float | None:
    """Buy a trial's job, or adopt the one that was bought before its status was lost.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    if trial.status.create is None and attempts_of(trial) > 0:
        await _recall(context, trial, account)
        return None
    if (wait_s := account.full_for(context.now())) > 0:
        context.accounts.leave(key_of(trial))  # nobody waits behind who cannot go
        return wait_s
    if not account.slots.ask(key_of(trial), sweep=trial.spec.sweep_ref.name, index=trial.spec.index):
        await _say_that_it_waits(context, trial, account)
        return SLOT_AGAIN_S
    attempt = _next_attempt(trial)
    key = purchase_key(trial, attempt)
    if account.provider.capabilities.finds_by_key:
        # An empty status proves nothing: it may have been lost in a restore.
        found = await account.provider.find(key)
        if found:
            await _settle(context, trial, found, _entry(context, attempt, key))
            return None
    try:
        request = _request(context, trial, account, admission, key)
    except PermanentProviderError as error:
        message = f"the provider refused a dataset: {error}"
        await end(context, trial, TrialPhase.FAILED, reason="UploadRefused", message=message)
        return None
    if request is None:
        return None  # a dataset is on its way
    # Somebody may have taken it away; without it a deletion would not wait for the job.
    trial = await context.store.add_finalizer(trial)
    trial = await _note_attempt(context, trial, account, attempt)
    journaled = await advance(
        context,
        trial,
        TrialPhase.SUBMITTING,
        reason="Submitting",
        message=f"a fine-tuning job is being created with key {key}",
        create=_entry(context, attempt, key),
        started_at=trial.status.started_at or context.now().replace(microsecond=0),
    )
    return await _submit(context, journaled, account, request, first=True)


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


async def _recall(context: Context, trial: FinetuneTrial, account: Account) -> None:
    """Go on from what the annotations tell of purchases, where the status that held the journal was lost.

    A job that is found is adopted; without one the last attempt is in doubt, as one is whose answer never came.
    """
    attempt = attempts_of(trial)
    entry = _entry(context, attempt, purchase_key(trial, attempt))
    answer = resolution_of(trial)
    if answer is not None and answer.verb != "retry":
        await _do_as_told(context, trial, answer, entry)
        return
    found: tuple[JobSnapshot, ...] = ()
    if account.provider.capabilities.finds_by_key:
        for key in keys_of(trial):
            found += await account.provider.find(key)
    if found:
        await _settle(context, trial, found, entry)
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


def _next_attempt(trial: FinetuneTrial) -> int:
    previous = trial.status.create
    if previous is None:
        return 1
    # With a key that nothing was bought by it goes on: one that is found though the status is lost.
    refused_for_now = trial.status.reason in {QUOTA_EXCEEDED, NOT_REACHED}
    return previous.attempt if refused_for_now else previous.attempt + 1


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
    waited = _seconds_since(entry.at, context.now())
    if capabilities.finds_by_key:
        found = await account.provider.find(entry.key)
        if found:
            await _settle(context, trial, found, entry)
            return None
    if capabilities.idempotent_create:
        pause = LOOK_UP_AGAIN_S - waited if entry.state == "Unknown" else 0.0
        if (wait_s := max(pause, account.full_for(context.now()))) > 0:
            return wait_s
        request = _request(context, trial, account, admission, entry.key)
        if request is None:
            return None
        return await _submit(context, trial, account, request, first=False)
    window = capabilities.lookup_window_s if capabilities.finds_by_key else None
    if window is None and capabilities.finds_by_key and waited < capabilities.appears_within_s:
        return min(capabilities.appears_within_s - waited, LOOK_UP_AGAIN_S)
    if window is None:
        await stall(context, trial, _why_unknown(capabilities))
        return None
    # A clock may jump, or be another's that wrote the entry; what follows is a purchase, so this process waits, too.
    waited = min(waited, _looked_for_s(context, trial, entry))
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


def _looked_for_s(context: Context, trial: FinetuneTrial, entry: CreateJournal) -> float:
    """Seconds for which this process has looked for an attempt's job."""
    now = context.monotonic()
    key, since = context.doubted.get(key_of(trial), ("", now))
    if key != entry.key:
        since = now
    context.doubted[key_of(trial)] = (entry.key, since)
    return now - since


def _why_unknown(capabilities: Capabilities) -> str:
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
    entry = trial.status.create or entry or _entry(context, 1, purchase_key(trial, 1))
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


async def unstall(context: Context, trial: FinetuneTrial) -> None:
    """Do what a person's annotation says about a stalled trial; nothing without one for this attempt."""
    entry = trial.status.create
    answer = resolution_of(trial)
    if entry is not None and answer is not None:
        await _do_as_told(context, trial, answer, entry)


async def _do_as_told(
    context: Context, trial: FinetuneTrial, answer: Resolution, entry: CreateJournal
) -> None:
    if answer.verb == "adopt":
        await _adopt(context, trial, answer.job_id, entry)
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
        await end(context, trial, TrialPhase.FAILED, reason="Abandoned", message="a person gave the trial up")


def _request(
    context: Context, trial: FinetuneTrial, account: Account, admission: Admission, key: str
) -> JobRequest | None:
    """What to buy; None while a dataset is uploaded, after which the trial is looked at again."""
    base_model = trial.spec.base_model
    references: dict[str, str | None] = {}
    for name in ("training", "validation"):
        if name in admission.datasets:
            references[name] = context.uploads.reference(
                account,
                key_of(trial).namespace,
                _scoped(admission.datasets[name], trial.spec.data_scope),
                base_model=base_model,
                waiter=key_of(trial),
            )
    training = references["training"]
    if training is None or None in references.values():
        return None
    return JobRequest(
        key=key,
        base_model=base_model,
        hyperparameters=trial.spec.hyperparameters,
        training=training,
        validation=references.get("validation"),
        seed=trial.spec.seed,
        labels={"sweep": trial.spec.sweep_ref.name, "trial": trial.name},
    )


def _scoped(dataset: DatasetFile, scope: str | None) -> DatasetFile:
    """The dataset under the name that the trial's uploads have."""
    return dataset if scope is None else replace(dataset, scope=scope)


async def _submit(
    context: Context, trial: FinetuneTrial, account: Account, request: JobRequest, *, first: bool
) -> float | None:
    # A stop of the operator lets the call in flight end and be journaled.
    return await asyncio.shield(_submit_and_journal(context, trial, account, request, first=first))


async def _submit_and_journal(
    context: Context, trial: FinetuneTrial, account: Account, request: JobRequest, *, first: bool
) -> float | None:
    """Make the create call; `first` says that no call was made with this key before.

    A refusal of the first call proves that nothing was bought; one of a later call says nothing of the first.
    """
    entry = trial.status.create or _entry(context, 1, request.key)
    try:
        job = await account.provider.submit(request)
    except (QuotaExceeded, NotReached) as error:
        return await _wait_for_quota(context, trial, account, error, entry=entry if first else None)
    except PermanentProviderError as error:
        if await _is_replaced(context, account):
            refused = NotReached(
                f"the account was replaced meanwhile, as by a new Secret: {error}", retry_after_s=1.0
            )
            return await _wait_for_quota(context, trial, account, refused, entry=entry if first else None)
        if not first:
            await stall(context, trial, f"its provider refuses to repeat it: {error}")
            return None
        await advance_surely(
            context,
            trial,
            TrialPhase.FAILED,
            reason="CreateRefused",
            message=f"the provider refused the job: {error}",
            create=_answered(context, entry, "Failed", str(error)),
            finished_at=context.now().replace(microsecond=0),
        )
        return None
    except (AmbiguousProviderError, UnexpectedResponse) as error:
        await advance_surely(
            context,
            trial,
            TrialPhase.SUBMITTING,
            reason=OUTCOME_UNKNOWN,
            message=f"the create call ended without a clear answer ({error}); the job is looked up by its key",
            create=_answered(context, entry, "Unknown", str(error)),
        )
        return LOOK_UP_AGAIN_S
    await _adopt(context, trial, job.job_id, entry)
    return None


async def _is_replaced(context: Context, account: Account) -> bool:
    """As `Accounts.replaced`, where an answer must be journaled whatever became of the FinetuneProvider."""
    try:
        return await context.accounts.replaced(account)
    except (ProviderError, SweepError):
        return False


async def _wait_for_quota(
    context: Context,
    trial: FinetuneTrial,
    account: Account,
    error: QuotaExceeded | NotReached,
    *,
    entry: CreateJournal | None,
) -> float:
    """Have all of the account's trials wait; the journal's entry is closed where there is one to close."""
    reached = isinstance(error, QuotaExceeded)
    wait_s = error.retry_after_s or (QUOTA_WAIT_S if reached else NOT_REACHED_WAIT_S)
    account.full_until = context.now() + timedelta(seconds=wait_s)
    what = "the provider takes no further job for now" if reached else "the provider cannot be reached"
    if entry is not None:
        await advance_surely(
            context,
            trial,
            TrialPhase.PENDING,
            reason=QUOTA_EXCEEDED if reached else NOT_REACHED,
            message=f"{what}: {error}; next try in {wait_s:g} s",
            create=_answered(context, entry, "Failed", str(error)),
        )
    return wait_s


def _answered(
    context: Context, entry: CreateJournal, state: Literal["Failed", "Unknown"], message: str
) -> CreateJournal:
    """The entry after the call; what the provider promises about later look-ups counts from here."""
    at = context.now().replace(microsecond=0)
    return entry.model_copy(update={"state": state, "message": message[: conditions.MESSAGE_LIMIT], "at": at})


async def _settle(
    context: Context, trial: FinetuneTrial, found: tuple[JobSnapshot, ...], entry: CreateJournal
) -> None:
    if len(found) > 1:
        ids = ", ".join(sorted(job.job_id for job in found))
        await stall(
            context,
            trial,
            f"several jobs have its keys, the last of which is {entry.key}: {ids}",
            entry=entry,
        )
    else:
        await _adopt(context, trial, found[0].job_id, entry)


async def _adopt(context: Context, trial: FinetuneTrial, job_id: str, entry: CreateJournal) -> None:
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


def _entry(context: Context, attempt: int, key: str) -> CreateJournal:
    return CreateJournal(attempt=attempt, state="Pending", key=key, at=context.now().replace(microsecond=0))


def may_still_appear_s(context: Context, trial: FinetuneTrial, account: Account) -> float:
    """Seconds for which a job that was just bought may be missing from what the provider shows."""
    entry, capabilities = trial.status.create, account.provider.capabilities
    window = capabilities.lookup_window_s
    if window is None:
        window = capabilities.appears_within_s
    if entry is None or entry.at is None:
        return 0.0
    return max(0.0, window - _seconds_since(entry.at, context.now()))


def _seconds_since(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else (now - moment).total_seconds()
