"""A sweep's status, derived from its trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from finetune_operator.decisions import conditions
from finetune_operator.decisions.best import confirmed_groups, cost_of, group_of, value_of
from finetune_operator.decisions.costs import CostModel, Ledger
from finetune_operator.errors import Problem
from finetune_operator.resources import (
    REPORTED_METRICS,
    BestTrial,
    Condition,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
)
from finetune_operator.resources.sweep import Baseline, Objective, SweepCost, TrialCounts
from finetune_operator.resources.sweep_status import DatasetHashes, MadeRepeats

BaselineKey = tuple[str, str]
"""Provider and base model."""

MOST_SCOPES = 16
"""As many as the status holds; a restore adds none, unless the sweep came back without trials and without status."""

_RUNNING = frozenset({TrialPhase.SUBMITTING, TrialPhase.TRAINING, TrialPhase.EVALUATING})
_CANCELLED = frozenset({TrialPhase.CANCELLED, TrialPhase.EARLY_STOPPED})


def count(trials: Sequence[FinetuneTrial]) -> TrialCounts:
    """Trials by what became of them."""
    phases = Counter(trial.phase for trial in trials)
    return TrialCounts(
        total=len(trials),
        pending=phases[TrialPhase.PENDING],
        running=sum(phases[phase] for phase in _RUNNING),
        done=sum(trial.terminal for trial in trials),
        succeeded=phases[TrialPhase.SUCCEEDED],
        failed=phases[TrialPhase.FAILED],
        cancelled=sum(phases[phase] for phase in _CANCELLED),
        stalled=phases[TrialPhase.STALLED],
    )


def baselines_of(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], measured: Mapping[BaselineKey, Baseline]
) -> tuple[Baseline, ...]:
    """What base models score, from the status, from new measurements and from trainers' reports."""
    known = {(each.provider, each.base_model): each for each in sweep.status.baselines}
    known.update(measured)
    metric = sweep.spec.objective.metric
    if metric in REPORTED_METRICS:
        for trial in trials:
            key = (trial.spec.provider_ref.name, trial.spec.base_model)
            start = next((point for point in trial.status.series if point.step == 0), None)
            if key not in known and start is not None and metric in start.values:
                known[key] = Baseline(provider=key[0], base_model=key[1], score=start.values[metric])
    return tuple(known[key] for key in sorted(known))


def summarise_best(
    objective: Objective,
    trial: FinetuneTrial,
    baselines: Sequence[Baseline],
    trials: Sequence[FinetuneTrial] = (),
) -> BestTrial:
    """The best trial as the status shows it; `trials` are all, its repeats among them."""
    confirmed = confirmed_groups(objective, trials).get(group_of(trial))
    provider, base_model = trial.spec.provider_ref.name, trial.spec.base_model
    value = value_of(objective, trial)
    base = next(
        (each for each in baselines if (each.provider, each.base_model) == (provider, base_model)), None
    )
    return BestTrial(
        trial=trial.name,
        candidate=trial.spec.candidate,
        provider=provider,
        base_model=base_model,
        fine_tuned_model=trial.status.fine_tuned_model,
        score=trial.status.score if trial.status.score is not None else float("nan"),
        base_score=None if base is None else base.score,
        mean_score=None if confirmed is None else confirmed.mean,
        repeats=None if confirmed is None else confirmed.repeats,
        value=float(f"{value:.12g}") if objective.cost_weight and value is not None else None,
        cost=cost_of(trial) if objective.cost_weight else None,
        hyperparameters=dict(trial.spec.hyperparameters),
    )


