import math
import statistics
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from finetune_operator.search import (
    Branch,
    Direction,
    IntRange,
    LogUniformRange,
    Method,
    Observation,
    Point,
    SearchSpace,
    UniformRange,
    Values,
    propose,
)
from finetune_operator.search.bayesian import _floor, _most_telling

TUNING = SearchSpace(
    (
        Branch(
            "lora",
            ("small", "large"),
            {
                "epochs": IntRange(1, 10),
                "learningRate": LogUniformRange(1e-6, 1e-2),
                "batchSize": Values(("1", "2", "4", "8", "16", "32")),
                "loraRank": Values(("1", "2", "4", "8", "16", "32", "64")),
            },
        ),
    )
)
LINE = SearchSpace((Branch("a", ("m",), {"x": UniformRange(0.0, 1.0)}),))


def accuracy(point: Point) -> float:
    """A smooth surface with its top at 0.8: the best learning rate moves with batch size and rank."""
    rate, batch, rank, epochs = (
        math.log10(float(point.parameters["learningRate"])),
        math.log2(float(point.parameters["batchSize"])),
        math.log2(float(point.parameters["loraRank"])),
        float(point.parameters["epochs"]),
    )
    best_rate = -3.8 + 0.2 * (batch - 2.5) - 0.1 * (rank - 3)
    lost = 0.06 * (rate - best_rate) ** 2 + 0.004 * (epochs - 4) ** 2 + 0.003 * (rank - 4) ** 2
    return 0.8 - lost - 0.002 * (batch - 2) ** 2 - 0.02 * (point.base_model == "small")


def on_line(x: float) -> Point:
    return Point("a", "m", {"x": x})


def best_after(method: Method, seed: int, trials: int) -> float:
    history: list[Observation] = []
    for _ in range(trials):
        (proposal,) = propose(TUNING, method=method, seed=seed, history=history)
        history.append(Observation(proposal.point, "Finished", accuracy(proposal.point)))
    return max(entry.score or 0.0 for entry in history)


def place_of_next(
    scores: Callable[[float], float | None],
    direction: Direction = "Maximize",
    pending: tuple[float, ...] = (),
) -> float:
    history = [Observation(on_line(place / 10), "Finished", scores(place / 10)) for place in range(11)] + [
        Observation(on_line(place), "Pending") for place in pending
    ]
    (proposal,) = propose(LINE, method="Bayesian", seed=1, history=history, direction=direction)
    assert proposal.origin == "expected improvement"
    return float(proposal.point.parameters["x"])


def test_model_beats_random_search_on_a_smooth_surface() -> None:
    lost = {
        method: statistics.mean(0.8 - best_after(method, seed, 20) for seed in range(4))
        for method in ("Random", "Bayesian")
    }
    assert lost["Bayesian"] < 0.5 * lost["Random"]


def test_next_trial_is_near_the_best_scores() -> None:
    assert 0.55 < place_of_next(lambda x: -((x - 0.65) ** 2)) < 0.75


def test_minimising_is_maximising_the_negated_scores() -> None:
    assert place_of_next(lambda x: (x - 0.65) ** 2, "Minimize") == place_of_next(lambda x: -((x - 0.65) ** 2))


def test_units_of_the_score_hardly_matter() -> None:
    place = place_of_next(lambda x: -((x - 0.65) ** 2))
    assert place_of_next(lambda x: 100 - 1000 * (x - 0.65) ** 2) == pytest.approx(place, abs=0.02)


def test_pending_trial_sends_the_next_one_elsewhere() -> None:
    alone = place_of_next(lambda x: -((x - 0.65) ** 2))
    assert abs(place_of_next(lambda x: -((x - 0.65) ** 2), pending=(alone,)) - alone) > 0.02


