"""The one decision: what follows from the state of a sweep and its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

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
from finetune_operator.decisions.confirming import Repeats, next_repeats, too_late
from finetune_operator.decisions.costs import CostModel, Ledger, ledger_of, next_hour, with_counted_tokens
from finetune_operator.decisions.median import early_stops
from finetune_operator.decisions.obstacle import Obstacle
from finetune_operator.decisions.outcome import outcome
from finetune_operator.decisions.proposing import and_overspent, exceeded_limit, next_trials, overspent
from finetune_operator.decisions.repeating import as_status, made_repeats
from finetune_operator.decisions.space import build_space
from finetune_operator.decisions.starting import Defaults
from finetune_operator.decisions.status import BaselineKey, baselines_of, derived_status, money_of
from finetune_operator.decisions.stopping import (
    EVALUATION_TIMED_OUT,
    Stop,
    deadline_of,
    evaluation_may_take,
    launched,
    stop_reason,
)
from finetune_operator.resources import (
    REPORTED_METRICS,
    Condition,
    FinetuneSweep,
    FinetuneTrial,
    TrialPhase,
)
from finetune_operator.resources.sweep import Baseline
from finetune_operator.resources.sweep_status import DatasetHashes, MadeRepeats


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known beside the sweep and its trials.

    Attributes:
        costs: What trials are expected to cost.
        baselines: Base models measured since the status was written.
        deletable: Providers (by name) whose fine-tuned models can be deleted.
        datasets: Hashes of the datasets as they are now.
        defaults: What providers take for parameters that are not given.
        output_problem: Why the output could not be written; "" where it could or was not tried.
        obstacle: Why no trial can be launched; None where one can.
    """

    costs: CostModel = field(default_factory=CostModel)
    baselines: Mapping[BaselineKey, Baseline] = field(default_factory=dict)
    deletable: frozenset[str] = frozenset()
    datasets: DatasetHashes | None = None
    defaults: Defaults = field(default_factory=dict)
    output_problem: str = ""
    obstacle: Obstacle | None = None


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
    started_at = _started_at(sweep, trials, now)
    deadline = deadline_of(sweep, started_at)
    stop = stop_reason(sweep, trials, deadline, now=now)
    costs = with_counted_tokens(knowledge.costs, trials)
    ledger = ledger_of(sweep, trials, costs=costs, now=now)
    exceeded = exceeded_limit(sweep, trials, ledger)
    stop = and_overspent(stop, overspent(sweep, trials, ledger, exceeded))
    active = [trial for trial in trials if not trial.terminal]
    creations: tuple[CreateTrial, ...] = ()
    repeats = Repeats()
    if stop is None and not sweep.spec.suspend:
        creations, stop = next_trials(sweep, trials, costs=costs, ledger=ledger, defaults=knowledge.defaults)
    if stop is not None and deadline is not None and now >= deadline:
        repeats = too_late(sweep, trials, stop)
    elif stop is not None and not creations:
        repeats = next_repeats(sweep, trials, stop, costs=costs, ledger=ledger)
        creations = repeats.creations
    obstacle = _in_the_way(knowledge.obstacle, creations)
    if obstacle is not None:
        creations, repeats = (), replace(repeats, creations=(), held_back=True)
    best = best_of(sweep, trials)
    baselines = baselines_of(sweep, trials, knowledge.baselines)
    measuring = _baseline_to_measure(sweep, best, baselines)
    ended = stop is not None and not active and not creations and not repeats.held_back
    final = _final_actions(sweep, trials, best, knowledge) if ended and not measuring else ()
    finished = ended and not measuring and all(isinstance(action, WriteOutput) for action in final)

    status = derived_status(
        sweep,
        trials,
        best=best,
        baselines=baselines,
        datasets=knowledge.datasets,
        cost=money_of(_with(ledger, creations), costs, trials, exceeded=exceeded),
        started_at=started_at,
        last_index=max([launched(sweep, trials) - 1, *(each.index for each in creations)]),
        repeats=_repeats(sweep, trials, creations),
        space_size=build_space(sweep.spec).size,
    )
    phase, wanted = outcome(
        sweep,
        status,
        stop,
        trials=trials,
        finished=finished,
        repeats=repeats,
        output_problem=knowledge.output_problem,
        obstacle=obstacle,
    )
    status = status.model_copy(
        update={
            "phase": phase,
            "conditions": conditions.stamped(
                sweep.status.conditions,
                (_accepted(), *wanted),
                generation=status.observed_generation,
                now=now,
            ),
            "finished_at": (sweep.status.finished_at or now) if phase in {"Succeeded", "Failed"} else None,
        }
    )
    actions: tuple[Action, ...] = (
        *creations,
        *_cancellations(stop, active),
        *(early_stops(sweep, trials) if stop is None or not stop.cancels else ()),
        *_overdue(active, deadline, now),
        *measuring,
        *final,
    )
    return Decision(actions, status, wake_at=None if finished else _next_look(deadline, trials, now))


def _in_the_way(obstacle: Obstacle | None, creations: Sequence[CreateTrial]) -> Obstacle | None:
    return obstacle if obstacle is not None and (creations or obstacle.hides_trials) else None


def _with(ledger: Ledger, creations: Sequence[CreateTrial]) -> Ledger:
    for each in creations:
        ledger = ledger.with_reserved(each.index, each.estimated_cost or Decimal(0))
    return ledger


def _repeats(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], creations: Sequence[CreateTrial]
) -> tuple[MadeRepeats, ...] | None:
    made = made_repeats(sweep, trials)
    for each in creations:
        if each.repeat_of is not None:
            made.setdefault(each.repeat_of, set()).add(each.index)
    return as_status(made)


def _next_look(deadline: datetime | None, trials: Sequence[FinetuneTrial], now: datetime) -> datetime | None:
    moments = (deadline, next_hour(trials, now), *(_evaluation_ends(trial, deadline) for trial in trials))
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def _started_at(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], now: datetime) -> datetime:
    known = [trial.status.started_at for trial in trials if trial.status.started_at is not None]
    return sweep.status.started_at or min([*known, now])


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


def _overdue(
    active: Sequence[FinetuneTrial], deadline: datetime | None, now: datetime
) -> tuple[CancelTrial, ...]:
    """Evaluations that go on longer after the deadline than they may."""
    message = (
        "the sweep ended (limits.maxDuration), and the evaluation did not end within {hours:g} h after it"
    )
    return tuple(
        CancelTrial(
            trial.name,
            EVALUATION_TIMED_OUT,
            message.format(hours=evaluation_may_take(trial) / timedelta(hours=1)),
        )
        for trial in active
        if (due := _evaluation_ends(trial, deadline)) is not None and due <= now
    )


def _evaluation_ends(trial: FinetuneTrial, deadline: datetime | None) -> datetime | None:
    """When a trial that is evaluated must end for its sweep's deadline; None where nothing is left to say of it."""
    cancel = trial.status.cancel
    told = cancel is not None and cancel.reason == EVALUATION_TIMED_OUT
    if deadline is None or told or trial.phase is not TrialPhase.EVALUATING:
        return None
    return deadline + evaluation_may_take(trial)


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
