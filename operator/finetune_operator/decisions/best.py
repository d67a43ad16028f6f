"""Which trial is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean

from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Objective


def usable_score(trial: FinetuneTrial) -> float | None:
    """The trial's score where it counts: it succeeded, and the score is a finite number."""
    score = trial.status.score
    if trial.phase is not TrialPhase.SUCCEEDED or score is None or not math.isfinite(score):
        return None
    return score


def worth(objective: Objective, score: float, cost: Decimal) -> float:
    """What is maximised or minimised: the score with `objective.costWeight` times the cost counted against it."""
    against = objective.cost_weight * float(cost)
    return score - against if objective.sense == "Maximize" else score + against


def cost_of(trial: FinetuneTrial) -> Decimal:
    """What a trial cost; until that is known, what it was expected to. Without any price it counts as free."""
    known = trial.spec.estimated_cost if trial.status.cost is None else trial.status.cost
    return Decimal(0) if known is None else known


def value_of(objective: Objective, trial: FinetuneTrial) -> float | None:
    """The trial's score with its cost counted in, where the score counts."""
    score = usable_score(trial)
    return None if score is None else worth(objective, score, cost_of(trial))


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What is known of a point that was trained more than once.

    Attributes:
        mean: Mean of the scores of the trial and its repeats.
        value: The same with their costs counted in.
        repeats: How many repeats have a score.
    """

    mean: float
    value: float
    repeats: int


def valued_trials(objective: Objective, trials: Sequence[FinetuneTrial]) -> list[tuple[FinetuneTrial, float]]:
    """Trials with their own value (score, less cost), the best first; of equal ones the one proposed first.

    A trial that failed, was cancelled, or has no finite score is left out.
    """
    sign = -1.0 if objective.sense == "Maximize" else 1.0
    valued = [(trial, value) for trial in trials if (value := value_of(objective, trial)) is not None]
    return sorted(valued, key=lambda pair: (sign * pair[1], pair[0].spec.index))


def ranked_trials(objective: Objective, trials: Sequence[FinetuneTrial]) -> list[FinetuneTrial]:
    """The same trials in the same order, without their values."""
    return [trial for trial, _ in valued_trials(objective, trials)]


def best_trial(objective: Objective, trials: Sequence[FinetuneTrial]) -> FinetuneTrial | None:
    """The succeeded trial with the best value (its score, less its cost); of equal ones the one proposed first.

    Once trials were repeated, only those count: the best mean of a trial and its repeats wins, and of these the one
    with the best value is named. A trial whose model was deleted, as by an earlier end of the sweep, is named only
    where no other has one.
    """
    ranked = ranked_trials(objective, trials)
    ranked = [trial for trial in ranked if is_there(trial)] or ranked
    means = {
        group: each.value
        for group, each in confirmed_groups(objective, trials).items()
        if any(group_of(trial) == group for trial in ranked)
    }
    if not means:
        return ranked[0] if ranked else None
    sign = -1.0 if objective.sense == "Maximize" else 1.0
    group = min(means, key=lambda each: (sign * means[each], each))
    return next(trial for trial in ranked if group_of(trial) == group)


def is_there(trial: FinetuneTrial) -> bool:
    """Whether the trial's model was not deleted as one that nobody needs (`keepModels: Best`)."""
    return trial.status.model_deleted is not True


def group_of(trial: FinetuneTrial) -> int:
    """The index of the trial that this one repeats, or its own."""
    return trial.spec.index if trial.spec.repeat_of is None else trial.spec.repeat_of


def confirmed_groups(objective: Objective, trials: Sequence[FinetuneTrial]) -> dict[int, Confirmed]:
    """What is known of each trial that has a repeat with a score, by the trial's index."""
    groups: dict[int, list[FinetuneTrial]] = {}
    for trial in ranked_trials(objective, trials):
        groups.setdefault(group_of(trial), []).append(trial)
    return {
        group: Confirmed(
            fmean(each.status.score or 0.0 for each in members),
            fmean(value_of(objective, each) or 0.0 for each in members),
            repeats,
        )
        for group, members in groups.items()
        if (repeats := sum(each.spec.repeat_of is not None for each in members))
    }


def meets_goal(objective: Objective, score: float) -> bool:
    """Whether a score is as good as the objective's goal."""
    if objective.goal is None:
        return False
    return score >= objective.goal if objective.sense == "Maximize" else score <= objective.goal