def test_failed_trials_keep_the_search_away() -> None:
    left = [Observation(on_line(place / 10), "Finished", place / 10) for place in range(6)]
    right = [Observation(on_line(place), "Failed") for place in (0.75, 1.0)]
    (careless,) = propose(LINE, method="Bayesian", seed=1, history=left)
    (careful,) = propose(LINE, method="Bayesian", seed=1, history=[*left, *right])
    assert float(careless.point.parameters["x"]) > 0.65
    assert 0.35 < float(careful.point.parameters["x"]) < 0.55


def test_one_diverged_loss_does_not_hide_the_other_differences() -> None:
    place = place_of_next(lambda x: 1e12 if x == 0.0 else (x - 0.65) ** 2, "Minimize")
    assert 0.5 < place < 0.8


def test_scores_of_one_branch_teach_the_other() -> None:
    rates = {"learningRate": UniformRange(0.0, 1.0)}
    space = SearchSpace((Branch("a", ("m",), rates), Branch("b", ("n",), rates)))
    history = [
        Observation(Point("a", "m", {"learningRate": place / 10}), "Finished", -((place / 10 - 0.8) ** 2))
        for place in range(11)
    ]
    (proposal,) = propose(
        space, method="Bayesian", seed=1, history=history, allow=lambda point: point.candidate == "b"
    )
    assert 0.6 < float(proposal.point.parameters["learningRate"]) < 1.0


def test_large_finite_space_is_used_up_exactly() -> None:
    space = SearchSpace((Branch("a", ("m", "n"), {"x": IntRange(1, 8), "y": Values(("p", "q", "r"))}),))
    history = [
        Observation(proposal.point, "Finished", float(turn % 7))
        for turn, proposal in enumerate(propose(space, method="Random", seed=1, history=[], count=30))
    ]
    rest = propose(space, method="Bayesian", seed=1, history=history, count=99)
    points = {entry.point for entry in history} | {proposal.point for proposal in rest}
    assert len(points) == len(history) + len(rest) == space.size == 48


def test_space_too_large_to_list_is_searched() -> None:
    wide = {name: IntRange(1, 10**9, log=True) for name in ("w", "x", "y", "z")}
    space = SearchSpace((Branch("a", ("m",), wide),))
    drawn = propose(space, method="Random", seed=1, history=[], count=8)
    history = [
        Observation(proposal.point, "Finished", -math.log(float(proposal.point.parameters["x"])))
        for proposal in drawn
    ]
    (proposal,) = propose(space, method="Bayesian", seed=1, history=history)
    assert space.contains(proposal.point)
    assert float(proposal.point.parameters["x"]) < 1000


def test_thousand_trials_are_thinned_out_for_the_model() -> None:
    scores = np.linspace(0.0, 1.0, 1000)
    kept = _most_telling(scores, seed=1)
    assert len(set(kept.tolist())) == 250
    assert set(range(875, 1000)) <= set(kept.tolist())
    assert kept.tolist() == _most_telling(scores, seed=1).tolist()


@pytest.mark.parametrize(
    ("scores", "floor"),
    [
        pytest.param([0.0, 0.5, 0.6], 0.3, id="twice the distance from the median to the best"),
        pytest.param([0.5, 0.6, 0.6, 0.6], 0.3, id="most are the best: from the next best"),
        pytest.param([0.6, 0.6], -0.4, id="all equal"),
        pytest.param([-1e9, 0.5, 0.6], 0.3, id="collapsed"),
    ],
)
def test_failed_trial_counts_as_bad_but_not_abysmal(scores: list[float], floor: float) -> None:
    assert _floor(np.array(scores)) == pytest.approx(floor)


def test_corners_are_not_tried_first() -> None:
    """With equal scores everywhere nothing speaks for an end of a range."""
    space = SearchSpace((Branch("a", ("m",), {name: UniformRange(0.0, 1.0) for name in ("x", "y", "z")}),))
    history: list[Observation] = []
    for _ in range(10):
        (proposal,) = propose(space, method="Bayesian", seed=1, history=history)
        history.append(Observation(proposal.point, "Finished", 0.5))
    places = [float(value) for entry in history[6:] for value in entry.point.parameters.values()]
    assert statistics.mean(abs(place - 0.5) for place in places) < 0.3


