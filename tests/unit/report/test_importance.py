"""How much each hyperparameter mattered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from tests.unit.report.worlds import several_branches, usual

from finetune_operator.report import Report
from finetune_operator.report.dimensions import dimensions_of
from finetune_operator.report.importance import MIN_TRIALS, Importances, importances
from finetune_operator.report.rows import rows_of


def of(report: Report, *, score: Callable[[int], float | None] | None = None) -> Importances:
    dimensions = dimensions_of(report.sweep, report.trials)
    rows = rows_of(report, dimensions)
    if score is not None:
        rows = tuple(dataclasses.replace(row, score=score(row.index)) for row in rows)
    return importances(rows, dimensions)


def test_what_moves_the_score_comes_first_and_what_does_not_is_near_zero() -> None:
    found = {each.name: each.value for each in of(usual(120)).found}
    assert next(iter(found)) == "learningRate"
    assert found["learningRate"] > 3 * found["epochs"] > 0
    assert abs(found["dropout"]) < 0.1 * found["learningRate"]


def test_the_same_sweep_gives_the_same_numbers() -> None:
    assert of(usual()) == of(usual())


def test_with_too_few_trials_nothing_is_judged_and_that_is_said() -> None:
    outcome = of(usual(MIN_TRIALS))
    assert outcome.found == ()
    assert "not judged, 9 scored trials of at least 10 that it takes" in outcome.notes[0]


def test_a_hyperparameter_of_one_candidate_is_judged_among_its_trials() -> None:
    trials = {each.name: each.trials for each in of(several_branches()).found}
    assert trials == {
        "base model": 36,
        "epochs": 36,
        "batchSize": 18,
        "learningRateMultiplier": 18,
        "learningRate": 18,
    }


def test_equal_scores_tell_nothing() -> None:
    outcome = of(usual(30), score=lambda _: 0.5)
    assert outcome.found == ()
    assert "have the same score" in outcome.notes[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_is_not_to_be_trusted(seed: int) -> None:
    outcome = of(usual(30, seed=seed), score=lambda index: float(hash((index, seed)) % 97))
    assert "not to be trusted" in outcome.notes[0]
