import time

import pytest
from hypothesis import given, settings
from tests.unit.search.strategies import small_parameters, spaces

from finetune_operator.search import (
    Branch,
    IntRange,
    Observation,
    Point,
    SearchSpace,
    SearchSpaceExhausted,
    propose,
)
from finetune_operator.search.grid import grid_index, grid_point

UNEVEN = SearchSpace(
    (Branch("a", ("m", "n"), {"x": IntRange(1, 3)}), Branch("b", ("o",), {"y": IntRange(1, 2)}))
)


def test_base_models_take_turns_until_they_run_out() -> None:
    points = [proposal.point for proposal in propose(UNEVEN, method="Grid", seed=0, history=[], count=99)]
    assert [(point.base_model, *point.parameters.values()) for point in points] == [
        ("m", 1), ("n", 1), ("o", 1), ("m", 2), ("n", 2), ("o", 2), ("m", 3), ("n", 3),
    ]  # fmt: skip


def test_grid_does_not_depend_on_the_seed() -> None:
    grids = {propose(UNEVEN, method="Grid", seed=seed, history=[], count=5) for seed in range(3)}
    assert len(grids) == 1


@settings(max_examples=50)
@given(spaces(small_parameters()))
def test_every_point_has_one_number(space: SearchSpace) -> None:
    points = [grid_point(space, number) for number in range(space.size or 0)]
    assert len(set(points)) == space.size
    assert [grid_index(space, point) for point in points] == list(range(len(points)))


def test_number_past_the_end_is_refused() -> None:
    with pytest.raises(IndexError, match="8 is not below 8"):
        grid_point(UNEVEN, 8)


def test_deleted_trial_is_proposed_again_before_new_ones() -> None:
    points = [proposal.point for proposal in propose(UNEVEN, method="Grid", seed=0, history=[], count=4)]
    history = [Observation(point, "Finished", 0.5) for point in points if point != points[1]]
    assert propose(UNEVEN, method="Grid", seed=0, history=history)[0].point == points[1]


def test_grid_of_a_million_million_points_is_not_listed() -> None:
    wide = {name: IntRange(1, 1000) for name in ("w", "x", "y", "z")}
    space = SearchSpace((Branch("a", ("m", "n"), wide),))
    assert space.size == 2 * 10**12
    started = time.process_time()
    history = [
        Observation(grid_point(space, number), "Finished", 0.5)
        for number in (*range(1000), 10**12, 2 * 10**12 - 1)
    ]
    (proposal,) = propose(space, method="Grid", seed=0, history=history)
    assert proposal.point == Point("a", "m", {"w": 501, "x": 1, "y": 1, "z": 1})
    assert time.process_time() - started < 5


def test_katibs_endless_sweep_ends() -> None:
    """Two by two values, eight trials wanted, four at a time: equal proposals must not stall the sweep."""
    space = SearchSpace((Branch("a", ("m",), {"x": IntRange(1, 2), "y": IntRange(1, 2)}),))
    for method in ("Grid", "Random", "Bayesian"):
        first = propose(space, method=method, seed=0, history=[], count=4)
        history = [Observation(proposal.point, "Pending") for proposal in first]
        assert len({proposal.point for proposal in first}) == 4
        with pytest.raises(SearchSpaceExhausted, match="4 tried or pending"):
            propose(space, method=method, seed=0, history=history, count=4)
