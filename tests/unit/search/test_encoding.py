import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.search.strategies import parameters, spaces

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Parameter,
    Point,
    SearchSpace,
    UniformRange,
    Values,
    propose,
)
from finetune_operator.search.encoding import INDICATOR, NEUTRAL, Encoder, draws_of, point_of


def columns_of(space: SearchSpace, *points: Point) -> list[list[float]]:
    """Encoded rows, without the indicators of the arms."""
    rows: list[list[float]] = np.round(Encoder(space).encode(points)[:, len(space.arms) :], 6).tolist()
    return rows


def two_branches(first: Parameter, second: Parameter) -> SearchSpace:
    return SearchSpace((Branch("a", ("m",), {"x": first}), Branch("b", ("n",), {"x": second})))


def test_base_models_are_told_apart_by_their_indicators() -> None:
    space = SearchSpace((Branch("a", ("m", "n"), {}), Branch("b", ("m",), {})))
    rows = Encoder(space).encode([Point("a", "n", {}), Point("b", "m", {})])
    assert rows.tolist() == [[0.0, INDICATOR, 0.0], [0.0, 0.0, INDICATOR]]


def test_branches_share_the_axis_of_a_parameter_over_both_ranges() -> None:
    space = two_branches(IntRange(1, 3), IntRange(3, 5))
    assert columns_of(space, Point("a", "m", {"x": 3}), Point("b", "n", {"x": 3})) == [[0.5], [0.5]]
    assert columns_of(space, Point("a", "m", {"x": 1}), Point("b", "n", {"x": 5})) == [[0.0], [1.0]]


def test_axis_is_logarithmic_if_one_branch_is() -> None:
    space = two_branches(LogUniformRange(1e-6, 1e-4), UniformRange(1e-5, 1e-2))
    assert columns_of(space, Point("a", "m", {"x": 1e-4}), Point("b", "n", {"x": 1e-4})) == [[0.5], [0.5]]


def test_axis_that_reaches_zero_is_linear() -> None:
    space = two_branches(LogUniformRange(1e-6, 1.0), UniformRange(0.0, 1.0))
    assert columns_of(space, Point("a", "m", {"x": 0.25})) == [[0.25]]


def test_lists_of_numbers_share_their_ranks() -> None:
    space = two_branches(Values(("4", "8", "16")), Values(("8", "64", "256")))
    assert columns_of(space, Point("a", "m", {"x": 8}), Point("b", "n", {"x": 8})) == [[0.25], [0.25]]


def test_list_and_range_share_one_axis_by_value() -> None:
    space = two_branches(Values(("1", "2", "4")), IntRange(1, 5))
    assert columns_of(space, Point("a", "m", {"x": 4}), Point("b", "n", {"x": 4})) == [[0.75], [0.75]]


def test_texts_and_numbers_of_one_name_have_an_axis_each() -> None:
    space = two_branches(Values(("4", "8")), Values(("4", "auto")))
    assert columns_of(space, Point("a", "m", {"x": 8}), Point("b", "n", {"x": "auto"})) == [
        [1.0, 0.0, 0.0],
        [NEUTRAL, 0.0, INDICATOR],
    ]


def test_parameter_that_a_branch_lacks_is_neutral() -> None:
    space = SearchSpace((Branch("a", ("m",), {"x": IntRange(1, 3)}), Branch("b", ("n",), {})))
    assert columns_of(space, Point("b", "n", {})) == [[NEUTRAL]]


@settings(max_examples=50, deadline=None)
@given(spaces(parameters()), st.integers(0, 99))
def test_any_point_is_encoded_within_the_unit_cube_and_comes_back(space: SearchSpace, seed: int) -> None:
    for proposal in propose(space, method="Random", seed=seed, history=[], count=2):
        arm = space.arm_of(proposal.point)
        assert arm is not None
        rows = Encoder(space).encode([proposal.point])
        assert rows.shape == (1, Encoder(space).columns)
        assert ((rows >= -1e-12) & (rows <= 1 + 1e-12)).all()
        assert point_of(arm, draws_of(arm, proposal.point)[0].tolist()) == proposal.point


@settings(max_examples=25, deadline=None)
@given(spaces(parameters()))
def test_points_that_differ_are_encoded_apart(space: SearchSpace) -> None:
    points = [proposal.point for proposal in propose(space, method="Random", seed=1, history=[], count=4)]
    assert len(np.unique(Encoder(space).encode(points), axis=0)) == len(points)


def test_places_are_those_in_the_arms_own_range() -> None:
    space = two_branches(LogUniformRange(1e-6, 1e-4), LogUniformRange(1e-6, 1e-2))
    encoder = Encoder(space)
    points = [
        Point("a", "m", {"x": 1e-5}),
        Point("b", "n", {"x": 1e-4}),
        Point("a", "m", {"x": 1e-4}),
        Point("b", "n", {"x": 1e-6}),
    ]
    assert encoder.places(encoder.encode(points)).sum(axis=1).tolist() == pytest.approx([0.0, 0.0, 1.0, -1.0])


def test_parameters_without_an_order_or_a_choice_are_in_the_middle() -> None:
    space = two_branches(Values(("p", "q")), Values(("7",)))
    encoder = Encoder(space)
    points = [Point("a", "m", {"x": "q"}), Point("b", "n", {"x": 7})]
    assert not encoder.places(encoder.encode(points)).any()


@settings(max_examples=50, deadline=None)
@given(spaces(parameters()), st.integers(0, 99))
def test_places_lie_between_the_ends_of_the_ranges(space: SearchSpace, seed: int) -> None:
    encoder = Encoder(space)
    points = [proposal.point for proposal in propose(space, method="Random", seed=seed, history=[], count=2)]
    assert np.abs(encoder.places(encoder.encode(points))).max() <= 1.0 + 1e-6
