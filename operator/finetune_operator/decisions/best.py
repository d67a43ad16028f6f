"""Which trial is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Objective


def usable_score(trial: FinetuneTrial) -> float | None:
    """The trial's score where it counts: it succeeded, and the score is a finite number."""
    score = trial.status.score
    if trial.phase is not TrialPhase.SUCCEEDED or score is None or not math.isfinite(score):
        return None
    return score


def best_trial(objective: Objective, trials: Sequence[FinetuneTrial]) -> FinetuneTrial | None:
    """The succeeded trial with the best finite score; of equal ones the one that was proposed first.

    A trial that failed, was cancelled, or has no finite score is never the best.
    """
    sign = -1.0 if objective.sense == "Maximize" else 1.0
    scored = [(score, trial) for trial in trials if (score := usable_score(trial)) is not None]
    ranked = sorted(scored, key=lambda pair: (sign * pair[0], pair[1].spec.index))
    return ranked[0][1] if ranked else None


def meets_goal(objective: Objective, score: float) -> bool:
    """Whether a score is as good as the objective's goal."""
    if objective.goal is None:
        return False
    return score >= objective.goal if objective.sense == "Maximize" else score <= objective.goal