def data_scopes(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> tuple[str, ...]:
    """The names of what was uploaded, as far as the status and the trials tell; the oldest first."""
    scopes = dict.fromkeys(sweep.status.data_scopes)
    scopes |= dict.fromkeys(each.spec.data_scope for each in trials if each.spec.data_scope is not None)
    return tuple(scopes)[:MOST_SCOPES]


def derived_status(  # noqa: PLR0913 - nearly all of them by keyword
    sweep: FinetuneSweep,
    trials: Sequence[FinetuneTrial],
    *,
    best: FinetuneTrial | None,
    baselines: Sequence[Baseline],
    datasets: DatasetHashes | None,
    cost: SweepCost | None,
    started_at: datetime,
    last_index: int,
    repeats: tuple[MadeRepeats, ...] | None,
    space_size: int | None,
) -> SweepStatus:
    """Everything of the status that does not depend on why the sweep goes on or ends."""
    return SweepStatus(
        observed_generation=sweep.metadata.generation or 0,
        trials=count(trials),
        best=None if best is None else summarise_best(sweep.spec.objective, best, baselines, trials),
        best_score=None if best is None else f"{best.status.score:.4g}",
        baselines=tuple(baselines),
        datasets=sweep.status.datasets or datasets,
        data_scopes=data_scopes(sweep, trials),
        cost=cost,
        spent=None if cost is None else f"{cost.spent:f} {cost.currency}",
        space_size="unbounded" if space_size is None else str(space_size),
        warm_start=sweep.status.warm_start,
        last_index=last_index,
        repeats=repeats,
        started_at=started_at,
    )


def money_of(
    ledger: Ledger,
    costs: CostModel,
    trials: Sequence[FinetuneTrial] = (),
    *,
    exceeded: Decimal | None = None,
) -> SweepCost | None:
    """The ledger as the status shows it, with what stopping `trials` early saved; None where nothing has a price.

    `exceeded` is the limit for which running trials were cancelled.
    """
    if not costs.prices and ledger.committed == 0:
        return None
    return SweepCost(
        reserved=ledger.reserved,
        spent=ledger.spent,
        currency=costs.currency,
        per_trial=ledger.per_trial,
        saved=_saved(trials),
        exceeded=exceeded,
    )


def _saved(trials: Sequence[FinetuneTrial]) -> Decimal | None:
    left = [
        max(Decimal(0), trial.spec.estimated_cost - trial.status.cost)
        for trial in trials
        if trial.phase is TrialPhase.EARLY_STOPPED
        and trial.spec.estimated_cost is not None
        and trial.status.cost is not None
    ]
    return sum(left, Decimal(0)) if left else None


def refused_status(
    known: SweepStatus, generation: int, problems: Sequence[Problem], *, now: datetime
) -> SweepStatus:
    """The status of a sweep that asks for something that is not allowed, or cannot even be read.

    Args:
        known: Its status so far.
        generation: The generation that was judged.
        problems: What is wrong with it.
        now: The time of a condition that changes.
    """
    message = "; ".join(str(problem) for problem in problems)
    wanted = (
        conditions.condition("Accepted", False, reason="InvalidSpec", message=message),
        *conditions.needs_a_person("InvalidSpec", message),
    )
    return _with_conditions(known, generation, "Pending", wanted, now=now)


def validating_status(sweep: FinetuneSweep, reason: str, message: str, *, now: datetime) -> SweepStatus:
    """The status of a sweep that is still being checked, or cannot be checked for now."""
    accepted = sweep.status.condition("Accepted")
    if accepted is None or accepted.status != "True":
        accepted = conditions.condition("Accepted", False, reason=reason, message=message)
    wanted = (accepted, *conditions.in_progress(reason, message))
    # A finished sweep that was edited is not finished any more.
    phase = "Searching" if sweep.status.finished else sweep.status.phase or "Pending"
    return _with_conditions(sweep.status, sweep.metadata.generation or 0, phase, wanted, now=now)


def deleting_status(sweep: FinetuneSweep, message: str, *, now: datetime) -> SweepStatus:
    """The status of a sweep that is deleted and waits for what its trials hold."""
    accepted = sweep.status.condition("Accepted")
    wanted = (*(() if accepted is None else (accepted,)), *conditions.in_progress("Deleting", message))
    phase = sweep.status.phase or "Pending"
    return _with_conditions(sweep.status, sweep.metadata.generation or 0, phase, wanted, now=now)


def _with_conditions(
    known: SweepStatus, generation: int, phase: str, wanted: Sequence[Condition], *, now: datetime
) -> SweepStatus:
    stamped = conditions.stamped(known.conditions, wanted, generation=generation, now=now)
    return known.model_copy(update={"observed_generation": generation, "phase": phase, "conditions": stamped})
