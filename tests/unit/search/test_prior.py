"""What a search learns from earlier ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Observation,
    Point,
    PriorObservation,
    SearchSpace,
    propose,
)
from finetune_operator.search.encoding import Encoder
from finetune_operator.search.other_tasks import OtherTasks
from finetune_operator.search.prior import Prior

PARAMETERS = {"epochs": IntRange(1, 8), "learningRate": LogUniformRange(1e-5, 1e-2)}
SPACE = SearchSpace((Branch("small", ("tiny-1", "tiny-2"), PARAMETERS),))
Surface = Callable[[Point], float]


def bowl(rate: float, epochs: float, *, tiny_2: float = -0.05, scale: float = 1.0) -> Surface:
    """Scores with one optimum, given as shares of the two ranges."""

    def score(point: Point) -> float:
        parameters = point.parameters
        off_rate = math.log(float(parameters["learningRate"]) / 1e-5) / math.log(1e3) - rate
        off_epochs = (float(parameters["epochs"]) - 1) / 7 - epochs
        return scale * (0.9 - 2 * off_rate**2 - off_epochs**2 + tiny_2 * (point.base_model == "tiny-2"))

    return score


def search(
    surface: Surface,
    trials: int,
    *,
    seed: int = 0,
    prior: Sequence[PriorObservation] = (),
    first: Sequence[Point] = (),
) -> list[Observation]:
    history: list[Observation] = []
    for _ in range(trials):
        (proposal,) = propose(
            SPACE, method="Bayesian", seed=seed, history=history, prior=prior, first_points=first
        )
        history.append(Observation(proposal.point, "Finished", surface(proposal.point)))
    return history


def earlier(surface: Surface, task: str = "") -> list[PriorObservation]:
    history = search(surface, 14, seed=99)
    return [PriorObservation(each.point, each.score or 0.0, task) for each in history]


def best(observations: Sequence[Observation]) -> float:
    return max(each.score or 0.0 for each in observations)


NOW = bowl(0.7, 0.3)
SHIFTED = bowl(0.6, 0.4, tiny_2=-0.02, scale=0.4)
MISLEADING = bowl(0.2, 0.8, tiny_2=0.1)
SEEDS = range(2)


def mean_best(trials: int, prior: Sequence[PriorObservation]) -> float:
    """With the best earlier point tried first, as a sweep does."""
    first = [each.point for each in sorted(prior, key=lambda each: -each.score)[:1]]
    found = [best(search(NOW, trials, seed=seed, prior=prior, first=first)) for seed in SEEDS]
    return float(np.mean(found))


def test_scores_of_the_same_data_find_good_points_at_once() -> None:
    assert mean_best(2, earlier(NOW)) > mean_best(7, ()) - 0.001


def test_scores_of_like_data_on_another_scale_find_good_points_sooner() -> None:
    like = earlier(SHIFTED, "last-week")
    assert 0.9 - mean_best(8, like) < 0.6 * (0.9 - mean_best(8, ()))


def test_misleading_scores_do_little_harm() -> None:
    assert mean_best(11, earlier(MISLEADING, "last-week")) > mean_best(11, ()) - 0.01


def test_scores_of_other_data_count_only_once_two_trials_tell_the_scale() -> None:
    other, points = earlier(SHIFTED, "x"), search(NOW, 2)

    def later(history: Sequence[Observation], prior: Sequence[PriorObservation]) -> Point:
        (proposal,) = propose(
            SPACE, method="Bayesian", seed=0, history=history, prior=prior, initial_trials=1
        )
        return proposal.point

    assert later(points[:1], other) == later(points[:1], ())
    assert later(points, other) != later(points, ())


def test_the_initial_design_is_shorter_by_what_is_known_of_the_same_data() -> None:
    known = earlier(NOW)

    def origins(prior: Sequence[PriorObservation], initial_trials: int | None = None) -> list[str]:
        proposals = propose(
            SPACE, method="Bayesian", seed=0, history=(), prior=prior, initial_trials=initial_trials, count=6
        )
        return [each.origin for each in proposals]

    assert origins(known[:4]).count("initial design") == 2
    assert "initial design" not in origins(known)
    assert origins(known, initial_trials=3).count("initial design") == 3
    assert (
        origins([PriorObservation(each.point, each.score, "x") for each in known]) == ["initial design"] * 6
    )


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(8)))
def test_the_order_of_earlier_observations_means_nothing(order: list[int]) -> None:
    known = [*earlier_of_two_tasks()]
    shuffled = [known[index] for index in order]
    history = [Observation(known[0].point, "Finished", 0.4), Observation(known[5].point, "Finished", 0.6)]
    expected = propose(SPACE, method="Bayesian", seed=3, history=history, prior=known, initial_trials=1)
    assert (
        propose(SPACE, method="Bayesian", seed=3, history=history, prior=shuffled, initial_trials=1)
        == expected
    )


def earlier_of_two_tasks() -> list[PriorObservation]:
    points = [Point("small", "tiny-1", {"epochs": epochs, "learningRate": 1e-3}) for epochs in range(1, 9)]
    return [PriorObservation(point, index / 8, "ab"[index % 2]) for index, point in enumerate(points)]


@pytest.mark.parametrize("task", ["", "other"])
@pytest.mark.parametrize("score", [0.5, 0.0, 1e300, -1e300])
def test_equal_or_huge_earlier_scores_stop_no_search(task: str, score: float) -> None:
    known = [PriorObservation(each.point, score, task) for each in earlier_of_two_tasks()]
    history = search(NOW, 8, prior=known)
    assert len({each.point for each in history}) == 8


def test_what_lies_outside_the_space_or_is_no_number_is_not_known() -> None:
    (good, *_) = earlier_of_two_tasks()
    outside = PriorObservation(Point("small", "tiny-1", {"epochs": 9, "learningRate": 1e-3}), 0.5)
    nan = PriorObservation(good.point, math.nan)
    assert Prior.of([outside, nan], SPACE, "Maximize") == Prior()


def test_of_a_minimised_score_less_is_better_in_earlier_ones_too() -> None:
    (one, *_) = earlier_of_two_tasks()
    assert Prior.of([PriorObservation(one.point, 0.25)], SPACE, "Minimize").comparable == (
        (one.point, -0.25),
    )


def test_each_other_task_stands_in_a_column_of_its_own_on_the_searchs_scale() -> None:
    tasks = OtherTasks(Prior.of(earlier_of_two_tasks(), SPACE, "Maximize"), Encoder(SPACE))
    rows, own = tasks.rows(), np.array([10.0, 12.0])
    assert rows.shape[1] == Encoder(SPACE).columns + 2
    assert [tuple(row) for row in (rows[:, -2:] > 0)] == [(True, False)] * 4 + [(False, True)] * 4
    for first in (0, 4):
        targets = tasks.targets(own)[first : first + 4]
        assert (targets.mean(), targets.std()) == (pytest.approx(11.0), pytest.approx(1.0))
