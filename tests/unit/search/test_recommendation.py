import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.search.strategies import parameters, spaces

from finetune_operator.search import (
    Branch,
    Observation,
    Point,
    SearchSpace,
    UniformRange,
    propose,
    recommend,
)

LINE = SearchSpace((Branch("a", ("m",), {"x": UniformRange(0.0, 1.0)}),))
scores = st.none() | st.floats() | st.sampled_from([0.0, 0.5, 1.0, -1e300, 1e300])


def on_line(x: float, score: float | None = None) -> Observation:
    return Observation(Point("a", "m", {"x": x}), "Finished" if score is not None else "Failed", score)


def top(x: float) -> float:
    return 0.8 - (x - 0.6) ** 2


def test_without_noise_the_best_observed_trial_is_recommended() -> None:
    history = [on_line(place / 10, top(place / 10)) for place in range(11)]
    assert recommend(LINE, history) == 6
    assert recommend(LINE, [on_line(place / 10, -top(place / 10)) for place in range(11)], "Minimize") == 6


def test_lucky_trial_among_bad_ones_is_not_recommended() -> None:
    history = [on_line(place / 40, top(place / 40)) for place in range(41)]
    history[4] = on_line(0.1, 0.82)
    assert 18 <= (recommend(LINE, history) or 0) <= 30


def test_recommended_trials_are_better_than_the_best_observed_under_noise() -> None:
    lost: dict[str, list[float]] = {"observed": [], "recommended": []}
    for seed in range(30):
        noise = np.random.default_rng(seed)
        places = [(place + 0.5) / 25 for place in range(25)]
        history = [on_line(x, top(x) + 0.1 * float(noise.standard_normal())) for x in places]
        observed = max(range(25), key=lambda index: history[index].score or 0.0)
        lost["observed"].append(0.8 - top(places[observed]))
        lost["recommended"].append(0.8 - top(places[recommend(LINE, history) or 0]))
    assert statistics.mean(lost["recommended"]) < 0.7 * statistics.mean(lost["observed"])


def test_repeated_trial_counts_with_all_its_scores() -> None:
    # 0.3 was lucky once; 0.7 is good every time.
    history = [on_line(0.3, score) for score in (0.95, 0.5, 0.5)]
    history += [on_line(0.7, score) for score in (0.8, 0.8, 0.79)]
    history += [on_line(x, 0.4) for x in (0.0, 0.5, 1.0)]
    assert recommend(LINE, history) == 3


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([], id="none"),
        pytest.param([on_line(0.5)], id="failed"),
        pytest.param([on_line(0.5, math.nan), on_line(0.6, math.inf)], id="no finite score"),
        pytest.param([Observation(Point("a", "m", {"x": 0.5}), "Pending", 0.5)], id="pending"),
    ],
)
def test_without_a_score_nothing_is_recommended(history: list[Observation]) -> None:
    assert recommend(LINE, history) is None


def test_trial_outside_the_space_is_chosen_only_if_there_is_no_other() -> None:
    outside = Observation(Point("gone", "m", {"x": 0.5}), "Finished", 0.9)
    worse = Observation(Point("gone", "m", {"x": 0.6}), "Finished", 0.8)
    assert recommend(LINE, [worse, outside]) == 1
    assert recommend(LINE, [outside, on_line(0.5, 0.1)]) == 1


@settings(max_examples=40, deadline=None)
@given(spaces(parameters()), st.lists(scores, min_size=1, max_size=9), st.randoms())
def test_recommendation_is_a_finished_trial_whatever_the_order(
    space: SearchSpace, found: list[float | None], random: "np.random.Generator"
) -> None:
    points = [
        proposal.point for proposal in propose(space, method="Random", seed=1, history=[], count=len(found))
    ]
    history = [Observation(point, "Finished", score) for point, score in zip(points, found, strict=False)]
    chosen = recommend(space, history)
    if chosen is None:
        assert all(entry.finite_score is None for entry in history)
        return
    assert history[chosen].finite_score is not None
    turned = list(history)
    random.shuffle(turned)
    again = recommend(space, turned)
    assert again is not None
    assert turned[again].point == history[chosen].point
