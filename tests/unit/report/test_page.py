"""What a report says of sweeps of every shape."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from tests.unit.report.worlds import (
    WORLDS,
    a_sweep,
    a_trial,
    several_branches,
    usual,
)

from finetune_operator.report import Report
from finetune_operator.report.page import Page, page_of


@functools.cache
def shown(world: str) -> Page:
    """A world's page, laid out once for all tests: forests take their time."""
    return page_of(WORLDS[world]())


def facts(page: Page) -> dict[str, str]:
    return {fact.label: fact.value for fact in page.facts}


@pytest.mark.parametrize("world", WORLDS)
def test_a_sweep_of_any_shape_has_a_page(world: str) -> None:
    page = shown(world)
    assert page.name == "support-intents"
    assert "kind: FinetuneSweep" in page.manifest


def test_base_and_best_stand_side_by_side() -> None:
    page = shown("usual")
    sides = {side.label: (side.base, side.best) for side in page.sides}
    best = next(row for row in page.rows if row.is_best)
    assert sides["accuracy"] == ("0.31", f"{best.score:.4g}")
    assert sides["Model"] == ("tiny-135m", best.fine_tuned_model)
    assert best.name in sides["Trial"][1]


def test_where_the_cost_counts_the_best_trials_value_is_shown() -> None:
    report = usual()
    objective = report.sweep.spec.objective.model_copy(update={"cost_weight": 0.01})
    spec = report.sweep.spec.model_copy(update={"objective": objective})
    page = page_of(dataclasses.replace(report, sweep=report.sweep.model_copy(update={"spec": spec})))
    best = next(row for row in page.rows if row.is_best)
    assert best.score is not None
    assert best.cost is not None
    value = best.score - 0.01 * best.cost
    assert {side.label: side.best for side in page.sides}["value, with its cost"] == f"{value:.4g}"
    assert facts(page)["Objective"].endswith(", costWeight 0.01")
    assert "value, with its cost" not in {side.label for side in shown("usual").sides}


def test_the_base_score_is_that_of_the_best_trials_own_base_model() -> None:
    report = several_branches()
    best = next(row for row in shown("several-branches").rows if row.is_best)
    base_model = next(each.spec.base_model for each in report.trials if each.name == best.name)
    baselines = [
        {"provider": "elsewhere", "baseModel": base_model, "score": 0.1},
        {"provider": best.provider, "baseModel": "another", "score": 0.2},
        {"provider": best.provider, "baseModel": base_model, "score": 0.3},
    ]
    sweep = report.sweep.model_copy(update={"status": a_sweep(status={"baselines": baselines}).status})
    sides = {side.label: side.base for side in page_of(dataclasses.replace(report, sweep=sweep)).sides}
    assert sides["accuracy"] == "0.3"


def test_a_baseline_that_was_not_measured_is_called_so() -> None:
    sides = {side.label: side.base for side in shown("minimized").sides}
    assert sides["validationLoss"] == "not measured"


def test_without_a_success_there_is_no_best_one() -> None:
    page = shown("nothing-succeeded")
    assert page.sides == ()
    assert page.why_no_answers == "no trial has succeeded"
    assert facts(page)["Trials"] == (
        "5 of at most 1000: 1 Cancelled, 1 EarlyStopped, 1 Failed, 1 Stalled, 1 Succeeded"
    )


def test_a_sweep_that_has_not_begun_says_so() -> None:
    assert facts(shown("not-begun"))["Time"] == "not started"
    assert facts(shown("not-begun"))["Trials"] == "0 of at most 1000: none yet"


def test_times_and_money_have_units() -> None:
    known = facts(shown("usual"))
    assert known["Time"] == "2026-11-24 07:00 UTC to 2026-11-24 11:30 UTC (4h30m)"
    assert known["Cost"] == "44.10 USD spent"


def test_colors_tell_the_finest_groups_apart_that_there_are_colors_for() -> None:
    assert shown("several-branches").color_by == "base model"
    candidate = {"name": "many", "providerRef": {"name": "here"}, "baseModels": [f"m{i}" for i in range(9)]}
    parameters = {"epochs": {"int": {"min": 1, "max": 4}}}
    other = {"name": "other", "providerRef": {"name": "here"}, "baseModels": ["o"], "parameters": parameters}
    sweep = a_sweep((candidate | {"parameters": parameters}, other))
    trials = [
        a_trial(i, 0.5, candidate=candidate, base_model=f"m{i}", values={"epochs": 1}) for i in range(9)
    ]
    trials.append(a_trial(9, 0.5, candidate=other, values={"epochs": 1}))
    page = page_of(Report(sweep, tuple(trials), usual().now))
    assert (page.color_by, page.groups) == ("candidate", ("many", "other"))
    assert shown("usual").groups == ()


def test_costs_that_nobody_knows_have_no_currency() -> None:
    assert shown("minimized").currency is None
    assert shown("usual").currency == "USD"


def test_the_base_models_other_metrics_stand_beside_the_best_ones() -> None:
    trial = a_trial(0, 0.5, metrics={"accuracy": 0.5, "tokenF1": 0.75, "rougeL": 0.25})
    report = Report(a_sweep(), (trial,), usual().now, base_metrics={"tokenF1": 0.125})
    sides = {side.label: (side.base, side.best) for side in page_of(report).sides}
    assert sides["tokenF1"] == ("0.125", "0.75")
    assert sides["rougeL"] == ("not measured", "0.25")
