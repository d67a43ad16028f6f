"""Conditions that `kubectl wait`, Argo CD and Flux understand (kstatus).

Ready is always there. Reconciling and Stalled are present only while they are true.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from finetune_operator.resources import Condition

MESSAGE_LIMIT = 1024


def condition(kind: str, status: bool, *, reason: str, message: str) -> Condition:
    """A condition that has not been stamped yet."""
    return Condition(
        type=kind, status="True" if status else "False", reason=reason, message=message[:MESSAGE_LIMIT]
    )


def stamped(
    previous: Sequence[Condition], wanted: Sequence[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The wanted conditions, each keeping its transition time while its status stays the same."""
    before = {each.type: each for each in previous}
    result = []
    for each in wanted:
        old = before.get(each.type)
        kept = old.last_transition_time if old is not None and old.status == each.status else None
        result.append(
            each.model_copy(
                update={
                    "observed_generation": generation,
                    "last_transition_time": kept or now.replace(microsecond=0),
                }
            )
        )
    return tuple(result)


def in_progress(reason: str, message: str) -> tuple[Condition, ...]:
    """Ready is False because work goes on."""
    return (
        condition("Ready", False, reason=reason, message=message),
        condition("Reconciling", True, reason=reason, message=message),
    )


def needs_a_person(reason: str, message: str) -> tuple[Condition, ...]:
    """Ready is False, and nothing will change it but a person."""
    return (
        condition("Ready", False, reason=reason, message=message),
        condition("Stalled", True, reason=reason, message=message),
    )


def ready(reason: str, message: str) -> tuple[Condition, ...]:
    """All is done."""
    return (condition("Ready", True, reason=reason, message=message),)
