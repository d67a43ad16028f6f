"""Deleted objects whose manifest cannot be read: they do not hold their namespace for ever.

Nothing is bought for them, and what a trial bought that cannot be read is not known: it is waited for as long as for
what cannot be cancelled, so that the CRD or the operator can be brought back that reads it.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key
from finetune_operator.lifecycle.transitions import sweep_key_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.resources.remains import Remains

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 60.0
_WHY_LIMIT = 240


async def sweep_of(context: Context, trial: FinetuneTrial) -> FinetuneSweep | None:
    """The sweep of a deleted trial; None where it is gone, or is deleted as well and cannot be read.

    What it asked for (`deletionPolicy`) is not known then, so the default holds.

    Raises:
        InvalidManifest: It cannot be read, and is not deleted: a person may mend it.
    """
    key = sweep_key_of(trial)
    try:
        return await context.store.get_sweep(key)
    except InvalidManifest:
        if await context.store.remains(key) is None:
            raise
        return None


async def release_unreadable_sweep(
    context: Context, key: Key, remains: Remains, error: InvalidManifest
) -> float | None:
    """Have the trials of a deleted sweep released, by the default policy, then let the sweep go.

    Returns:
        Seconds until the next look; None once it was let go.
    """
    if not remains.has_finalizer:
        return None
    trials = await context.store.list_trials(key)
    holding = [trial for trial in trials if not trial.terminal and trial.has_finalizer]
    for trial in holding:
        if not trial.deleting:
            await context.store.delete_trial(trial)
    if holding:
        return LOOK_AGAIN_S
    message = (
        f"the sweep is deleted and is let go although its manifest cannot be read ({str(error)[:_WHY_LIMIT]}): its "
        "trials were released; the data that was uploaded for it may still be at its providers"
    )
    await _let_go(context, key, remains, message)
    return None


async def release_unreadable_trial(context: Context, key: Key, remains: Remains) -> float | None:
    """Hold a deleted trial for `release_within_s` after its deletion, say so, then let it go.

    Returns:
        Seconds until the next look; None once it was let go.
    """
    deleted = remains.metadata.deletion_timestamp
    if not remains.has_finalizer or deleted is None:
        return None
    until = deleted + timedelta(seconds=context.release_within_s)
    left_s = (until - context.now()).total_seconds()
    if left_s <= 0:
        message = (
            "the trial is let go although its manifest cannot be read: a job or a deployment of it may go on and "
            "cost; look at the provider's console"
        )
        await _let_go(context, key, remains, message)
        return None
    if key not in context.said_held_at:
        message = (
            "the trial is deleted, but its manifest cannot be read, so that nobody knows what it bought. It is let go "
            f"at {until:%Y-%m-%d %H:%M:%S} UTC. To have its job cancelled before: bring back the CRDs and the operator "
            "that read it"
        )
        log.warning("%s: %s", key, message)
        await context.store.record_event(remains, "ReleaseBlocked", message, warning=True)
        context.said_held_at[key] = context.now()
    return min(left_s, LOOK_AGAIN_S)


async def _let_go(context: Context, key: Key, remains: Remains, message: str) -> None:
    log.warning("%s: %s", key, message)
    await context.store.record_event(remains, "LetGo", message, warning=True)
    await context.store.let_go(remains)
    context.said_held_at.pop(key, None)
