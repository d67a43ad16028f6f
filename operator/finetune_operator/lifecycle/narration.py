"""A sweep's story for people and applications."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from finetune_operator.decisions.stopping import TRIALS_COMPLETED
from finetune_operator.resources import Condition, FinetuneSweep, SweepStatus


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        reason: One CamelCase word.
        message: The same for people.
        warning: Whether a person should do something.
        routine: Whether the sweep's conditions say it for as long as it is so, and its launches tell that it goes on:
            nobody misses an event of it.
    """

    reason: str
    message: str
    warning: bool = False
    routine: bool = False


_UNDECIDED = frozenset({"Checking", "WaitingForReferences"})


def sweep_events(before: SweepStatus, after: SweepStatus) -> Iterator[Event]:
    """What happened between two statuses, each thing once."""
    accepted = after.condition("Accepted")
    if accepted is not None and _changed(before, accepted) and accepted.reason not in _UNDECIDED:
        refused = accepted.reason == "InvalidSpec"
        waits = accepted.reason if accepted.status == "False" else "Accepted"
        launched = accepted.status == "True" and _is_undecided(before) and after.last_index >= 0
        yield Event("Refused" if refused else waits, accepted.message, warning=refused, routine=launched)
    if after.best is not None and (before.best is None or before.best.trial != after.best.trial):
        worth = "" if after.best.value is None else f", worth {after.best.value:.4g} with its cost"
        message = f"trial {after.best.trial} is the best so far with {after.best.score:.4g}{worth}"
        yield Event("NewBest", message)
    for baseline in after.baselines:
        known = any(
            (baseline.provider, baseline.base_model) == (b.provider, b.base_model) for b in before.baselines
        )
        if not known and baseline.score is not None:
            message = f"base model {baseline.base_model} scores {baseline.score:.4g} without fine-tuning"
            yield Event("BaseModelMeasured", message)
    ready = after.condition("Ready")
    if ready is None or (after.phase == before.phase and not _changed(before, ready)):
        return
    if before.phase == "Suspended" and ready.reason == "Searching":
        yield Event("Resumed", "spec.suspend is false: trials are launched again")
    if after.phase != before.phase and after.phase in {"Finishing", "Suspended"}:
        yield Event(ready.reason, ready.message, routine=ready.reason == TRIALS_COMPLETED)
    if after.finished and not before.finished:
        yield Event(str(after.phase), ready.message, warning=after.phase == "Failed")


def _is_undecided(status: SweepStatus) -> bool:
    """Whether a sweep was neither accepted nor refused yet."""
    accepted = status.condition("Accepted")
    return accepted is None or accepted.reason in _UNDECIDED


def output_data(sweep: FinetuneSweep, status: SweepStatus) -> dict[str, str]:
    """What applications read: the best model and how it was made."""
    best = status.best
    if best is None:
        return {}
    return {
        "provider": best.provider,
        "candidate": best.candidate,
        "baseModel": best.base_model,
        "model": best.fine_tuned_model or "",
        "metric": sweep.spec.objective.metric,
        "score": f"{best.score:.6g}",
        "trial": best.trial,
        "hyperparameters": json.dumps(best.hyperparameters, sort_keys=True),
    }


def _changed(before: SweepStatus, condition: Condition) -> bool:
    old = before.condition(condition.type)
    return old is None or (old.status, old.reason) != (condition.status, condition.reason)
