"""The create call: what it asks for, and its answer, which is written down whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Literal

from finetune_operator.decisions import conditions
from finetune_operator.decisions.waiting import NOT_REACHED, QUOTA_EXCEEDED, moment_text
from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.doubt import adopt, new_entry, stall
from finetune_operator.lifecycle.job_slots import OUTCOME_UNKNOWN
from finetune_operator.lifecycle.transitions import advance_surely, key_of
from finetune_operator.resources import CreateJournal, FinetuneTrial, TrialPhase
from finetune_providers.base import DatasetFile, JobRequest
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


def job_request(
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


async def submit(
    context: Context,
    trial: FinetuneTrial,
    account: Account,
    request: JobRequest,
    *,
    first: bool,
    again: bool = False,
) -> float | None:
    """Make the create call and write down what came of it; `first` and `again` as below.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    # A stop of the operator lets the call in flight end and be journaled.
    return await asyncio.shield(
        _submit_and_journal(context, trial, account, request, first=first, again=again)
    )


async def _submit_and_journal(
    context: Context,
    trial: FinetuneTrial,
    account: Account,
    request: JobRequest,
    *,
    first: bool,
    again: bool = False,
) -> float | None:
    """Make the create call; `first` says that no call with this key may have bought, `again` that one was refused.

    A refusal of the first call proves that nothing was bought; one of a later call says nothing of the first.
    """
    entry = trial.status.create or new_entry(context, 1, request.key)
    try:
        job = await account.provider.submit(request)
    except (QuotaExceeded, NotReached) as error:
        kept = entry if first else None
        return await _wait_for_quota(context, trial, account, error, entry=kept, again=again)
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
    account.full_until, account.full_because = None, ""
    account.watcher.made(job.job_id)
    await adopt(context, trial, job.job_id, entry)
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
    again: bool = False,
) -> float:
    """Have all of the account's trials wait; the journal's entry is closed where there is one to close."""
    reached = isinstance(error, QuotaExceeded)
    wait_s = error.retry_after_s or (QUOTA_WAIT_S if reached else NOT_REACHED_WAIT_S)
    until = context.now() + timedelta(seconds=wait_s)
    what = "takes no further job for now" if reached else "cannot be reached"
    account.full_until, account.full_because = until, f"it {what}: {error}"
    if entry is not None:
        await advance_surely(
            context,
            trial,
            TrialPhase.PENDING,
            reason=QUOTA_EXCEEDED if reached else NOT_REACHED,
            message=f"FinetuneProvider {account.resource.name} {what}: {error}; next try at {moment_text(until)}",
            quiet=again,
            waits_until=until.replace(microsecond=0),
            create=_answered(context, entry, "Failed", str(error)),
        )
    return wait_s


def _answered(
    context: Context, entry: CreateJournal, state: Literal["Failed", "Unknown"], message: str
) -> CreateJournal:
    """The entry after the call; what the provider promises about later look-ups counts from here."""
    at = context.now().replace(microsecond=0)
    return entry.model_copy(update={"state": state, "message": message[: conditions.MESSAGE_LIMIT], "at": at})
