"""Which trial is named the best."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decisions.builders import a_trial

from finetune_operator.decisions import best_trial
from finetune_operator.decisions.best import value_of
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Objective

ACCURACY = Objective(metric="accuracy")
LOSS = Objective(metric="validationLoss")


def test_of_equal_scores_the_trial_that_was_proposed_first_is_the_best() -> None:
    trials = [a_trial(2, score=0.9), a_trial(0, score=0.5), a_trial(1, score=0.9)]
    best = best_trial(ACCURACY, trials)
    assert best is not None
    assert best.spec.index == 1


def test_a_loss_is_minimised() -> None:
    best = best_trial(LOSS, [a_trial(0, score=0.9), a_trial(1, score=0.2)])
    assert best is not None
    assert best.spec.index == 1


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("objective", [ACCURACY, LOSS])
def test_a_score_that_is_no_finite_number_is_never_the_best(
    score: float | None, objective: Objective
) -> None:
    assert best_trial(objective, [a_trial(0, score=score)]) is None
    best = best_trial(objective, [a_trial(0, score=score), a_trial(1, score=0.1)])
    assert best is not None
    assert best.spec.index == 1


@pytest.mark.parametrize("phase", [each for each in TrialPhase if each is not TrialPhase.SUCCEEDED])
def test_only_a_succeeded_trial_can_be_the_best(phase: TrialPhase) -> None:
    assert best_trial(ACCURACY, [a_trial(0, phase, 0.9)]) is None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=8), st.randoms())
def test_the_order_of_trials_does_not_matter(scores: list[float], shuffle: object) -> None:
    trials = [a_trial(index, score=score) for index, score in enumerate(scores)]
    shuffled = list(trials)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = best_trial(ACCURACY, trials), best_trial(ACCURACY, shuffled)
    assert (first and first.name) == (second and second.name)


def priced(index: int, score: float, cost: str, *, estimated: str | None = None) -> FinetuneTrial:
    return a_trial(index, score=score, estimated=estimated, cost=Decimal(cost))


def test_a_cost_weight_counts_what_trials_cost_against_their_scores() -> None:
    dear, cheap = priced(0, 0.9, "20.00"), priced(1, 0.85, "2.00")
    for weight, wanted in ((0.0, dear), (0.001, dear), (0.01, cheap)):
        assert best_trial(Objective(metric="accuracy", cost_weight=weight), [dear, cheap]) is wanted
    dear, cheap = priced(0, 0.2, "20.00"), priced(1, 0.3, "2.00")
    for weight, wanted in ((0.0, dear), (0.001, dear), (0.01, cheap)):
        assert best_trial(Objective(metric="validationLoss", cost_weight=weight), [dear, cheap]) is wanted


def test_what_a_trial_cost_counts_and_not_what_it_was_expected_to_once_that_is_known() -> None:
    objective = Objective(metric="accuracy", cost_weight=0.01)
    assert value_of(objective, a_trial(0, score=0.9, estimated="10.00")) == pytest.approx(0.8)
    assert value_of(objective, priced(0, 0.9, "0", estimated="10.00")) == 0.9
