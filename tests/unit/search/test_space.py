from collections.abc import Callable

import pytest
from hypothesis import given, settings
from tests.unit.search.strategies import small_parameters, spaces

from finetune_operator.search import (
    Branch,
    IntRange,
    InvalidSpace,
    LogUniformRange,
    Point,
    SearchSpace,
    UniformRange,
    Values,
    check_method,
    space_size,
)

EPOCHS = {"epochs": IntRange(1, 3)}


def test_size_is_the_sum_over_the_branches() -> None:
    space = SearchSpace(
        (Branch("a", ("m", "n"), {**EPOCHS, "batchSize": Values(("4", "8"))}), Branch("b", ("o",), EPOCHS))
    )
    assert space_size(space) == space.size == 2 * 3 * 2 + 3


def test_one_continuous_parameter_makes_the_space_continuous() -> None:
    space = SearchSpace((Branch("a", ("m",), EPOCHS), Branch("b", ("m",), {"rate": UniformRange(0.0, 1.0)})))
    assert space_size(space) is None


def test_written_order_does_not_matter() -> None:
    first, second = (
        Branch("a", ("m", "n"), {"x": IntRange(1, 2), "y": IntRange(1, 2)}),
        Branch("b", ("o",), {}),
    )
    turned = Branch("a", ("n", "m"), {"y": IntRange(1, 2), "x": IntRange(1, 2)})
    assert SearchSpace((first, second)) == SearchSpace((second, turned))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SearchSpace(()), "candidates: lists no candidate"),
        (lambda: SearchSpace((Branch("a", ("m",), {}),) * 2), "candidates: the name 'a' is given twice"),
        (lambda: Branch("a", (), {}), ".baseModels: names no base model"),
        (lambda: Branch("a", ("m", "n", "m"), {}), r".baseModels\[2\]: 'm' is listed twice"),
    ],
)
def test_wrong_space_is_refused_with_its_path(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidSpace, match=message):
        build()


@pytest.mark.parametrize(
    "point",
    [
        Point("x", "m", {"epochs": 1}),
        Point("a", "x", {"epochs": 1}),
        Point("a", "m", {}),
        Point("a", "m", {"epochs": 1, "other": 1}),
        Point("a", "m", {"epochs": 4}),
    ],
)
def test_point_of_another_space_is_not_contained(point: Point) -> None:
    space = SearchSpace((Branch("a", ("m",), EPOCHS),))
    assert space.contains(Point("a", "m", {"epochs": 1}))
    assert not space.contains(point)


@settings(max_examples=50)
@given(spaces(small_parameters()))
def test_combinations_of_an_arm_are_numbered(space: SearchSpace) -> None:
    for arm in space.arms:
        points = [arm.point_at(index) for index in range(arm.size or 0)]
        assert len(set(points)) == arm.size
        assert [arm.index_of(point) for point in points] == list(range(len(points)))
        assert all(arm.contains(point) for point in points)


def test_grid_over_a_real_range_without_steps_is_refused_with_the_path_of_the_parameter() -> None:
    space = SearchSpace((Branch("nova", ("m",), {**EPOCHS, "rate": LogUniformRange(1e-6, 1e-4)}),))
    check_method(space, "Random")
    check_method(space, "Bayesian")
    with pytest.raises(InvalidSpace) as caught:
        check_method(space, "Grid")
    assert caught.value.field == "candidates[nova].parameters.rate.logUniform.steps"
