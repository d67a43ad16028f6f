"""A plan as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from finetune_operator.cli.forecast import Spread
from finetune_operator.cli.forecast_output import forecast_lines
from finetune_operator.cli.plan import Plan, PlannedTrial
from finetune_operator.cli.snapshot import model_text
from finetune_operator.errors import Problem
from finetune_operator.report.words import hyperparameters_text, number_text

SHAPE_HELP = """\b
With -o json one object is printed; a field that is unknown is null. Of all trials together least is
what they come to if all are like the cheapest, most if all are like the dearest, expected if they are
like the first ones on average:
  {sweep, valid, problems: [{field, message}], method, spaceSize, trials,
   datasets: {NAME: {examples, estimatedTokens}},
   tokens: {least, expected, most},
   cost: {least, expected, most, budget, currency},
   trialsWithinBudget: {fewest, expected, most},
   time: {rounds, perTrial, maxDuration},
   warmStart: {waitsFor, sweeps: [{sweep, sameData, trials}]},
   firstTrials: [{candidate, baseModel, hyperparameters, origin, cost}]}
"""


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The documented JSON; money is text."""
    spec, found = plan.sweep.spec, plan.forecast
    budget = spec.limits.budget
    money = {
        name: None if each is None else f"{each:f}"
        for name, each in _of(None if found is None else found.cost).items()
    }
    within = (None,) * 3 if found is None or found.within_budget is None else found.within_budget
    return {
        "sweep": plan.sweep.name,
        **problems_as_json(plan.problems),
        "method": spec.search.method,
        "spaceSize": plan.space_size,
        "trials": spec.limits.max_trials if found is None else found.trials,
        "datasets": {
            name: {"examples": each.examples, "estimatedTokens": each.estimated_tokens}
            for name, each in plan.datasets.items()
        },
        "tokens": {
            name: None if each is None else round(each)
            for name, each in _of(None if found is None else found.tokens).items()
        },
        "cost": {
            **money,
            "budget": None if budget is None else f"{budget.max_cost:f}",
            "currency": plan.currency,
        },
        "trialsWithinBudget": dict(zip(("fewest", "expected", "most"), within, strict=True)),
        "time": {
            "rounds": None if found is None else found.rounds,
            "perTrial": None,
            "maxDuration": spec.limits.max_duration,
        },
        "warmStart": {
            "waitsFor": plan.waits_for or None,
            "sweeps": [
                {"sweep": each.sweep, "sameData": each.same_data, "trials": len(each.observations)}
                for each in plan.sweep.status.warm_start
            ],
        },
        "firstTrials": [_trial_as_json(trial) for trial in plan.first_trials],
    }


def _of(spread: Spread | None) -> dict[str, Decimal | None]:
    if spread is None:
        return dict.fromkeys(("least", "expected", "most"))
    return {"least": spread.least, "expected": spread.expected, "most": spread.most}


def problems_as_json(problems: Sequence[Problem]) -> dict[str, Any]:
    """Whether the manifest is valid, and what is wrong with it."""
    listed = [{"field": problem.field, "message": problem.message} for problem in problems]
    return {"valid": not problems, "problems": listed}


def _trial_as_json(trial: PlannedTrial) -> dict[str, Any]:
    point = trial.proposal.point
    return {
        "candidate": point.candidate,
        "baseModel": point.base_model,
        "hyperparameters": dict(point.parameters),
        "origin": trial.proposal.origin,
        "cost": None if trial.cost is None else f"{trial.cost:f}",
    }


def plan_view(plan: Plan) -> RenderableType:
    """The plan for a person."""
    return Group(_facts(plan), Text("\nFirst trials:"), _trial_table(plan))


def _facts(plan: Plan) -> Text:
    spec = plan.sweep.spec
    limits, objective = spec.limits, spec.objective
    size = "unbounded (a parameter is continuous)" if plan.space_size is None else f"{plan.space_size} points"
    goal = "" if objective.goal is None else f", until {number_text(objective.goal)} is reached"
    trials = limits.max_trials if plan.forecast is None else plan.forecast.trials
    again = 0 if plan.forecast is None else plan.forecast.repeats
    repeats = f", {again} of them repeats of the best" if again else ""
    lines = [
        f"Sweep {plan.sweep.name} is valid; nothing was bought.",
        f"Objective:  {objective.sense} {objective.metric}{goal}",
        f"Search:     {spec.search.method}, seed {spec.search.seed}",
        f"Space:      {size}",
        f"Trials:     up to {trials}{repeats}, {limits.parallel_trials} at a time, ends after more than "
        f"{limits.max_failed_trials} failures",
    ]
    for name, data in plan.datasets.items():
        label = f"{name.capitalize()}:"
        lines.append(f"{label:<11} {data.examples} examples, about {data.estimated_tokens} tokens")
    if plan.sweep.spec.warm_start is not None:
        lines.append(f"Warm start: {_warm_start(plan)}")
    return Text("\n".join([*lines, *forecast_lines(plan)]))


def _warm_start(plan: Plan) -> str:
    if plan.waits_for:
        return f"it would wait: {plan.waits_for}"
    return ", ".join(
        f"{len(each.observations)} trials of {each.sweep} ({'the same' if each.same_data else 'other'} data)"
        for each in plan.sweep.status.warm_start
    )


def _trial_table(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("MODEL", "HYPERPARAMETERS", "CHOSEN BY"):
        table.add_column(name, overflow="fold")
    if any(trial.cost is not None for trial in plan.first_trials):
        table.add_column("COST", justify="right", no_wrap=True)
    for trial in plan.first_trials:
        point = trial.proposal.point
        cells = (
            model_text(plan.sweep, point.candidate, point.base_model),
            hyperparameters_text(point.parameters),
            trial.proposal.origin,
            "?" if trial.cost is None else f"{trial.cost:f}",
        )
        table.add_row(*map(Text, cells[: len(table.columns)]))
    return table
