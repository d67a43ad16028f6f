"""When a sweep stops launching trials, and what then becomes of the running ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from finetune_operator.decisions.best import meets_goal, ranked_trials, usable_score, value_of
from finetune_operator.decisions.repeating import kept_back
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import parse_duration

DEPLOYED_MODEL_MAY_TAKE = timedelta(hours=1)
"""Without a new answer. It costs by the hour; providers' inference is back within it or has a real outage."""
MODEL_MAY_TAKE = timedelta(hours=24)
"""Without a new answer, where waiting costs nothing: quotas of a day are through by then."""
BUDGET_EXHAUSTED = "BudgetExhausted"
EVALUATION_TIMED_OUT = "EvaluationTimedOut"
TRIALS_COMPLETED = "TrialsCompleted"
"""All that `limits.maxTrials` allows were launched: how a search ends of which nothing else is to be told."""
CONFIRMABLE = frozenset({TRIALS_COMPLETED, "SearchSpaceExhausted", "Plateau", "GoalReached"})
"""Ends of a search after which there may be money, time and reason for repeats."""
_CAUSE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Stop:
    """Why no further trial is launched.

    Attributes:
        reason: One CamelCase word for conditions.
        message: The same for people.
        cancels: Whether trials that still go on are cancelled; else they are waited for.
        fails: Whether the sweep counts as failed even with a best trial.
        at: When it came to that, where that is known.
        exceeded: The highest `maxCost` that was exceeded, where trials are cancelled for it.
        remedy: What it takes for the search to go on; "" where a person would not want that. It is nothing to tell of
            a trial that is cancelled.
    """

    reason: str
    message: str
    cancels: bool = False
    fails: bool = False
    at: datetime | None = None
    exceeded: Decimal | None = None
    remedy: str = ""

    @property
    def told(self) -> str:
        """What the sweep says: why it stops, and what it takes to go on."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


def stop_reason(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], deadline: datetime | None, *, now: datetime
) -> Stop | None:
    """The first rule that ends the search, or None while it goes on."""
    late = _deadline_passed(sweep, deadline, now)
    if late is not None and any(trial.spec.repeat_of is not None and not trial.terminal for trial in trials):
        return late  # whatever had ended the search, its repeats have no more time
    return (
        _goal_reached(sweep, trials)
        or _too_many_failures(sweep, trials)
        or late
        or _plateau(sweep, trials)
        or _all_trials_launched(sweep, trials)
    )


def deadline_of(sweep: FinetuneSweep, started_at: datetime) -> datetime | None:
    """When `limits.maxDuration` ends the sweep."""
    duration = sweep.spec.limits.max_duration
    return None if duration is None else started_at + parse_duration(duration)


def evaluation_may_take(trial: FinetuneTrial) -> timedelta:
    """For how long a trial's model may give no new answer, and may go on answering after the sweep's end."""
    return MODEL_MAY_TAKE if trial.status.serving is None else DEPLOYED_MODEL_MAY_TAKE


def launched(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> int:
    """How many trials the sweep ever launched; a deleted trial was bought all the same."""
    return max([sweep.status.last_index, *(trial.spec.index for trial in trials)]) + 1


def _goal_reached(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> Stop | None:
    # The goal is one of a score alone, whatever its trial costs, or comes to on average with its repeats: a search that
    # has ended would begin anew.
    objective = sweep.spec.objective.model_copy(update={"cost_weight": 0.0})
    best = next(iter(ranked_trials(objective, trials)), None)
    if best is None or best.status.score is None or not meets_goal(objective, best.status.score):
        return None
    message = (
        f"trial {best.name} scored {best.status.score:.4g}, which meets the goal of {objective.goal:.4g}"
    )
    reached = [
        trial.status.finished_at
        for trial in trials
        if (score := usable_score(trial)) is not None
        and meets_goal(objective, score)
        and trial.status.finished_at is not None
    ]
    return Stop("GoalReached", message, cancels=True, at=min(reached, default=None))


def _too_many_failures(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> Stop | None:
    failed = [trial for trial in trials if trial.phase is TrialPhase.FAILED]
    limit = sweep.spec.limits.max_failed_trials
    if len(failed) <= limit:
        return None
    message = (
        f"{len(failed)} trial{'' if len(failed) == 1 else 's'} failed, more than limits.maxFailedTrials allows "
        f"({limit}){last_failure(failed)}"
    )
    remedy = "for the search to go on mend the cause and raise limits.maxFailedTrials"
    ends = sorted(trial.status.finished_at for trial in failed if trial.status.finished_at is not None)
    at = ends[limit] if len(ends) > limit else None
    return Stop("TooManyFailures", message, fails=True, at=at, remedy=remedy)


def last_failure(failed: Sequence[FinetuneTrial]) -> str:
    """Why the last of the trials that failed did, as the end of a sentence; "" where nobody says."""
    last = max(failed, key=lambda trial: trial.spec.index, default=None)
    if last is None or not last.status.message:
        return ""
    return f"; trial {last.name}: {last.status.message[:_CAUSE_LIMIT]}"


def _deadline_passed(sweep: FinetuneSweep, deadline: datetime | None, now: datetime) -> Stop | None:
    if deadline is None or now < deadline:
        return None
    message = f"limits.maxDuration of {sweep.spec.limits.max_duration} has passed"
    return Stop("DeadlineExceeded", message, cancels=True, at=deadline)


def _plateau(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> Stop | None:
    rule = None if sweep.spec.early_stopping is None else sweep.spec.early_stopping.plateau
    if rule is None:
        return None
    ended = sorted(
        (trial.status.finished_at, trial.spec.index, trial)
        for trial in trials
        if _counts_for_plateau(trial) and trial.status.finished_at is not None
    )
    objective = sweep.spec.objective
    sign = 1.0 if objective.sense == "Maximize" else -1.0
    best: FinetuneTrial | None = None
    bar, since = -math.inf, 0
    for _, _, trial in ended:
        value = value_of(objective, trial)
        if value is not None and (best is None or sign * value > bar):
            best, bar, since = trial, sign * value + rule.min_improvement, 0
        elif best is not None:
            since += 1
    if best is None or since < rule.trials:
        return None
    than = f" by more than {rule.min_improvement:g}" if rule.min_improvement else ""
    message = (
        f"{since} trials in a row were not better than trial {best.name} ({best.status.score:.4g}){than} "
        "(earlyStopping.plateau)"
    )
    return Stop("Plateau", message, at=ended[rule.trials - since - 1][0])


def _counts_for_plateau(trial: FinetuneTrial) -> bool:
    """A trial that a person or the sweep cancelled says nothing about the search, and a repeat is none of it."""
    return trial.terminal and trial.phase is not TrialPhase.CANCELLED and trial.spec.repeat_of is None


def trials_to_propose(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> int:
    """How many more trials the search may launch; those that `confirm` will repeat are kept back."""
    return sweep.spec.limits.max_trials - kept_back(sweep, trials) - launched(sweep, trials)


def _all_trials_launched(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> Stop | None:
    if trials_to_propose(sweep, trials) > 0:
        return None
    limit = sweep.spec.limits.max_trials
    if launched(sweep, trials) > limit:  # it was lowered
        message = f"{launched(sweep, trials)} trials were launched, and limits.maxTrials is {limit}"
        return Stop(TRIALS_COMPLETED, message)
    if sweep.spec.confirm is None:
        all_of_them = "the one trial" if limit == 1 else f"all {limit} trials"
        verb = "was" if limit == 1 else "were"
        return Stop(TRIALS_COMPLETED, f"{all_of_them} of limits.maxTrials {verb} launched")
    message = f"all trials that limits.maxTrials ({limit}) and confirm leave to the search were launched"
    return Stop(TRIALS_COMPLETED, message)
