"""When a sweep's status is worth a write."""

from __future__ import annotations

from finetune_operator.decisions import Decision
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import SweepStatus

COUNTS_WITHIN_S = 2.0


def counts_may_wait_s(context: Context, key: Key, known: SweepStatus, decision: Decision) -> float:
    """For how long a status may wait in which nothing is new but how many trials there are, and are at work.

    A trial that is created becomes one that trains in the next seconds: one write tells both.
    """
    old, new = known.trials, decision.status.trials
    moving = {"total": new.total, "pending": new.pending, "running": new.running}
    if (
        decision.actions
        or known.model_copy(update={"trials": old.model_copy(update=moving)}) != decision.status
    ):
        context.counts_due.pop(key, None)
        return 0.0
    if old == new:
        return 0.0
    due = context.counts_due.setdefault(key, context.monotonic() + COUNTS_WITHIN_S)
    if (wait_s := due - context.monotonic()) <= 0:
        del context.counts_due[key]
    return wait_s
