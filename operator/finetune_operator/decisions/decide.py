"""The one decision: what follows from the state of a sweep and its trials."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from finetune_operator.decisions import conditions
from finetune_operator.decisions.actions import (
    Action,
    CancelTrial,
    CreateTrial,
    Decision,
    DeleteModel,
    MeasureBaseline,
    WriteOutput,
)
from finetune_operator.decisions.aftermath import is_cancelled_by
from finetune_operator.decisions.best import is_there
from finetune_operator.decisions.choosing import best_of
from finetune_operator.decisions.costs import next_hour
from finetune_operator.decisions.course import course_of
from finetune_operator.decisions.knowledge import Knowledge
from finetune_operator.decisions.median import early_stops
from finetune_operator.decisions.outcome import outcome
from finetune_operator.decisions.overdue import evaluation_ends, overdue
from finetune_operator.decisions.repeating import as_status, made_repeats
from finetune_operator.decisions.space import build_space
from finetune_operator.decisions.status import baselines_of, derived_status, money_of
from finetune_operator.decisions.stopping import Stop, launched
from finetune_operator.resources import (
    REPORTED_METRICS,
    Condition,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
)
from finetune_operator.resources.sweep import Baseline
from finetune_operator.resources.sweep_status import MadeRepeats


def decide(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], knowledge: Knowledge, *, now: datetime
) -> Decision:
    """Decide what to do next for an accepted sweep.

    Args:
        sweep: The sweep as it was read.
        trials: All its trials.
        knowledge: What is known beside them.
        now: The time, timezone-aware.

    Returns:
        The actions, the status and the time of the next look.
    """
    trials = sorted(trials, key=lambda trial: trial.spec.index)
    course = course_of(sweep, trials, knowledge, now=now)
    stop, deadline = course.stop, course.deadline
    active = [trial for trial in trials if not trial.terminal]
    best = best_of(sweep, trials)
    baselines = baselines_of(sweep, trials, knowledge.baselines)
    measuring = _baseline_to_measure(sweep, best, baselines)
    ended = stop is not None and not active and not course.creations and not course.repeats.held_back
    final = _final_actions(sweep, trials, best, knowledge) if ended and not measuring else ()
    finished = ended and not measuring and all(isinstance(action, WriteOutput) for action in final)
    status = derived_status(
        sweep,
        trials,
        best=best,
        baselines=baselines,
        datasets=knowledge.datasets,
        cost=money_of(course.ledger, course.costs, trials, exceeded=course.exceeded),
        started_at=course.started_at,
        last_index=max([launched(sweep, trials) - 1, *(each.index for each in course.creations)]),
        repeats=_repeats(sweep, trials, course.creations),
        space_size=build_space(sweep.spec).size,
    )
    phase, wanted = outcome(
        sweep,
        status,
        course,
        trials=trials,
        finished=finished,
        output_problem=knowledge.output_problem,
    )
    actions: tuple[Action, ...] = (
        *course.creations,
        *_cancellations(stop, active),
        *(early_stops(sweep, trials) if stop is None or not stop.cancels else ()),
        *overdue(active, deadline, now),
        *measuring,
        *final,
    )
    wake_at = None if finished else _next_look(deadline, trials, now)
    return Decision(actions, _concluded(sweep, status, phase, wanted, now=now), wake_at=wake_at)


def _concluded(
    sweep: FinetuneSweep,
    status: SweepStatus,
    phase: str,
    wanted: Sequence[Condition],
    *,
    now: datetime,
) -> SweepStatus:
    """A status with its phase, and with conditions that keep the time of their last transition."""
    stamped = conditions.stamped(
        sweep.status.conditions, (_accepted(), *wanted), generation=status.observed_generation, now=now
    )
    finished_at = (sweep.status.finished_at or now) if phase in {"Succeeded", "Failed"} else None
    return status.model_copy(update={"phase": phase, "conditions": stamped, "finished_at": finished_at})


def _repeats(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], creations: Sequence[CreateTrial]
) -> tuple[MadeRepeats, ...] | None:
    made = made_repeats(sweep, trials)
    for each in creations:
        if each.repeat_of is not None:
            made.setdefault(each.repeat_of, set()).add(each.index)
    return as_status(made)


def _next_look(deadline: datetime | None, trials: Sequence[FinetuneTrial], now: datetime) -> datetime | None:
    moments = (deadline, next_hour(trials, now), *(evaluation_ends(trial, deadline) for trial in trials))
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def _accepted() -> Condition:
    return conditions.condition(
        "Accepted", True, reason="Valid", message="the manifest, its providers and its datasets were checked"
    )


def _cancellations(stop: Stop | None, active: Sequence[FinetuneTrial]) -> tuple[CancelTrial, ...]:
    if stop is None or not stop.cancels:
        return ()
    return tuple(
        CancelTrial(trial.name, stop.reason, f"the sweep ended: {stop.message}", stop.exceeded)
        for trial in active
        if trial.status.cancel is None and is_cancelled_by(stop, trial)
    )


def _baseline_to_measure(
    sweep: FinetuneSweep, best: FinetuneTrial | None, baselines: Sequence[Baseline]
) -> tuple[MeasureBaseline, ...]:
    if best is None or sweep.spec.objective.metric in REPORTED_METRICS:
        return ()
    wanted = (best.spec.provider_ref.name, best.spec.base_model)
    if any((each.provider, each.base_model) == wanted for each in baselines):
        return ()
    return (MeasureBaseline(best.spec.candidate, best.spec.base_model),)


def _final_actions(
    sweep: FinetuneSweep,
    trials: Sequence[FinetuneTrial],
    best: FinetuneTrial | None,
    knowledge: Knowledge,
) -> tuple[DeleteModel | WriteOutput, ...]:
    if best is None or knowledge.output_problem:
        return ()
    actions: list[DeleteModel | WriteOutput] = []
    if sweep.spec.output is not None and is_there(best):
        # Of a sweep that was continued the output names an earlier model: it changes before that is deleted.
        actions.append(WriteOutput(sweep.spec.output.config_map))
    if sweep.spec.keep_models == "Best":
        actions += [
            DeleteModel(trial.name)
            for trial in trials
            if trial.name != best.name
            and trial.status.fine_tuned_model
            and trial.status.fine_tuned_model != best.status.fine_tuned_model  # two may have adopted one job
            and trial.status.model_deleted is None
            and trial.spec.provider_ref.name in knowledge.deletable
        ]
    return tuple(actions)
