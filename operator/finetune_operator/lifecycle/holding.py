"""Deleted trials that cannot be let go yet: they say what is waited for, until when, and how to end it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from finetune_operator.decisions import conditions
from finetune_operator.decisions.naming import counted
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.job_slots import is_served
from finetune_operator.lifecycle.resolution import keys_of
from finetune_operator.lifecycle.transitions import key_of
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_providers.errors import TransientProviderError

log = logging.getLogger(__name__)

REASON = "ReleaseBlocked"
RELEASED = "Released"
"""The condition that is False from the first failure on; its transition time is when the wait began."""

QUIET_S = 10.0
FIRST_AGAIN_S = 2.0
LONGEST_AGAIN_S = 300.0
SAY_AGAIN_S = 600.0
_WHY_LIMIT = 240


async def hold(context: Context, trial: FinetuneTrial, error: Exception) -> float | None:
    """Say why a deleted trial is still there, or that it is let go although something may go on.

    Args:
        context: The reconcilers' hands.
        trial: The trial; it is being deleted.
        error: Why what it holds at its provider could not be ended; its text may be shown.

    Returns:
        Seconds until the next try; None where the wait is over and the finalizer may go.
    """
    now, since = context.now(), _waits_since(trial)
    if since is None and isinstance(error, TransientProviderError) and _deleted_s(context, trial) < QUIET_S:
        log.info("%s cannot be let go yet and is tried again: %s", key_of(trial), error)
        return max(FIRST_AGAIN_S, error.retry_after_s or 0.0)
    since = since or now
    waited_s = (now - since).total_seconds()
    left_s = context.release_within_s - waited_s
    if left_s <= 0:
        await _give_up(context, trial, error, waited_s=waited_s)
        return None
    await _say(context, trial, error, until=since + timedelta(seconds=context.release_within_s))
    asked_s = error.retry_after_s if isinstance(error, TransientProviderError) else None
    # The longer nothing has changed, the less often it is worth asking.
    again_s = max(FIRST_AGAIN_S, min(waited_s / 4, LONGEST_AGAIN_S), asked_s or 0.0)
    return min(again_s, left_s)


def is_held(trial: FinetuneTrial) -> bool:
    """Whether the trial is being deleted, and could not be let go so far."""
    return trial.deleting and _waits_since(trial) is not None


def waits_for_trials(trials: Sequence[FinetuneTrial]) -> str:
    """What a deleted sweep waits for: which trials, and why the first of those that are held up is."""
    message = f"the sweep is deleted; it waits for what {counted(trials)} may hold at providers"
    held = next((trial for trial in trials if is_held(trial)), None)
    return message if held is None else f"{message}. Trial {held.name}: {held.status.message}"


def held_things(trial: FinetuneTrial) -> str:
    """What a trial holds, or may hold, at its provider, in words."""
    things, entry = [], trial.status.create
    if trial.status.serving is not None and is_served(trial):
        things.append(f"deployment {trial.status.serving.name}, which may cost by the hour,")
    if entry is not None and entry.external_id is not None:
        if trial.phase is not TrialPhase.EVALUATING:
            things.append(f"job {entry.external_id}")
    elif not things:
        things.append(f"the job with key {' or '.join(keys_of(trial))}, if there is one,")
    return f"{' and '.join(things)} at provider {trial.spec.provider_ref.name}"


async def _say(context: Context, trial: FinetuneTrial, error: Exception, *, until: datetime) -> None:
    message = (
        f"the trial is deleted, but {held_things(trial)} cannot be ended: {str(error)[:_WHY_LIMIT]}. It is tried "
        f"again until {until:%Y-%m-%d %H:%M:%S} UTC; then the trial is let go. To end the wait: {_remedy(trial)}"
    )
    key, known = key_of(trial), trial.status.message
    is_news = _waits_since(trial) is None
    said_at = context.said_held_at.get(key)
    # Messages of outages differ from call to call: each would be a write, and each write another try.
    recently = said_at is not None and (context.now() - said_at).total_seconds() < SAY_AGAIN_S
    if not is_news and (recently or known == message[: conditions.MESSAGE_LIMIT]):
        return
    wanted = (
        *conditions.in_progress(REASON, message),
        conditions.condition(RELEASED, False, reason=REASON, message=message),
    )
    generation = trial.metadata.generation or 0
    status = trial.status.model_copy(
        update={
            "observed_generation": generation,
            "reason": REASON,
            "message": message[: conditions.MESSAGE_LIMIT],
            "conditions": conditions.stamped(
                trial.status.conditions, wanted, generation=generation, now=context.now()
            ),
        }
    )
    written = await context.store.write_trial_status(trial, status)
    context.said_held_at[key] = context.now()
    log.warning("%s: %s", key, message)
    if is_news:
        await context.store.record_event(written, REASON, message, warning=True)


async def _give_up(context: Context, trial: FinetuneTrial, error: Exception, *, waited_s: float) -> None:
    message = (
        f"the trial is let go after {timedelta(seconds=int(waited_s))} although {held_things(trial)} could not be "
        f"ended and may go on and cost; look at the provider's console. The last failure: {str(error)[:_WHY_LIMIT]}"
    )
    log.warning("%s: %s", key_of(trial), message)
    context.accounts.leave(key_of(trial))
    await context.store.record_event(trial, "LetGo", message, warning=True)


def _remedy(trial: FinetuneTrial) -> str:
    back = f"bring FinetuneProvider {trial.spec.provider_ref.name} with its Secret, or the provider, back"
    if is_served(trial):
        return f"{back}, or delete the deployment at the provider's console"
    return f"{back}, or set deletionPolicy: Orphan on FinetuneSweep {trial.spec.sweep_ref.name}"


def _waits_since(trial: FinetuneTrial) -> datetime | None:
    released = next((each for each in trial.status.conditions if each.type == RELEASED), None)
    return None if released is None else released.last_transition_time


def _deleted_s(context: Context, trial: FinetuneTrial) -> float:
    deleted = trial.metadata.deletion_timestamp
    return 0.0 if deleted is None else (context.now() - deleted).total_seconds()
