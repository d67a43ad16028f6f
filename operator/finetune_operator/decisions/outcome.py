"""What a sweep's phase and conditions are, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finetune_operator.decisions import conditions
from finetune_operator.decisions.aftermath import note_of_losses, what_became, what_becomes
from finetune_operator.decisions.choosing import taken_for_luck
from finetune_operator.decisions.confirming import passed_over, progress_of
from finetune_operator.decisions.course import Course
from finetune_operator.decisions.naming import named, trial_name
from finetune_operator.decisions.stopping import Stop
from finetune_operator.decisions.waiting import note_of_waiting, what_all_wait_for
from finetune_operator.decisions.warm_start import note_of_learning
from finetune_operator.resources import (
    BestTrial,
    Condition,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
)
from finetune_operator.resources.sweep import Objective


def outcome(
    sweep: FinetuneSweep,
    status: SweepStatus,
    course: Course,
    *,
    trials: Sequence[FinetuneTrial],
    finished: bool,
    output_problem: str,
) -> tuple[str, tuple[Condition, ...]]:
    """The phase, and the conditions that say why.

    Args:
        sweep: The sweep as it was read.
        status: Its status as it will be, without these.
        course: How its search goes on.
        trials: All its trials.
        finished: Nothing is left to do.
        output_problem: Why the output could not be written; "" where it could.
    """
    stop = course.stop
    if finished and stop is not None and output_problem:
        return "Finishing", conditions.needs_a_person("OutputRefused", output_problem)
    if finished and stop is not None:
        unnamed = "" if status.best is None else _not_named(sweep, trials, status.best.trial)
        rest = "; ".join(filter(None, (what_became(stop, trials), course.repeats.note, unnamed)))
        return _ended(sweep, status, stop, rest)
    active = [trial for trial in trials if not trial.terminal]
    return _held_up(sweep, course, active) or _going_on(sweep, status, course, trials)


def _held_up(
    sweep: FinetuneSweep, course: Course, active: Sequence[FinetuneTrial]
) -> tuple[str, tuple[Condition, ...]] | None:
    """What keeps a sweep from going on: a person, or what all its trials wait for; None where nothing does."""
    stop, obstacle = course.stop, course.obstacle
    stalled = [trial for trial in active if trial.phase is TrialPhase.STALLED]
    if obstacle is not None:
        message = "; ".join((obstacle.message, *_meanwhile(stop, active)))
        return ("Finishing" if stop else "Searching"), conditions.needs_a_person(obstacle.reason, message)
    if stalled and len(stalled) == len(active) and (stop is not None or _places_are_taken(sweep, active)):
        message = f"trial {stalled[0].name} needs a person: {stalled[0].status.message}"
        return ("Finishing" if stop else "Searching"), conditions.needs_a_person("TrialStalled", message)
    waiting = [trial for trial in active if trial.phase is TrialPhase.PENDING]
    if sweep.spec.suspend and (stop is None or waiting or course.repeats.held_back):
        running = len(active) - len(waiting)
        go_on = "1 running trial goes on" if running == 1 else f"{running} running trials go on"
        message = f"spec.suspend is true: no trial is launched, {go_on}"
        return "Suspended", conditions.in_progress("Suspended", message)
    waits = None if stop is not None and stop.cancels else what_all_wait_for(active)
    if waits is not None and (stop is not None or _places_are_taken(sweep, active)):
        message = waits[1] if stop is None else f"{stop.told}; {waits[1]}"
        return ("Finishing" if stop else "Searching"), conditions.in_progress(waits[0], message)
    return None


def _going_on(
    sweep: FinetuneSweep, status: SweepStatus, course: Course, trials: Sequence[FinetuneTrial]
) -> tuple[str, tuple[Condition, ...]]:
    """What a sweep does that is neither finished nor held up."""
    stop, repeats = course.stop, course.repeats
    active = [trial for trial in trials if not trial.terminal]
    if stop is not None and (repeats.creations or any(trial.spec.repeat_of is not None for trial in active)):
        message = f"{stop.told}; {progress_of(trials)}{note_of_waiting(active)}"
        return "Finishing", conditions.in_progress("Confirming", message)
    if stop is not None:
        launched = [trial_name(sweep, each.index) for each in course.creations]
        rest = what_becomes(stop, active, launched) or "finishing: base model, models and output"
        message = f"{stop.told}; {rest}{note_of_waiting(active)}"
        return "Finishing", conditions.in_progress(stop.reason, message)
    counts = status.trials
    message = (
        f"{counts.done} of {sweep.spec.limits.max_trials} trials have ended{note_of_losses(trials)}; "
        f"up to {sweep.spec.limits.parallel_trials} go on at a time (limits.parallelTrials)"
        f"{note_of_waiting(active)}{note_of_learning(sweep)}"
    )
    return "Searching", conditions.in_progress("Searching", message)


def _not_named(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], best: str) -> str:
    """Which trial scored better than the best one, and why it is not that; "" where none did."""
    return passed_over(sweep, trials, best) or taken_for_luck(sweep, trials, best)


def _meanwhile(stop: Stop | None, active: Sequence[FinetuneTrial]) -> Iterator[str]:
    """What goes on while a person is waited for."""
    if stop is not None:
        yield stop.told
    if active and stop is not None:
        yield what_becomes(stop, active)
    elif active:
        yield named(active, "goes on meanwhile", "go on meanwhile")


def _places_are_taken(sweep: FinetuneSweep, active: Sequence[FinetuneTrial]) -> bool:
    return len(active) >= sweep.spec.limits.parallel_trials


def _worth(best: BestTrial) -> str:
    """What the best trial is worth with its cost counted in; nothing where the cost does not count."""
    if best.value is None:
        return ""
    return f" and is worth {best.value:.4g} with its cost of {best.cost:f} (objective.costWeight)"


def _beside_base(objective: Objective, best: BestTrial) -> str:
    """What the base model scores beside the best trial, and that fine-tuning did not help where it did not."""
    if best.base_score is None:
        return ""
    gain = best.score - best.base_score if objective.sense == "Maximize" else best.base_score - best.score
    verdict = (
        "its base model"
        if gain > 0
        else "no better than its base model"
        if gain == 0
        else "worse than its base model"
    )
    return f" ({verdict}: {best.base_score:.4g})"


def _ended(
    sweep: FinetuneSweep, status: SweepStatus, stop: Stop, rest: str
) -> tuple[str, tuple[Condition, ...]]:
    why = f"the sweep ended because {stop.told}{f'; {rest}' if rest else ''}{note_of_learning(sweep)}"
    if status.best is None:
        no_trial = status.last_index < 0
        message = f"no trial {'was launched' if no_trial else 'succeeded'}; {why}"
        reason = stop.reason if stop.fails or no_trial else "NoSuccessfulTrial"
        return "Failed", conditions.needs_a_person(reason, message)
    best = status.best
    base = _beside_base(sweep.spec.objective, best)
    repeats = "1 repeat" if best.repeats == 1 else f"{best.repeats} repeats"
    mean = "" if best.mean_score is None else f", {best.mean_score:.4g} on average with {repeats}"
    message = f"best trial {best.trial} scored {best.score:.4g}{mean}{base}{_worth(best)}; {why}"
    if stop.fails:
        return "Failed", conditions.needs_a_person(stop.reason, message)
    return "Succeeded", conditions.ready(stop.reason, message)