def test_best_corner_is_found_all_the_same() -> None:
    space = SearchSpace((Branch("a", ("m",), {"x": UniformRange(0.0, 1.0), "y": UniformRange(0.0, 1.0)}),))
    history: list[Observation] = []
    for _ in range(14):
        (proposal,) = propose(space, method="Bayesian", seed=1, history=history)
        values = proposal.point.parameters
        history.append(Observation(proposal.point, "Finished", float(values["x"]) + float(values["y"])))
    assert max(entry.score or 0.0 for entry in history) > 1.95


def tried_on_line(score: Callable[[float], float], seed: int, trials: int) -> list[tuple[float, float, str]]:
    """Place, score and origin of each trial of a sweep over the line."""
    history: list[Observation] = []
    origins: list[str] = []
    for _ in range(trials):
        (proposal,) = propose(LINE, method="Bayesian", seed=seed, history=history)
        found = score(float(proposal.point.parameters["x"]))
        history.append(Observation(proposal.point, "Finished", found))
        origins.append(proposal.origin)
    places = [float(entry.point.parameters["x"]) for entry in history]
    scores = [entry.score or 0.0 for entry in history]
    return list(zip(places, scores, origins, strict=True))


def test_values_next_to_a_good_one_are_tried_but_none_twice() -> None:
    tried = tried_on_line(lambda x: -((x - 0.637) ** 2), seed=1, trials=30)
    places = sorted(place for place, _, _ in tried)
    gaps = [after - before for before, after in pairwise(places)]
    assert 0.005 < min(gaps) < 0.01


def test_values_next_to_a_good_one_are_not_tried_where_another_parameter_may_vary() -> None:
    space = SearchSpace((Branch("a", ("m",), {"x": UniformRange(0.0, 1.0), "y": IntRange(1, 2)}),))
    tried: list[Observation] = []
    for _ in range(20):
        (proposal,) = propose(space, method="Bayesian", seed=1, history=tried)
        x, y = (float(value) for value in proposal.point.parameters.values())
        near = [
            entry
            for entry in tried
            if entry.point.parameters["y"] == y and abs(float(entry.point.parameters["x"]) - x) <= 0.02
        ]
        assert not near
        tried.append(Observation(proposal.point, "Finished", -((x - 0.637) ** 2) - y))


def noisy_needle(generator: np.random.Generator) -> Callable[[float], float]:
    """Scores of a plateau with a peak on a twentieth of the range, and noise."""
    return lambda x: math.exp(-(((x - 0.17) / 0.025) ** 2)) + 0.02 * float(generator.standard_normal())


def test_narrow_peak_on_a_noisy_plateau_is_found() -> None:
    best = []
    for seed in (3, 4, 5):
        tried = tried_on_line(noisy_needle(np.random.default_rng(seed)), seed, trials=30)
        best.append(max(score for _, score, _ in tried))
    assert min(best) > 0.5


def test_every_other_trial_goes_far_from_all_tried_ones_where_the_scores_are_mostly_noise() -> None:
    scores = np.random.default_rng(3).standard_normal(12)
    history = [
        Observation(on_line(0.3 + 0.4 * place / 11), "Finished", float(score))
        for place, score in enumerate(scores)
    ]
    proposals = propose(LINE, method="Bayesian", seed=1, history=history, count=4)
    assert [proposal.origin for proposal in proposals] == ["exploration", "expected improvement"] * 2
    far = sorted(float(proposal.point.parameters["x"]) for proposal in proposals[::2])
    assert far == pytest.approx([0.0, 1.0], abs=0.01)


def test_scores_that_follow_the_parameters_are_followed_at_each_trial() -> None:
    tried = tried_on_line(lambda x: -((x - 0.637) ** 2), seed=2, trials=16)
    assert [origin for _, _, origin in tried] == ["initial design"] * 6 + ["expected improvement"] * 10
