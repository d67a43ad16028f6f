"""A plan as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from finetune_operator.cli.plan import Plan, PlannedTrial
from finetune_operator.cli.snapshot import model_text
from finetune_operator.errors import Problem
from finetune_operator.report.words import hyperparameters_text, number_text

SHAPE_HELP = """\b
With -o json one object is printed; a field that is unknown is null:
  {sweep, valid, problems: [{field, message}], method, spaceSize, trials,
   datasets: {NAME: {examples, estimatedTokens}},
   cost: {expected, budget, currency},
   firstTrials: [{candidate, baseModel, hyperparameters, origin, cost}]}
"""


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The documented JSON; money is text."""
    spec = plan.sweep.spec
    budget, expected = spec.limits.budget, plan.expected_cost
    return {
        "sweep": plan.sweep.name,
        **problems_as_json(plan.problems),
        "method": spec.search.method,
        "spaceSize": plan.space_size,
        "trials": plan.trials,
        "datasets": {
            name: {"examples": each.examples, "estimatedTokens": each.estimated_tokens}
            for name, each in plan.datasets.items()
        },
        "cost": {
            "expected": None if expected is None else f"{expected:f}",
            "budget": None if budget is None else f"{budget.max_cost:f}",
            "currency": plan.currency,
        },
        "firstTrials": [_trial_as_json(trial) for trial in plan.first_trials],
    }


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
    lines = [
        f"Sweep {plan.sweep.name} is valid; nothing was bought.",
        f"Objective:  {objective.sense} {objective.metric}{goal}",
        f"Search:     {spec.search.method}, seed {spec.search.seed}",
        f"Space:      {size}",
        f"Trials:     up to {plan.trials}, {limits.parallel_trials} at a time, ends after more than "
        f"{limits.max_failed_trials} failures",
    ]
    if limits.max_duration is not None:
        lines.append(f"Duration:   at most {limits.max_duration}")
    for name, data in plan.datasets.items():
        label = f"{name.capitalize()}:"
        lines.append(f"{label:<11} {data.examples} examples, about {data.estimated_tokens} tokens")
    lines.append(f"Cost:       {_cost(plan)}")
    return Text("\n".join(lines))


def _cost(plan: Plan) -> str:
    budget, expected = plan.sweep.spec.limits.budget, plan.expected_cost
    limit = "" if budget is None else f", limited to {budget.max_cost:f} {budget.currency} by limits.budget"
    if expected is None:
        return f"unknown: not every price is given{limit}"
    return f"about {expected:f} {plan.currency} for all trials{limit}"


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
