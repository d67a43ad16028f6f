"""Which trials to launch now."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from finetune_operator.decisions.actions import CreateTrial
from finetune_operator.decisions.best import usable_score
from finetune_operator.decisions.costs import CostModel, reserved, spent
from finetune_operator.decisions.space import build_space, point_of
from finetune_operator.decisions.stopping import Stop, launched
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.search import Observation, Proposal, SearchSpace, SearchSpaceExhausted, propose


def next_trials(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], *, costs: CostModel
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
    history = [observe(trial) for trial in trials]
    committed = spent(trials) + reserved(trials)
    creations: list[CreateTrial] = []
    for index in range(first, first + free):
        try:
            proposal = _propose(sweep, space, history)
        except SearchSpaceExhausted:
            return tuple(creations), Stop("SearchSpaceExhausted", _exhausted(space, history))
        cost = costs.estimate(proposal.point)
        stop = _over_budget(sweep, committed, cost, costs.currency)
        if stop is not None:
            return tuple(creations), stop
        committed += cost or Decimal(0)
        creations.append(CreateTrial(index, proposal, cost))
        history.append(Observation(proposal.point, "Pending"))
    return tuple(creations), None


def observe(trial: FinetuneTrial) -> Observation:
    """What the search may know of a trial."""
    point = point_of(trial)
    if not trial.terminal:
        return Observation(point, "Pending")
    score = usable_score(trial)
    return Observation(point, "Failed") if score is None else Observation(point, "Finished", score)


def _propose(sweep: FinetuneSweep, space: SearchSpace, history: Sequence[Observation]) -> Proposal:
    search = sweep.spec.search
    (proposal,) = propose(
        space,
        method=search.method,
        seed=search.seed,
        history=history,
        direction=sweep.spec.objective.sense,
        initial_trials=search.initial_trials,
    )
    return proposal


def _exhausted(space: SearchSpace, history: Sequence[Observation]) -> str:
    return f"each of the {len(history)} points of the search space has been tried (its size is {space.size})"


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
