"""What becomes of trials that still go on when a sweep stops launching any, in words."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.decisions.naming import named, some_of
from finetune_operator.decisions.stopping import BUDGET_EXHAUSTED, CONFIRMABLE, Stop, last_failure
from finetune_operator.resources import FinetuneTrial, TrialPhase


def what_becomes(stop: Stop, active: Sequence[FinetuneTrial], launched: Sequence[str] = ()) -> str:
    """What is done with the trials that still go on, and the names of those that are launched in the same look."""
    cancelled = [trial for trial in active if is_cancelled_by(stop, trial)]
    waited_for = [trial for trial in active if trial not in cancelled]
    parts = []
    if cancelled:
        parts.append(named(cancelled, "that still goes on is cancelled", "that still go on are cancelled"))
    if waited_for:
        parts.append(named(waited_for, "that still goes on is waited for", "that still go on are waited for"))
    if launched:
        verb = "last trial is" if len(launched) == 1 else "last trials are"
        parts.append(f"{len(launched)} {verb} launched: {some_of(launched)}")
    return "; ".join(parts)


def what_became(stop: Stop, trials: Sequence[FinetuneTrial]) -> str:
    """What became of the trials that still went on, once all have ended; "" where none did or nobody can say."""
    asked = [trial for trial in trials if _was_asked_to_end(stop, trial)]
    cancelled = [trial for trial in asked if trial.phase is TrialPhase.CANCELLED]
    faster = [trial for trial in asked if trial.phase is not TrialPhase.CANCELLED]
    waited_for = [trial for trial in trials if trial not in asked and _ended_after(stop, trial)]
    parts = []
    if cancelled:
        parts.append(
            named(cancelled, "that still went on was cancelled", "that still went on were cancelled")
        )
    if faster:
        end = "ended before it could be cancelled"
        parts.append(named(faster, end, end.replace("it", "they")))
    if waited_for:
        parts.append(
            named(waited_for, "that still went on was waited for", "that still went on were waited for")
        )
    if not parts and trials and stop.reason == BUDGET_EXHAUSTED and not stop.cancels:
        parts.append("no trial was cancelled for it")
    return "; ".join(parts)


def note_of_losses(trials: Sequence[FinetuneTrial]) -> str:
    """How many trials ended without a score, and why the last of those that failed did; "" where all is well."""
    failed = [trial for trial in trials if trial.phase is TrialPhase.FAILED]
    stopped = sum(trial.phase is TrialPhase.EARLY_STOPPED for trial in trials)
    cancelled = sum(trial.phase is TrialPhase.CANCELLED for trial in trials)
    counts = ((len(failed), "failed"), (stopped, "stopped early"), (cancelled, "cancelled"))
    told = ", ".join(f"{number} {what}" for number, what in counts if number)
    return f" ({told}{last_failure(failed)})" if told else ""


def is_cancelled_by(stop: Stop, trial: FinetuneTrial) -> bool:
    """Whether a trial that goes on is cancelled: a model that is trained is paid for, and may be the best.

    The repeats that follow upon a reached goal are wanted.
    """
    if stop.reason == "GoalReached" and trial.spec.repeat_of is not None:
        return False
    return stop.cancels and (trial.status.cancel is not None or trial.phase is not TrialPhase.EVALUATING)


def _was_asked_to_end(stop: Stop, trial: FinetuneTrial) -> bool:
    cancel = trial.status.cancel
    if cancel is None or cancel.reason != stop.reason:
        return False
    # A budget can be exceeded, raised, and exceeded again. Versions that did not write down which limit it was told
    # of none: those count for the one of now.
    return stop.reason != BUDGET_EXHAUSTED or cancel.exceeded in {None, stop.exceeded}


def _ended_after(stop: Stop, trial: FinetuneTrial) -> bool:
    if trial.spec.repeat_of is not None and stop.reason in CONFIRMABLE:
        return False  # it was launched afterwards
    ended = trial.status.finished_at
    return stop.at is not None and ended is not None and ended > stop.at
