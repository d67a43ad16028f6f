"""What a sweep may come to, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from finetune_operator.cli.forecast import Estimate, Forecast, Spread
from finetune_operator.cli.plan import Plan
from finetune_operator.resources.sweep import Limits


def forecast_lines(plan: Plan) -> Iterator[str]:
    """Tokens, cost, budget and time of the whole sweep, each with its range."""
    found = plan.forecast
    if found is None:
        return
    limits = plan.sweep.spec.limits
    if found.tokens is not None:
        yield f"Tokens:     {_tokens(found.tokens)}"
    yield f"Cost:       {_cost(found, plan.currency)}"
    if limits.budget is not None:
        yield f"Budget:     {limits.budget.max_cost:f} {limits.budget.currency} (limits.budget){_budget(found)}"
    yield f"Time:       {_time(found, limits)}"


def _tokens(spread: Spread) -> str:
    ends = "" if spread.least == spread.most else f"; from {spread.least:,.0f} to {spread.most:,.0f}"
    return f"about {spread.expected:,.0f} trained in all trials{ends}"


def _cost(found: Forecast, currency: str) -> str:
    if found.cost is None:
        return "unknown: not every price is given"
    ends = ""
    if found.cost.least != found.cost.most and found.cheapest and found.dearest:
        ends = (
            f"; {found.cost.least:.2f} if all are like {_trial(found.cheapest)}, "
            f"{found.cost.most:.2f} if like {_trial(found.dearest)}"
        )
    return f"about {found.cost.expected:.2f} {currency} for all trials{ends}"


def _trial(each: Estimate) -> str:
    return each.base_model if each.epochs is None else f"{each.base_model} with epochs={each.epochs}"


def _budget(found: Forecast) -> str:
    if found.within_budget is None:
        return ""
    fewest, expected, most = found.within_budget
    if fewest >= found.trials:
        return ": enough for all trials"
    if fewest == most:
        return f": used up after {fewest} of {found.trials} trials"
    return (
        f": used up after about {expected} of {found.trials} trials ({fewest} dear ones, {most} cheap ones)"
    )


def _time(found: Forecast, limits: Limits) -> str:
    rounds = "1 round" if found.rounds == 1 else f"{found.rounds} rounds"
    at_most = "" if limits.max_duration is None else f"; at most {limits.max_duration} (limits.maxDuration)"
    return f"{rounds} of trials; how long one takes no provider tells beforehand{at_most}"
