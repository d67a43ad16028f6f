"""Which repeats `confirm` asks for, and which of them were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune_operator.decisions.best import ranked_trials
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
    wanted, made = top_trials(sweep, trials), made_repeats(sweep, trials)
    return [
        trial
        for done in range(confirm.repeats)
        for trial in wanted
        if len(made.get(trial.spec.index, ())) <= done
    ]


def kept_back(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> int:
    """How many repeats are still to come of those that are the best by now, and of as many as there may be.

    Repeats of trials that others have surpassed since, in a sweep that was continued, do not count.
    """
    confirm = sweep.spec.confirm
    if confirm is None:
        return 0
    to_come = confirm.top - len(top_trials(sweep, trials))
    return to_come * confirm.repeats + len(missing_repeats(sweep, trials))
