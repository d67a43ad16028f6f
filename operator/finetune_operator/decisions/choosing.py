"""Which trial of a sweep is the best, by the rule that its manifest chose."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.decisions.best import best_trial, confirmed_groups, is_there, usable_score
from finetune_operator.decisions.proposing import observations
from finetune_operator.decisions.space import build_space
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.search import recommend


def best_of(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> FinetuneTrial | None:
    """The best trial of a sweep.

    By `objective.bestBy`: the one with the best score, or the one of which a model of all scores expects most. Repeats
    tell more than a model: once there are any, their means decide. Trials of earlier sweeps have no say: what is taken
    over of them is a choice of the better ones.
    """
    objective = sweep.spec.objective
    highest = best_trial(objective, trials)
    if objective.best_by == "Score" or highest is None or confirmed_groups(objective, trials):
        return highest
    ordered = sorted(trials, key=lambda trial: trial.spec.index)
    ended = [trial for trial in ordered if trial.terminal]
    # A trial that was stopped early has a score for the search alone.
    among = {
        place for place, trial in enumerate(ended) if usable_score(trial) is not None and is_there(trial)
    }
    chosen = recommend(build_space(sweep.spec), observations(sweep, ended), objective.sense, among=among)
    return highest if chosen is None else ended[chosen]


def taken_for_luck(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], best: str) -> str:
    """That a trial scored better than the named one, of which a model expects more; "" where none did."""
    highest = best_trial(sweep.spec.objective, trials)
    if sweep.spec.objective.best_by == "Score" or highest is None or highest.name == best:
        return ""
    return (
        f"trial {highest.name} scored {highest.status.score:.4g}, but a model of all scores expects more of {best} "
        "(objective.bestBy)"
    )
