"""Which trial is the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Objective


def usable_score(trial: FinetuneTrial) -> float | None:
    """The trial's score where it counts: it succeeded, and the score is a finite number."""
    score = trial.status.score
    if trial.phase is not TrialPhase.SUCCEEDED or score is None or not math.isfinite(score):
        return None
    return score


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What is known of a point that was trained more than once.

    Attributes:
        mean: Mean of the scores of the trial and its repeats.
        repeats: How many repeats have a score.
    """

    mean: float
    repeats: int


def ranked_trials(objective: Objective, trials: Sequence[FinetuneTrial]) -> list[FinetuneTrial]:
    """Trials by their own score, the best first; of equal ones the one that was proposed first.

    A trial that failed, was cancelled, or has no finite score is left out.
    """
    sign = -1.0 if objective.sense == "Maximize" else 1.0
    scored = [(score, trial) for trial in trials if (score := usable_score(trial)) is not None]
    return [trial for _, trial in sorted(scored, key=lambda pair: (sign * pair[0], pair[1].spec.index))]


def best_trial(objective: Objective, trials: Sequence[FinetuneTrial]) -> FinetuneTrial | None:
    """The succeeded trial with the best finite score; of equal ones the one that was proposed first.

    Once trials were repeated, only those count: the best mean of a trial and its repeats wins, and of these the one
    with the best score is named.
    """
    ranked = ranked_trials(objective, trials)
    means = {group: each.mean for group, each in confirmed_groups(trials).items()}
    if not means:
        return ranked[0] if ranked else None
    sign = -1.0 if objective.sense == "Maximize" else 1.0
    group = min(means, key=lambda each: (sign * means[each], each))
    return next(trial for trial in ranked if group_of(trial) == group)


def group_of(trial: FinetuneTrial) -> int:
    """The index of the trial that this one repeats, or its own."""
    return trial.spec.index if trial.spec.repeat_of is None else trial.spec.repeat_of


def confirmed_groups(trials: Sequence[FinetuneTrial]) -> dict[int, Confirmed]:
    """What is known of each trial that has a repeat with a score, by the trial's index."""
    scores: dict[int, list[float]] = {}
    repeats: Counter[int] = Counter()
    for trial in trials:
        score = usable_score(trial)
        if score is not None:
            scores.setdefault(group_of(trial), []).append(score)
            repeats[group_of(trial)] += trial.spec.repeat_of is not None
    return {group: Confirmed(fmean(scores[group]), count) for group, count in repeats.items() if count}


def meets_goal(objective: Objective, score: float) -> bool:
    """Whether a score is as good as the objective's goal."""
    if objective.goal is None:
        return False
    return score >= objective.goal if objective.sense == "Maximize" else score <= objective.goal
