"""Which repeats `confirm` asks for, and which of them were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune_operator.decisions.best import confirmed_groups, is_there, ranked_trials, valued_trials
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.resources.sweep_status import MadeRepeats


def made_repeats(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> dict[int, set[int]]:
    """The numbers of the repeats that were launched, by that of the trial that they repeat.

    The status remembers those that were deleted: they were bought all the same.
    """
    made = {each.trial: set(each.repeats) for each in sweep.status.repeats or ()}
    for trial in trials:
        if trial.spec.repeat_of is not None:
            made.setdefault(trial.spec.repeat_of, set()).add(trial.spec.index)
    return made


def as_status(made: Mapping[int, set[int]]) -> tuple[MadeRepeats, ...] | None:
    """The same as the status holds it; None where there are none."""
    return tuple(MadeRepeats(trial=each, repeats=tuple(sorted(made[each]))) for each in sorted(made)) or None


def top_trials(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> list[FinetuneTrial]:
    """The trials that are to be repeated, the best first; fewer than `confirm.top` where fewer have a score."""
    if sweep.spec.confirm is None:
        return []
    # By the trials' own scores, which repeats do not change: else each repeat could call for others.
    own = [each for each in trials if each.spec.repeat_of is None]
    return ranked_trials(sweep.spec.objective, own)[: sweep.spec.confirm.top]


def missing_repeats(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> list[FinetuneTrial]:
    """The trials to repeat, once for each repeat that was never launched; the best first, round by round."""
    confirm = sweep.spec.confirm
    if confirm is None:
        return []
    made = made_repeats(sweep, trials)
    top = top_trials(sweep, trials)
    wanted = [*top, *(each for each in _later_and_better(sweep, trials, made) if each not in top)]
    return [
        trial
        for done in range(confirm.repeats)
        for trial in wanted
        if len(made.get(trial.spec.index, ())) <= done
    ]


def _later_and_better(
    sweep: FinetuneSweep,
    trials: Sequence[FinetuneTrial],
    made: Mapping[int, set[int]],
    *,
    than_first: bool = False,
) -> list[FinetuneTrial]:
    """Trials of a search that went on after its first repeats, which scored better than what those confirmed.

    Those that were there at the first repeat had their chance to be among the top. With `than_first` later repeats
    set no higher mark.
    """
    objective = sweep.spec.objective
    sign = 1.0 if objective.sense == "Maximize" else -1.0
    first = min((index for each in made.values() for index in each), default=None)
    groups = confirmed_groups(objective, trials)
    if than_first and first is not None:
        groups = {group: known for group, known in groups.items() if group < first}
    if first is None or not groups:
        return []
    return [
        trial
        for trial, value in valued_trials(objective, trials)
        if trial.spec.repeat_of is None
        and trial.spec.index > first
        and is_there(trial)
        and all(
            sign * value > sign * known.value for group, known in groups.items() if group != trial.spec.index
        )
    ]


def kept_back(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> int:
    """How many repeats are still to come of those that are the best by now, and of as many as there may be.

    Repeats of trials that others have surpassed since, in a sweep that was continued, do not count. Those of a later
    trial do, also where a repeat before them makes them needless: a search that has ended would begin anew.
    """
    confirm = sweep.spec.confirm
    if confirm is None:
        return 0
    made, top = made_repeats(sweep, trials), top_trials(sweep, trials)
    later = _later_and_better(sweep, trials, made, than_first=True)
    to_come = [*top, *(each for each in later if each not in top)]
    missing = sum(max(0, confirm.repeats - len(made.get(each.spec.index, ()))) for each in to_come)
    return (confirm.top - len(top)) * confirm.repeats + missing
