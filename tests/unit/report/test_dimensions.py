"""The axes of a report's plots."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.report.worlds import ONE, PARAMETERS, a_sweep, a_trial, several_branches, usual

from finetune_operator.report.dimensions import Dimension, dimensions_of, value_of


def of(report_or_sweep: object, trials: object = None) -> dict[str, Dimension]:
    sweep = report_or_sweep if trials is not None else report_or_sweep.sweep  # type: ignore[attr-defined]
    given_trials = trials if trials is not None else report_or_sweep.trials  # type: ignore[attr-defined]
    return {each.name: each for each in dimensions_of(sweep, given_trials)}  # type: ignore[arg-type]


def test_each_axis_has_the_scale_on_which_the_sweep_searches() -> None:
    scales = {name: each.scale for name, each in of(usual()).items()}
    assert scales == {"batchSize": "choice", "dropout": "linear", "epochs": "whole", "learningRate": "log"}


def test_choices_keep_the_order_of_the_manifest() -> None:
    assert of(usual())["batchSize"].choices == ("4", "8", "16")


def test_a_number_that_is_listed_as_text_is_the_same_choice() -> None:
    parameters = {"rate": {"values": ["1e-5", "0.001"]}}
    sweep = a_sweep((ONE[0] | {"parameters": parameters},))
    trials = [a_trial(0, 0.5, values={"rate": 0.001}), a_trial(1, 0.5, values={"rate": 1e-05})]
    assert of(sweep, trials)["rate"].choices == ("1e-05", "0.001")


def test_what_is_the_same_in_all_trials_is_no_axis() -> None:
    trials = [a_trial(index, 0.5, values={"epochs": 2, "batchSize": 4 + index}) for index in range(3)]
    assert set(of(a_sweep(), trials)) == {"batchSize"}


def test_the_base_model_is_an_axis_where_there_are_several() -> None:
    report = several_branches()
    model = of(report)["base model"]
    assert set(model.choices) == {
        "nova/amazon.nova-lite-v1:0",
        "openai-mini/gpt-4.1-mini-2025-04-14",
        "openai-mini/gpt-4.1-nano-2025-04-14",
    }


def test_a_trial_of_another_candidate_has_no_value_on_an_axis_of_one() -> None:
    report = several_branches()
    rate = of(report)["learningRate"]
    values = [value_of(rate, report.sweep, trial) for trial in report.trials]
    assert [value is None for value in values] == [trial.spec.candidate != "nova" for trial in report.trials]


def test_a_log_axis_puts_the_geometric_mean_in_its_middle() -> None:
    axis = Dimension("p0", "rate", "log", 1e-6, 1e-2)
    assert axis.position(1e-4) == pytest.approx(0.5)
    assert axis.ticks() == (
        (pytest.approx(0.0), "1e-06"),
        (pytest.approx(0.5), "0.0001"),
        (pytest.approx(1.0), "0.01"),
    )


def test_an_axis_of_a_single_value_does_not_divide_by_zero() -> None:
    assert Dimension("p0", "rate", "linear", 3, 3).position(3) == 0.5
    assert Dimension("p0", "rate", "log", 3, 3).ticks() == ((0.5, "3"),)


def test_many_choices_get_few_labels() -> None:
    choices = tuple(str(number) for number in range(32))
    assert len(Dimension("p0", "x", "choice", 0, 31, choices).ticks()) <= 8


@given(st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=20, unique=True))
def test_every_value_lies_on_its_axis(values: list[float]) -> None:
    trials = [a_trial(index, 0.5, values={"learningRate": value}) for index, value in enumerate(values)]
    for axis in dimensions_of(a_sweep(), trials):
        for trial in trials:
            position = axis.position(trial.spec.hyperparameters["learningRate"])
            assert math.isfinite(position)
            assert -1e-9 <= position <= 1 + 1e-9


def test_parameters_of_the_worlds_are_those_of_the_manifest() -> None:
    assert set(PARAMETERS) == set(of(usual()))
