"""Trials that wait for their provider to have room: what is told of them, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from finetune_operator.resources import FinetuneTrial, TrialPhase

QUOTA_EXCEEDED = "QuotaExceeded"
"""The trial's own create call was refused for now."""
WAITING_FOR_QUOTA = "WaitingForQuota"
"""The quota refused another trial of the account; and, of a sweep, all that go on wait."""
NOT_REACHED = "ProviderNotReached"
WAITING_FOR_SLOT = "WaitingForSlot"
_FOR_A_TIME = {
    QUOTA_EXCEEDED: WAITING_FOR_QUOTA,
    WAITING_FOR_QUOTA: WAITING_FOR_QUOTA,
    NOT_REACHED: NOT_REACHED,
}


def moment_text(moment: datetime) -> str:
    """A time for people, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def what_all_wait_for(active: Sequence[FinetuneTrial]) -> tuple[str, str] | None:
    """Why nothing goes on, as a condition's reason and message; None where something does.

    Args:
        active: The trials that have not ended.
    """
    if not active or not all(_waits(trial) for trial in active):
        return None
    who = (
        f"all {len(active)} trials that go on wait" if len(active) > 1 else "the one trial that goes on waits"
    )
    timed = [trial for trial in active if trial.status.reason in _FOR_A_TIME]
    if not timed:
        return WAITING_FOR_SLOT, f"{who}; trial {active[0].name}: {active[0].status.message}"
    first = _first(timed)
    reasons = {_FOR_A_TIME[str(trial.status.reason)] for trial in timed}
    reason = WAITING_FOR_QUOTA if WAITING_FOR_QUOTA in reasons else NOT_REACHED
    return reason, f"{who} for {_providers(timed)}; trial {first.name}: {first.status.message}"


def note_of_waiting(active: Sequence[FinetuneTrial]) -> str:
    """What to say of trials that wait for a time while others go on; nothing where none does."""
    timed = [trial for trial in active if _waits(trial) and trial.status.reason in _FOR_A_TIME]
    if not timed:
        return ""
    return f"; {len(timed)} wait for {_providers(timed)} until {moment_text(_until(_first(timed)))}"


def _waits(trial: FinetuneTrial) -> bool:
    if trial.phase is not TrialPhase.PENDING or trial.status.cancel is not None:
        return False
    timed = trial.status.reason in _FOR_A_TIME and trial.status.waits_until is not None
    return timed or trial.status.reason == WAITING_FOR_SLOT


def _first(timed: Sequence[FinetuneTrial]) -> FinetuneTrial:
    """The trial that tells when it goes on: at each provider the one told last knows best, and the first of these."""
    latest: dict[str, FinetuneTrial] = {}
    for trial in timed:
        known = latest.get(trial.spec.provider_ref.name)
        if known is None or _until(known) < _until(trial):
            latest[trial.spec.provider_ref.name] = trial
    return min(latest.values(), key=_until)


def _until(trial: FinetuneTrial) -> datetime:
    return trial.status.waits_until or datetime.max.replace(tzinfo=UTC)


def _providers(trials: Sequence[FinetuneTrial]) -> str:
    names = sorted({trial.spec.provider_ref.name for trial in trials})
    return f"FinetuneProvider {' and '.join(names)}"
