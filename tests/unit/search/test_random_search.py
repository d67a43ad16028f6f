from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.search.strategies import parameters, small_parameters, spaces

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Observation,
    SearchSpace,
    SearchSpaceExhausted,
    Values,
    propose,
)


def test_base_models_are_equally_likely_whatever_the_size_of_their_spaces() -> None:
    space = SearchSpace(
        (
            Branch("small", ("m",), {"rate": LogUniformRange(1e-6, 1e-4)}),
            Branch("large", ("n", "o"), {"x": IntRange(1, 10**6), "y": IntRange(1, 10**6)}),
        )
    )
    proposals = propose(space, method="Random", seed=1, history=[], count=600)
    counts = Counter(proposal.point.base_model for proposal in proposals)
    assert all(150 < count < 250 for count in counts.values())
    assert counts.keys() == {"m", "n", "o"}


def test_logarithmic_values_are_equally_likely_by_ratio() -> None:
    space = SearchSpace((Branch("a", ("m",), {"rate": LogUniformRange(1e-6, 1e-2)}),))
    proposals = propose(space, method="Random", seed=1, history=[], count=400)
    below = sum(float(proposal.point.parameters["rate"]) < 1e-4 for proposal in proposals)
    assert 160 < below < 240


def test_what_is_left_of_a_finite_space_is_equally_likely() -> None:
    space = SearchSpace((Branch("a", ("m",), {"x": Values(("1", "2", "3", "4"))}),))
    tried = [Observation(space.arms[0].point_at(1), "Failed")]
    counts = Counter(
        propose(space, method="Random", seed=seed, history=tried)[0].point.parameters["x"]
        for seed in range(300)
    )
    assert counts.keys() == {1, 3, 4}
    assert all(70 < count < 130 for count in counts.values())


def test_the_last_points_of_a_large_space_are_equally_likely() -> None:
    space = SearchSpace((Branch("a", ("m",), {"x": IntRange(0, 299)}),))
    left = {0, 150, 299}
    tried = [
        Observation(space.arms[0].point_at(index), "Failed") for index in range(300) if index not in left
    ]
    counts = Counter(
        propose(space, method="Random", seed=seed, history=tried)[0].point.parameters["x"]
        for seed in range(150)
    )
    assert counts.keys() == left
    assert min(counts.values()) > 30


def test_seeds_lead_to_different_points() -> None:
    space = SearchSpace((Branch("a", ("m",), {"rate": LogUniformRange(1e-6, 1e-2)}),))
    points = {propose(space, method="Random", seed=seed, history=[])[0].point for seed in (-1, 0, 1, 2**80)}
    assert len(points) == 4


def test_points_of_a_seed_stay_the_same_from_release_to_release() -> None:
    space = SearchSpace(
        (Branch("a", ("m", "n"), {"epochs": IntRange(1, 5), "rate": LogUniformRange(1e-6, 1e-2)}),)
    )
    points = [proposal.point for proposal in propose(space, method="Random", seed=7, history=[], count=3)]
    assert [(point.base_model, *point.parameters.values()) for point in points] == [
        ("m", 4, 0.0050325),
        ("m", 1, 9.27372e-05),
        ("n", 4, 6.73107e-06),
    ]


@settings(max_examples=30, deadline=None)
@given(spaces(small_parameters(), most_parameters=2), st.sampled_from(["Grid", "Random"]), st.integers())
def test_any_finite_space_is_used_up_exactly(space: SearchSpace, method: str, seed: int) -> None:
    size = space.size or 0
    proposals = propose(space, method=method, seed=seed, history=[], count=size + 1)  # type: ignore[arg-type]
    points = [proposal.point for proposal in proposals]
    assert len(set(points)) == len(points) == size
    assert all(space.contains(point) for point in points)
    with pytest.raises(SearchSpaceExhausted):
        propose(
            space,
            method=method,  # type: ignore[arg-type]  # one of the methods
            seed=seed,
            history=[Observation(point, "Failed") for point in points],
        )


@settings(max_examples=50, deadline=None)
@given(spaces(parameters()), st.integers())
def test_points_of_any_space_are_inside_it(space: SearchSpace, seed: int) -> None:
    proposals = propose(space, method="Random", seed=seed, history=[], count=3)
    assert all(space.contains(proposal.point) for proposal in proposals)
    assert {proposal.origin for proposal in proposals} == {"random"}
