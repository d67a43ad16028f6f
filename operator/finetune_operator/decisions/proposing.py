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
from finetune_operator.decisions.stopping import Stop, launched
from finetune_operator.decisions.warm_start import prior_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
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
    active = sum(not trial.terminal for trial in trials)
    first = launched(sweep, trials)
    free = min(limits.parallel_trials - active, limits.max_trials - first)
    if free <= 0:
        return (), None
    space = build_space(sweep.spec)
    history = [observe(trial, sweep.spec.objective) for trial in trials]
    committed = ledger.committed
    creations: list[CreateTrial] = []
    starts = first_proposals(sweep, space, defaults, costs)[first:]
    proposals = propose_after(sweep, space, history, starts=starts, prior=prior_of(sweep, costs), count=free)
    for index, proposal in enumerate(proposals, start=first):
        cost = costs.estimate(proposal.point)
        stop = _over_budget(sweep, committed, cost, costs.currency)
        if stop is not None:
            return tuple(creations), stop
        committed += cost or Decimal(0)
        creations.append(CreateTrial(index, proposal, cost))
    if len(proposals) < free:
        return tuple(creations), Stop(
            "SearchSpaceExhausted", _exhausted(space, len(history) + len(proposals))
        )
    return tuple(creations), None


def observe(trial: FinetuneTrial, objective: Objective) -> Observation:
    """What the search may know of a trial: its score, with the cost counted in."""
    point = point_of(trial)
    if not trial.terminal:
        return Observation(point, "Pending")
    value = value_of(objective, trial)
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


def _over_budget(
    sweep: FinetuneSweep, committed: Decimal, cost: Decimal | None, currency: str
) -> Stop | None:
    budget = sweep.spec.limits.budget
    if budget is None or cost is None or committed + cost <= budget.max_cost:
        return None
    message = (
        f"the next trial is expected to cost {cost} {currency}; with {committed} {currency} spent or reserved "
        f"that would exceed limits.budget.maxCost of {budget.max_cost} {budget.currency}"
    )
    return Stop("BudgetExhausted", message)
