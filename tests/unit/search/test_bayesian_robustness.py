"""What a Bayesian search holds to in any space and with any scores."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.search.strategies import parameters, small_parameters, spaces

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Observation,
    Point,
    SearchSpace,
    SearchSpaceExhausted,
    UniformRange,
    Values,
    propose,
)

scores = st.one_of(
    st.none(),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5, 1.0, 1e308, -1e308, 5e-324, math.nan, math.inf]),
)
SMALL = SearchSpace((Branch("a", ("m", "n"), {"x": IntRange(1, 5), "y": Values(("p", "q"))}),))


def sweep(space: SearchSpace, found: Sequence[float | None], seed: int = 1) -> list[Observation]:
    """A sweep whose trials score what is found, one after another, until the space is used up."""
    history: list[Observation] = []
    for score in found:
        try:
            (proposal,) = propose(space, method="Bayesian", seed=seed, history=history, initial_trials=2)
        except SearchSpaceExhausted:
            break
        history.append(Observation(proposal.point, "Failed" if score is None else "Finished", score))
    return history


@settings(max_examples=15, deadline=None)
@given(spaces(parameters()), st.lists(scores, min_size=4, max_size=10))
def test_any_space_and_any_scores_give_new_points_of_the_space(
    space: SearchSpace, found: list[float | None]
) -> None:
    history = sweep(space, found)
    points = [entry.point for entry in history]
    assert all(space.contains(point) for point in points)
    assert len(set(points)) == len(points) == min(len(found), space.size or math.inf)
    assert all(
        math.isfinite(value)
        for point in points
        for value in point.parameters.values()
        if not isinstance(value, str)
    )


@settings(max_examples=12, deadline=None)
@given(spaces(small_parameters(), most_parameters=2), st.randoms(use_true_random=False))
def test_order_of_history_branches_and_parameters_does_not_matter(space: SearchSpace, random: object) -> None:
    shuffle = random.shuffle  # type: ignore[attr-defined]
    history = sweep(space, [0.3, 0.9, None, 0.5, 0.7])
    turned = list(history)
    shuffle(turned)
    branches = []
    for branch in space.branches:
        names = list(branch.parameters)
        shuffle(names)
        branches.append(
            Branch(branch.name, branch.base_models[::-1], {name: branch.parameters[name] for name in names})
        )
    shuffle(branches)
    try:
        one = propose(space, method="Bayesian", seed=4, history=history, count=2, initial_trials=2)
    except SearchSpaceExhausted:
        return
    other = propose(
        SearchSpace(tuple(branches)), method="Bayesian", seed=4, history=turned, count=2, initial_trials=2
    )
    assert one == other


@settings(max_examples=15, deadline=None)
@given(spaces(small_parameters(), most_parameters=2), st.floats(0, 1))
def test_last_point_of_a_space_is_found(space: SearchSpace, score: float) -> None:
    size = space.size or 0
    everything = propose(space, method="Grid", seed=0, history=(), count=size)
    history = [
        Observation(proposal.point, "Finished", score * turn) for turn, proposal in enumerate(everything)
    ]
    (last,) = propose(space, method="Bayesian", seed=1, history=history[:-1])
    assert last.point == everything[-1].point


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([0.5] * 12, id="constant"),
        pytest.param([0.0] * 12, id="zero"),
        pytest.param([None] * 12, id="all failed"),
        pytest.param([1e308, -1e308] * 6, id="as large as can be"),
        pytest.param([0.7, *[None] * 11], id="one finished"),
        pytest.param([0.8 + 1e-15 * turn for turn in range(12)], id="equal but for the last bit"),
        pytest.param([math.nan, 0.5] * 6, id="half are no number"),
    ],
)
def test_odd_scores_do_not_stop_the_search(found: list[float | None]) -> None:
    assert len(sweep(SMALL, found)) == len(found)


def test_one_of_the_best_of_sixteen_candidates_is_found_and_the_worst_seldom_tried() -> None:
    space = SearchSpace(
        tuple(
            Branch(
                f"c{number:02}",
                ("m",),
                {"learningRate": LogUniformRange(1e-5, 1e-2), "epochs": IntRange(1, 4)},
            )
            for number in range(16)
        )
    )
    history: list[Observation] = []
    for _ in range(32):
        (proposal,) = propose(space, method="Bayesian", seed=2, history=history)
        rate = math.log10(float(proposal.point.parameters["learningRate"]))
        score = 0.02 * int(proposal.point.candidate[1:]) - 0.05 * (rate + 3.5) ** 2
        history.append(Observation(proposal.point, "Finished", score))
    tried = [entry.point.candidate for entry in history]
    assert max(history, key=lambda entry: entry.score or -math.inf).point.candidate >= "c12"
    assert tried.count("c00") <= 2


def test_grid_of_steps_is_searched_without_repeats_to_its_end() -> None:
    space = SearchSpace(
        (Branch("a", ("m",), {"x": LogUniformRange(1e-6, 1e-2, steps=5), "y": UniformRange(0, 1, steps=4)}),)
    )
    assert len({entry.point for entry in sweep(space, [0.1 * (turn % 7) for turn in range(20)])}) == 20


def test_trials_of_an_earlier_space_do_no_harm() -> None:
    gone = [Observation(Point("gone", "m", {"x": 3}), "Finished", 1e9)]
    assert propose(SMALL, method="Bayesian", seed=1, history=gone)[0].point.candidate == "a"


def test_many_pending_trials_are_all_different() -> None:
    history = sweep(SMALL, [0.1, 0.5, 0.3])
    points = [
        proposal.point for proposal in propose(SMALL, method="Bayesian", seed=1, history=history, count=17)
    ]
    assert len({*points, *(entry.point for entry in history)}) == 20
