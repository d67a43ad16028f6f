"""`finetune plan`: what a whole sweep would come to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.cli.conftest import Cli
from tests.unit.cli.planning import documents_of, plan, price


@pytest.fixture
def files(manifest: dict[str, Any]) -> dict[str, Any]:
    """Documents by file name, to be edited."""
    return documents_of(manifest)


def test_the_cost_follows_price_tokens_and_epochs(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 2, "max": 2}}}
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    tokens = shown["datasets"]["training"]["estimatedTokens"]
    assert [trial["cost"] for trial in shown["firstTrials"]] == [f"{2 * tokens}.00"] * 2
    assert shown["cost"]["expected"] == f"{2 * 2 * tokens}.00"


def test_the_whole_sweep_is_forecast_from_the_cheapest_to_the_dearest_point(
    cli: Cli, files: dict[str, Any]
) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"]["epochs"] = {"int": {"min": 1, "max": 4}}
    files["sweep.yaml"]["spec"]["limits"] |= {
        "maxTrials": 10,
        "parallelTrials": 4,
        "budget": {"maxCost": "5000.00"},
        "maxDuration": "48h",
    }
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    tokens = shown["datasets"]["training"]["estimatedTokens"]
    assert (shown["tokens"]["least"], shown["tokens"]["most"]) == (10 * tokens, 40 * tokens)
    assert (shown["cost"]["least"], shown["cost"]["most"]) == (f"{10 * tokens}.00", f"{40 * tokens}.00")
    epochs = [trial["hyperparameters"]["epochs"] for trial in shown["firstTrials"]]
    assert float(shown["cost"]["expected"]) == pytest.approx(
        10 * tokens * sum(epochs) / len(epochs), abs=0.01
    )
    within = shown["trialsWithinBudget"]
    left = 5000 - sum(epochs) * tokens
    assert (within["fewest"], within["most"]) == (len(epochs) + left // (4 * tokens), 10)
    assert shown["time"] == {"rounds": 3, "perTrial": None, "maxDuration": "48h"}
    text = plan(cli, files).stdout
    line = " ".join(text.split())
    assert f"; {10 * tokens}.00 if all are like smollm2-135m with epochs=1, {40 * tokens}.00 if like" in line
    assert f"used up after about {within['expected']} of 10 trials (after {within['fewest']} if" in line
    assert "Time: 3 rounds of trials; how long one takes no provider tells beforehand; at most 48h" in line


def test_a_budget_ends_the_search_at_the_first_trial_that_does_not_fit(
    cli: Cli, files: dict[str, Any]
) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["candidates"][0]["parameters"] |= {"epochs": {"int": {"min": 1, "max": 4}}}
    points = [
        {"candidate": "small", "baseModel": "smollm2-135m", "parameters": {"epochs": n, "learningRate": 1e-4}}
        for n in (2, 4, 1)
    ]
    spec["search"] = {"firstPoints": points}
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    tokens = json.loads(plan(cli, files, "-o", "json").stdout)["datasets"]["training"]["estimatedTokens"]
    spec["limits"]["budget"] = {"maxCost": f"{5 * tokens}.00"}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)["trialsWithinBudget"]
    assert shown == {"fewest": 1, "expected": 1, "most": 1}  # though the third would still fit
    spec["limits"]["budget"] = {"maxCost": f"{tokens}.00"}
    line = " ".join(plan(cli, files).stdout.split())
    assert f"too little for the first trial, which is expected to cost {2 * tokens}.00; none would" in line


def test_first_points_that_no_trial_is_left_for_are_told_of(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    points = [
        {"candidate": "small", "baseModel": "smollm2-135m", "parameters": {"epochs": n, "learningRate": 1e-4}}
        for n in (1, 2, 3)
    ]
    spec["search"] = {"firstPoints": points}
    assert "Search:     Bayesian, seed 0\n" in plan(cli, files).stdout
    spec["limits"]["maxTrials"] = 2
    assert "seed 0; 1 of 3 firstPoints left untried in 2 trials" in plan(cli, files).stdout


def test_the_same_model_at_two_candidates_is_told_apart(cli: Cli, files: dict[str, Any]) -> None:
    (candidate,) = files["sweep.yaml"]["spec"]["candidates"]
    dear = {**candidate, "name": "dear", "baseModels": ["smollm2-360m"]}
    dear["parameters"] = {**candidate["parameters"], "epochs": {"int": {"min": 7, "max": 9}}}
    candidate["baseModels"] = ["smollm2-135m"]
    files["sweep.yaml"]["spec"]["candidates"] = [candidate, dear]
    files["provider.yaml"]["spec"]["prices"] = [price("1000.00")]
    line = " ".join(plan(cli, files).stdout.split())
    assert "if like dear/smollm2-360m with epochs=9" in line


def test_what_counts_and_what_ends_the_search_is_shown(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["objective"] = {"metric": "accuracy", "costWeight": 0.05}
    spec["earlyStopping"] = {"plateau": {"trials": 40}}
    shown = plan(cli, files).stdout
    assert "Objective:  Maximize accuracy - 0.05 x cost in USD (objective.costWeight)" in shown
    line = " ".join(shown.split())
    assert "40 trials in a row were not better than the best, which 12 trials cannot come to (early" in line


def test_a_space_that_is_tried_whole_is_forecast_exactly(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 4}}}
    files["sweep.yaml"]["spec"]["search"] = {"method": "Grid"}
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    exact = 2 * (1 + 2 + 3 + 4) * shown["datasets"]["training"]["estimatedTokens"]
    assert shown["tokens"] == {"least": exact, "expected": exact, "most": exact}
    assert shown["cost"]["least"] == shown["cost"]["expected"] == shown["cost"]["most"] == f"{exact}.00"
    assert "if all are like" not in plan(cli, files).stdout


def test_repeats_are_counted_among_the_trials(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 2}}}
    files["sweep.yaml"]["spec"]["confirm"] = {"top": 2, "repeats": 3}
    tokens = json.loads(plan(cli, files, "-o", "json").stdout)["tokens"]
    each = tokens["least"] // 10
    assert (tokens["least"], tokens["most"]) == (10 * each, 2 * 10 * each)
    assert "Trials:     up to 10, 6 of them to repeat the best" in plan(cli, files).stdout


def test_the_repeats_of_the_best_are_forecast_too(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 2}}}
    spec["search"] = {"method": "Grid"}
    spec["confirm"] = {"top": 3, "repeats": 3}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    tokens = shown["datasets"]["training"]["estimatedTokens"]
    assert shown["tokens"]["least"] == 12 * tokens  # 3 of the 4 points, and 9 repeats
    assert shown["tokens"]["most"] == 24 * tokens
    assert len(shown["firstTrials"]) == 3


def test_tokens_are_forecast_without_prices_from_the_default_epochs(cli: Cli, files: dict[str, Any]) -> None:
    rates = {"learningRate": {"logUniform": {"min": 1e-5, "max": 1e-3}}}
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = rates
    del files["provider.yaml"]["spec"]["prices"]
    del files["sweep.yaml"]["spec"]["limits"]["budget"]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    exact = 12 * 3 * shown["datasets"]["training"]["estimatedTokens"]
    assert shown["tokens"] == {"least": exact, "expected": exact, "most": exact}
    assert shown["cost"]["least"] is None


def test_an_unknown_price_is_said(cli: Cli, files: dict[str, Any]) -> None:
    del files["provider.yaml"]["spec"]["prices"]
    del files["sweep.yaml"]["spec"]["limits"]["budget"]
    shown = plan(cli, files).stdout
    line = (
        "Cost:       unknown: there is no price in USD of training smollm2-135m at provider local, training"
    )
    assert line in shown
    assert "COST" not in shown
    assert json.loads(plan(cli, files, "-o", "json").stdout)["cost"]["expected"] is None
