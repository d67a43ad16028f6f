"""A trial's changes of state, each written in one guarded write and told in one event."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from finetune_operator.decisions import conditions
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Conflict, Key, NotFound, Refused, StoreUnavailable
from finetune_operator.resources import Condition, FinetuneTrial, TrialPhase, TrialStatus

log = logging.getLogger(__name__)

CRITICAL_RETRY_S = 0.2
LONGEST_CRITICAL_RETRY_S = 10.0


def key_of(trial: FinetuneTrial) -> Key:
    """The trial's key."""
    return Key("FinetuneTrial", trial.metadata.namespace or "default", trial.name)


def sweep_key_of(trial: FinetuneTrial) -> Key:
    """The key of the trial's sweep."""
    return key_of(trial).sibling("FinetuneSweep", trial.spec.sweep_ref.name)


async def advance(
    context: Context,
    trial: FinetuneTrial,
    phase: TrialPhase,
    *,
    reason: str,
    message: str,
    quiet: bool = False,
    **changes: Any,
) -> FinetuneTrial:
    """Move a trial to a phase.

    Args:
        context: The reconcilers' hands.
        trial: The trial as it was read.
        phase: The new phase.
        reason: One CamelCase word.
        message: The same for people.
        quiet: No event tells of it: nothing is new to whoever reads them.
        changes: Further fields of the status.

    Raises:
        Conflict: Somebody else changed the trial since; nothing was written.
    """
    status = _status(context, trial, phase, reason=reason, message=message, changes=changes)
    written = await context.store.write_trial_status(trial, status)
    log.info("%s is %s: %s", key_of(trial), phase, message)
    if phase is not trial.phase and not quiet:
        await context.store.record_event(
            written, reason, message, warning=phase in {TrialPhase.FAILED, TrialPhase.STALLED}
        )
    return written


async def advance_surely(
    context: Context, trial: FinetuneTrial, phase: TrialPhase, *, reason: str, message: str, **changes: Any
) -> FinetuneTrial:
    """As `advance`, for what must not be forgotten, such as the id of a job that was bought.

    It reads the trial again after a conflict and waits for a store that cannot be reached or refuses. Until it
    is written the log holds what is to be written.

    Raises:
        NotFound: The trial is gone; says what could not be written.
    """
    delay = CRITICAL_RETRY_S
    while True:
        try:
            return await advance(context, trial, phase, reason=reason, message=message, **changes)
        except Conflict:
            fresh = await context.store.get_trial(key_of(trial))
            if fresh is None or fresh.metadata.uid != trial.metadata.uid:  # another one has its name
                raise NotFound(f"{key_of(trial)} is gone; it was to say: {message}") from None
            trial = fresh
        except NotFound as error:
            raise NotFound(f"{error}; it was to say: {message}") from error
        except (StoreUnavailable, Refused) as error:
            log.warning("%s: cannot be written yet (%s): %s", key_of(trial), error, message)
        await asyncio.sleep(delay)
        delay = min(delay * 2.0, LONGEST_CRITICAL_RETRY_S)


async def end(
    context: Context, trial: FinetuneTrial, phase: TrialPhase, *, reason: str, message: str, **changes: Any
) -> None:
    """End a trial: its final status, then its finalizer is taken away, after which it costs nothing."""
    written = await advance(
        context,
        trial,
        phase,
        reason=reason,
        message=message,
        finished_at=context.now().replace(microsecond=0),
        **changes,
    )
    await context.store.remove_finalizer(written)


def _status(
    context: Context,
    trial: FinetuneTrial,
    phase: TrialPhase,
    *,
    reason: str,
    message: str,
    changes: dict[str, Any],
) -> TrialStatus:
    generation = trial.metadata.generation or 0
    stamped = conditions.stamped(
        trial.status.conditions,
        _conditions(phase, reason, message),
        generation=generation,
        now=context.now(),
    )
    update = {
        "observed_generation": generation,
        "phase": phase,
        "reason": reason,
        "message": message[: conditions.MESSAGE_LIMIT],
        "conditions": stamped,
        "waits_until": None,
        **changes,
    }
    return trial.status.model_copy(update=update)


def _conditions(phase: TrialPhase, reason: str, message: str) -> tuple[Condition, ...]:
    if phase in {TrialPhase.FAILED, TrialPhase.STALLED}:
        return conditions.needs_a_person(reason, message)
    return conditions.ready(reason, message) if phase.terminal else conditions.in_progress(reason, message)
