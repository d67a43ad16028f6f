"""Which trials to launch now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from finetune_operator.decisions.actions import CreateTrial
from finetune_operator.decisions.best import value_of
from finetune_operator.decisions.costs import CostModel, Ledger
from finetune_operator.decisions.space import build_space, point_of
from finetune_operator.decisions.starting import Defaults, first_proposals
from finetune_operator.decisions.stopping import BUDGET_EXHAUSTED, Stop, launched, trials_to_propose
from finetune_operator.decisions.warm_start import prior_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Objective
from finetune_operator.search import (
    Observation,
    PriorObservation,
    Proposal,
    SearchSpace,
    SearchSpaceExhausted,
    propose,
)


def next_trials(
    sweep: FinetuneSweep,
    trials: Sequence[FinetuneTrial],
    *,
    costs: CostModel,
    ledger: Ledger,
    defaults: Defaults,
) -> tuple[tuple[CreateTrial, ...], Stop | None]:
    """Fill the free places of `limits.parallelTrials`.

    Returns:
        The trials to create, and the reason why the search ends, where proposing found one.
    """
    limits = sweep.spec.limits
    active = [trial for trial in trials if not trial.terminal]
    first = launched(sweep, trials)
    free = min(limits.parallel_trials - len(active), trials_to_propose(sweep, trials))
    # While repeats take all places the end of the space is still its end: the sweep would seem to search again.
    if free <= 0 and all(trial.spec.repeat_of is None for trial in active):
        return (), over_budget(sweep, ledger.committed, Decimal(0), costs.currency)
    space = build_space(sweep.spec)
    history = observations(sweep, trials)
    committed = ledger.committed
    creations: list[CreateTrial] = []
    starts = first_proposals(sweep, space, defaults, costs)[first:]
    proposals = propose_after(
        sweep, space, history, starts=starts, prior=prior_of(sweep, costs), count=max(1, free)
    )
    for index, proposal in enumerate(proposals[: max(0, free)], start=first):
        cost = costs.estimate(proposal.point)
        stop = over_budget(sweep, committed, cost, costs.currency)
        if stop is not None:
            return tuple(creations), stop
        committed += cost or Decimal(0)
        creations.append(CreateTrial(index, proposal, cost))
    if len(proposals) < max(1, free):
        return tuple(creations), Stop(
            "SearchSpaceExhausted", _exhausted(space, len({each.point for each in history}) + len(proposals))
        )
    return tuple(creations), None


def observations(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> list[Observation]:
    """What the search may know of all trials: their scores, with their costs counted in.

    One that was stopped early counts as a bad trial rather than a failed one: like the worse quarter of those that
    have a score.
    """
    objective = sweep.spec.objective
    values = sorted(value for trial in trials if (value := value_of(objective, trial)) is not None)
    if objective.sense == "Minimize":
        values.reverse()
    poor = values[len(values) // 4] if values else None
    return [_observe(trial, objective, poor) for trial in trials]


def _observe(trial: FinetuneTrial, objective: Objective, poor: float | None) -> Observation:
    point = point_of(trial)
    if not trial.terminal:
        return Observation(point, "Pending")
    value = poor if trial.phase is TrialPhase.EARLY_STOPPED else value_of(objective, trial)
    return Observation(point, "Failed") if value is None else Observation(point, "Finished", value)


def propose_after(
    sweep: FinetuneSweep,
    space: SearchSpace,
    history: Sequence[Observation],
    *,
    starts: Sequence[Proposal],
    prior: Sequence[PriorObservation],
    count: int,
) -> tuple[Proposal, ...]:
    """Up to `count` points, `starts` first; fewer where the space has no more."""
    search = sweep.spec.search
    origins = {each.point: each.origin for each in starts}
    try:
        proposals = propose(
            space,
            method=search.method,
            seed=search.seed,
            history=history,
            direction=sweep.spec.objective.sense,
            initial_trials=search.initial_trials,
            prior=prior,
            first_points=tuple(origins),
            count=count,
        )
    except SearchSpaceExhausted:
        return ()
    return tuple(
        replace(each, origin=origins[each.point]) if each.origin == "first point" else each
        for each in proposals
    )


def _exhausted(space: SearchSpace, tried: int) -> str:
    return f"the search space has no further point (its size is {space.size}, {tried} were launched)"


def exceeded_limit(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], ledger: Ledger) -> Decimal | None:
    """The highest `maxCost` that was exceeded, for which trials that run are cancelled; None where none was.

    The status remembers it, since trials that are cancelled come to cost less than was reserved for them. Where an
    operator died before that was written their cancellations tell, since `maxCost` may be another one by now; those
    of a version that wrote it nowhere stand for the one of now.
    """
    budget, cost = sweep.spec.limits.budget, sweep.status.cost
    asked = [each.status.cancel for each in trials if each.status.cancel is not None]
    limits = [cancel.exceeded for cancel in asked if cancel.exceeded is not None]
    if cost is not None and cost.exceeded is not None:
        limits.append(cost.exceeded)
    if budget is None:
        return max(limits, default=None)
    untold = not limits and any(cancel.reason == BUDGET_EXHAUSTED for cancel in asked)
    if untold or (budget.at_limit == "CancelRunning" and ledger.committed > budget.max_cost):
        limits.append(budget.max_cost)
    return max(limits, default=None)


def overspent(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], ledger: Ledger, exceeded: Decimal | None
) -> Stop | None:
    """Why trials that run are cancelled although the search did not end so: they cost more than was reserved.

    It holds until `maxCost` is higher than what was `exceeded`, be it that none ran that could be cancelled.
    """
    budget = sweep.spec.limits.budget
    if budget is None or budget.at_limit != "CancelRunning" or exceeded is None or budget.max_cost > exceeded:
        return None
    limit = f"limits.budget.maxCost of {budget.max_cost:f} {budget.currency}"
    if ledger.committed > budget.max_cost:
        message = (
            f"{ledger.committed} {budget.currency} are spent or reserved, more than {limit} "
            "(limits.budget.atLimit: CancelRunning)"
        )
    else:
        message = (
            f"{limit} was exceeded{_cancelled_for_it(trials)} (limits.budget.atLimit: "
            f"CancelRunning); {ledger.committed} {budget.currency} are spent or reserved now"
        )
    remedy = _raise(f"more than {max(exceeded, ledger.committed)} {budget.currency}")
    return Stop(BUDGET_EXHAUSTED, message, cancels=True, exceeded=exceeded, remedy=remedy)


def _raise(to: str) -> str:
    return f"for the search to go on raise limits.budget.maxCost to {to}"


def and_overspent(stop: Stop | None, over: Stop | None) -> Stop | None:
    """Both reasons to stop as one: that a search failed is not hidden by what it cost."""
    if over is None or stop is None:
        return over or stop
    if not stop.fails:
        return over
    message, remedy = f"{stop.message}; {over.message}", f"{stop.remedy}; {over.remedy}"
    return replace(stop, message=message, cancels=True, exceeded=over.exceeded, remedy=remedy)


def _cancelled_for_it(trials: Sequence[FinetuneTrial]) -> str:
    asked = [trial for trial in trials if trial.phase is TrialPhase.CANCELLED or not trial.terminal]
    cancelled = any(
        each.status.cancel is not None and each.status.cancel.reason == BUDGET_EXHAUSTED for each in asked
    )
    return ", and trials that ran were cancelled for it" if cancelled else ""


def over_budget(sweep: FinetuneSweep, committed: Decimal, cost: Decimal | None, currency: str) -> Stop | None:
    """Why a trial of this cost may not be launched; None where it may."""
    budget = sweep.spec.limits.budget
    if budget is None or cost is None or committed + cost <= budget.max_cost:
        return None
    limit = f"limits.budget.maxCost of {budget.max_cost:f} {budget.currency}"
    if committed > budget.max_cost:
        message = f"{committed} {currency} are spent or reserved, more than {limit}"
        return Stop(BUDGET_EXHAUSTED, message, remedy=_raise(f"more than {committed} {currency}"))
    message = (
        f"the next trial is expected to cost {cost} {currency}; with {committed} {currency} spent or reserved that "
        f"would exceed {limit}"
    )
    return Stop(BUDGET_EXHAUSTED, message, remedy=_raise(f"{committed + cost} {currency} or more"))
