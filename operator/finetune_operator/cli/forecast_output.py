"""What a sweep may come to, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finetune_operator.cli.forecast import Estimate, Forecast, Spread
from finetune_operator.cli.plan import Plan
from finetune_operator.cli.snapshot import model_text
from finetune_operator.resources.sweep import Limits

_NAMED_AT_MOST = 3


def forecast_lines(plan: Plan) -> Iterator[str]:
    """Tokens, cost, budget and time of the whole sweep, each with its range."""
    found = plan.forecast
    if found is None:
        return
    limits = plan.sweep.spec.limits
    if found.tokens is not None:
        yield f"Tokens:     {_tokens(found.tokens)}"
    yield f"Cost:       {_cost(plan, found)}"
    if limits.budget is not None:
        yield f"Budget:     {limits.budget.max_cost:f} {limits.budget.currency} (limits.budget){_budget(plan, found)}"
    yield f"Time:       {_time(found, limits)}"


def _tokens(spread: Spread) -> str:
    ends = "" if spread.least == spread.most else f"; from {spread.least:,.0f} to {spread.most:,.0f}"
    return f"about {spread.expected:,.0f} trained in all trials{ends}"


def _cost(plan: Plan, found: Forecast) -> str:
    missing = _some(plan.missing_prices)
    if found.cost is None:
        return (
            f"unknown: there is no price in {plan.currency} of {missing} (spec.prices of a FinetuneProvider)"
        )
    ends = ""
    if found.cost.least != found.cost.most and found.cheapest and found.dearest:
        ends = (
            f"; {found.cost.least:.2f} if all are like {_trial(plan, found.cheapest)}, "
            f"{found.cost.most:.2f} if like {_trial(plan, found.dearest)}"
        )
    without = f"; without {missing}, of which no price in {plan.currency} is given" if missing else ""
    return f"about {found.cost.expected:.2f} {plan.currency} for all trials{ends}{without}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _trial(plan: Plan, each: Estimate) -> str:
    model = model_text(plan.sweep, each.candidate, each.base_model)
    return model if each.epochs is None else f"{model} with epochs={each.epochs}"


def _budget(plan: Plan, found: Forecast) -> str:
    if found.within_budget is None:
        return ""
    fewest, expected, most = found.within_budget
    if fewest >= found.trials:
        return ": enough for all trials"
    if not most:
        (cost, *_) = (each.cost for each in plan.first_trials)
        return f": too little for the first trial, which is expected to cost {cost}; none would be launched"
    if fewest == most:
        return f": used up after {fewest} of {found.trials} trials"
    return (
        f": used up after about {expected} of {found.trials} trials (after {fewest} if the later ones are dear, "
        f"{most} if they are cheap)"
    )


def _time(found: Forecast, limits: Limits) -> str:
    rounds = "1 round" if found.rounds == 1 else f"{found.rounds} rounds"
    at_most = "" if limits.max_duration is None else f"; at most {limits.max_duration} (limits.maxDuration)"
    return f"{rounds} of trials; how long one takes no provider tells beforehand{at_most}"
