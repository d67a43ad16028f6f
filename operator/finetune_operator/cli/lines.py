"""A sweep's course as plain lines, for a log: what changed between two snapshots."""

from __future__ import annotations

from collections.abc import Iterator

from finetune_operator.cli.snapshot import Snapshot, beside_score_text, model_text, score_text
from finetune_operator.decisions.waiting import NOT_REACHED, WAITING_FOR_QUOTA, WAITING_FOR_SLOT
from finetune_operator.report.words import duration_text, hyperparameters_text, number_text
from finetune_operator.resources import FinetuneTrial


def changes(before: Snapshot | None, after: Snapshot) -> Iterator[str]:
    """A line for each thing that happened, each starting with the time.

    Args:
        before: What was shown last; None at the start.
        after: What there is now.
    """
    stamp = after.now.strftime("%H:%M:%S")
    phases = {} if before is None else {trial.name: trial.phase for trial in before.trials}
    for trial in after.trials:
        if phases.get(trial.name) != trial.phase:
            yield f"{stamp} {_trial_line(after, trial)}"
    best = after.sweep.status.best
    known = None if before is None else before.sweep.status.best
    if best is not None and (
        known is None or (known.trial, known.base_score) != (best.trial, best.base_score)
    ):
        beside = beside_score_text(after.sweep)
        more = f" ({beside})" if beside else ""
        yield f"{stamp} best so far: {best.trial} with {number_text(best.score)}{more}"
    told = None if before is None else _waiting(before)
    if (waiting := _waiting(after)) is not None and waiting != told:
        yield f"{stamp} sweep {after.sweep.name} waits: {after.reason}"
    phase = after.sweep.status.phase
    if phase is not None and (before is None or before.sweep.status.phase != phase):
        yield f"{stamp} sweep {after.sweep.name} {phase}: {after.reason}".removesuffix(": ")


def _waiting(snapshot: Snapshot) -> str | None:
    """What all trials that go on wait for; nothing where one goes on."""
    ready = snapshot.sweep.status.condition("Ready")
    reasons = {WAITING_FOR_QUOTA, WAITING_FOR_SLOT, NOT_REACHED}
    return ready.reason if ready is not None and ready.reason in reasons else None


def _trial_line(snapshot: Snapshot, trial: FinetuneTrial) -> str:
    spec = trial.spec
    parts = [f"trial {trial.name} {trial.phase}"]
    model = model_text(snapshot.sweep, spec.candidate, spec.base_model)
    if not trial.terminal:
        parts.append(f"{model} {hyperparameters_text(spec.hyperparameters)}")
    if trial.terminal and score_text(trial):
        parts.append(f"score {score_text(trial)}")
    if trial.terminal and (seconds := snapshot.trial_seconds(trial)) is not None:
        parts.append(f"after {duration_text(seconds)}")
    if trial.status.message:
        parts.append(trial.status.message)
    return ", ".join(parts)
