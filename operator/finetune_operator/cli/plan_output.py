"""A plan as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from textwrap import TextWrapper
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from finetune_operator.cli.forecast import Spread
from finetune_operator.cli.forecast_output import forecast_lines
from finetune_operator.cli.plan import Plan, PlannedTrial
from finetune_operator.cli.snapshot import model_text
from finetune_operator.errors import Problem
from finetune_operator.report.words import hyperparameters_text, number_text
from finetune_operator.resources.sweep import SweepSpec

_LABEL_WIDTH = 12

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
    return Group(_Indented(_facts(plan)), Text("\nFirst trials:"), _trial_table(plan))


class _Indented:
    """Lines of a label and its text, which goes on below itself where it is too long."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wrapper = TextWrapper(
            options.max_width,
            subsequent_indent=" " * _LABEL_WIDTH,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield Text("\n".join(wrapper.fill(line) for line in self._lines))


def _facts(plan: Plan) -> list[str]:
    spec, found = plan.sweep.spec, plan.forecast
    limits = spec.limits
    trials = limits.max_trials if found is None else found.trials
    again = 0 if found is None else found.repeats
    repeats = f", {again} of them to repeat the best" if again else ""
    lines = [
        f"Sweep {plan.sweep.name} is valid; nothing was bought.",
        f"Objective:  {_objective(plan)}",
        f"Search:     {spec.search.method}, seed {spec.search.seed}{_untried(spec, trials - again)}",
        f"Space:      {_size(plan.space_size)}",
        f"Trials:     up to {trials:,}{repeats}, {limits.parallel_trials} at a time, ends after more than "
        f"{limits.max_failed_trials} failures",
        *(f"Early stop: {each}" for each in _early_stops(spec, trials - again)),
    ]
    for name, data in plan.datasets.items():
        label = f"{name.capitalize()}:"
        lines.append(f"{label:<11} {data.examples:,} examples, about {data.estimated_tokens:,} tokens")
    if spec.warm_start is not None:
        lines.append(f"Warm start: {_warm_start(plan)}")
    return [*lines, *forecast_lines(plan)]


def _objective(plan: Plan) -> str:
    objective = plan.sweep.spec.objective
    goal = "" if objective.goal is None else f", until {number_text(objective.goal)} is reached"
    if not objective.cost_weight:
        return f"{objective.sense} {objective.metric}{goal}"
    sign = "-" if objective.sense == "Maximize" else "+"
    weight = number_text(objective.cost_weight)
    cost = f"{weight} x cost in {plan.currency} (objective.costWeight)"
    return f"{objective.sense} {objective.metric} {sign} {cost}{goal}"


def _untried(spec: SweepSpec, searched: int) -> str:
    given = len(spec.search.first_points or ())
    left = given - searched
    return f"; {left} of {given} firstPoints left untried in {searched} trials" if left > 0 else ""


def _size(points: int | None) -> str:
    if points is None:
        return "unbounded (a parameter is continuous)"
    return "1 point" if points == 1 else f"{points:,} points"


def _early_stops(spec: SweepSpec, searched: int) -> Iterator[str]:
    """What `earlyStopping` does; a rule that cannot come true in so few trials is told of."""
    rules = spec.early_stopping
    if rules is not None and rules.median is not None:
        least = rules.median.min_trials
        yield (
            f"a job that trains worse than earlier ones is cancelled, once {least} trials of its base model were "
            f"trained{_never(searched <= least, searched)} (earlyStopping.median)"
        )
    if rules is not None and rules.plateau is not None:
        least = rules.plateau.trials
        yield (
            f"the search ends when {least} trials in a row were not better than the best"
            f"{_never(searched <= least, searched)} (earlyStopping.plateau)"
        )


def _never(holds: bool, searched: int) -> str:
    return f", which {searched} trials cannot come to" if holds else ""


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
