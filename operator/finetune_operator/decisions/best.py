"""Which trial is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

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


def best_trial(objective: Objective, trials: Sequence[FinetuneTrial]) -> FinetuneTrial | None:
    """The succeeded trial with the best value (its score, less its cost); of equal ones the one proposed first.

    A trial that failed, was cancelled, or has no finite score is never the best.
    """
    sign = -1.0 if objective.sense == "Maximize" else 1.0
    scored = [(value, trial) for trial in trials if (value := value_of(objective, trial)) is not None]
    ranked = sorted(scored, key=lambda pair: (sign * pair[0], pair[1].spec.index))
    return ranked[0][1] if ranked else None


def meets_goal(objective: Objective, score: float) -> bool:
    """Whether a score is as good as the objective's goal."""
    if objective.goal is None:
        return False
    return score >= objective.goal if objective.sense == "Maximize" else score <= objective.goal
