import json
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.search.strategies import parameters, small_parameters

from finetune_operator.search import (
    IntRange,
    InvalidSpace,
    LogUniformRange,
    Parameter,
    ParameterValue,
    UniformRange,
    Values,
)


@given(parameters(), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_decoding_gives_back_what_was_encoded(parameter: Parameter, place: list[float]) -> None:
    value = parameter.decode(place)
    assert parameter.contains(value)
    encoded = parameter.encode(value)
    assert all(0.0 <= column <= 1.0 for column in encoded)
    assert parameter.decode(encoded) == value
    assert type(parameter.decode(encoded)) is type(value)


@given(parameters(), st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_value_survives_json(parameter: Parameter, place: list[float]) -> None:
    value = parameter.decode(place)
    assert parameter.contains(json.loads(json.dumps(value)))


@given(parameters(), st.floats(0, 1, exclude_max=True))
def test_drawn_value_belongs_to_the_parameter(parameter: Parameter, place: float) -> None:
    assert parameter.contains(parameter.drawn(place))


@given(small_parameters())
def test_each_finite_value_can_be_drawn(parameter: Parameter) -> None:
    assert {parameter.drawn(place / 1000) for place in range(1000)} == set(parameter.grid_values())


@given(small_parameters())
def test_finite_values_are_numbered_in_order(parameter: Parameter) -> None:
    values = list(parameter.grid_values())
    assert len(values) == parameter.size
    assert [parameter.value_at(index) for index in range(len(values))] == values
    assert [parameter.index_of(value) for value in values] == list(range(len(values)))
    assert all(low < high for low, high in pairwise(values))  # type: ignore[operator]  # of one type


@given(parameters(), st.integers(0, 10**9))
def test_index_of_a_value_leads_back_to_it(parameter: Parameter, number: int) -> None:
    if parameter.size is not None:
        index = number % parameter.size
        assert parameter.index_of(parameter.value_at(index)) == index


@pytest.mark.parametrize(
    ("texts", "items"),
    [
        pytest.param(("16", "4", "8"), (4, 8, 16), id="ints are sorted as numbers"),
        pytest.param(("0.1", "2", "1e-5"), (1e-5, 0.1, 2.0), id="one real makes all of them floats"),
        pytest.param(("8", "auto", "4"), ("4", "8", "auto"), id="one word makes all of them texts"),
        pytest.param(("nan", "1"), ("1", "nan"), id="not a number is a text"),
        pytest.param((".5", "1.", "+3"), (0.5, 1.0, 3.0), id="spellings that people use"),
        pytest.param((8, 4), (4, 8), id="numbers are taken as well"),
        pytest.param(("1_0", "2"), ("1_0", "2"), id="underscores make no number"),
        pytest.param(("1" * 30, "2"), (2.0, float("1" * 30)), id="very long whole numbers are floats"),
    ],
)
def test_type_of_values_follows_from_all_of_them(
    texts: tuple[ParameterValue, ...], items: tuple[ParameterValue, ...]
) -> None:
    values = Values(texts)
    assert values.items == items
    assert [type(item) for item in values.items] == [type(item) for item in items]


def test_order_of_values_does_not_matter() -> None:
    assert Values(("4", "16", "8")) == Values(("16", "8", "4"))


def test_numbers_have_one_column_and_texts_one_each() -> None:
    assert Values(("4", "16", "64")).encode(16) == (0.5,)
    assert Values(("a", "b", "c")).encode("b") == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("build", "field", "message"),
    [
        (lambda: IntRange(4, 1), ".int.min", "4 is above the maximum, 1"),
        (lambda: IntRange(1, 4, 0), ".int.step", "below 1"),
        (lambda: IntRange(0, 4, log=True), ".int.min", "0 is below 1"),
        (lambda: IntRange(1, 10**13), ".int.max", "12 digits"),
        (lambda: IntRange(True, 4), ".int.min", "True is not a whole number"),
        (lambda: UniformRange(1.0, 1.0), ".uniform.min", "1 is not below the maximum, 1"),
        (lambda: UniformRange(math.nan, 1.0), ".uniform.min", "nan is not a number"),
        (lambda: UniformRange(0.0, math.inf), ".uniform.max", "inf is not a number"),
        (lambda: UniformRange(0.0, 1.0, steps=1), ".uniform.steps", "1 is not between 2 and 10000"),
        (lambda: UniformRange(1.0, 1.0 + 1e-9), ".uniform.max", "too narrow"),
        (lambda: LogUniformRange(0.0, 1.0), ".logUniform.min", "0.0 is not above zero"),
        (lambda: LogUniformRange(1e-3, 1e-4), ".logUniform.min", "not below the maximum"),
        (lambda: Values(()), ".values", "at least one"),
        (lambda: Values(("4", "8", "4.0")), ".values[2]", "'4.0' is the same value as '4'"),
        (lambda: Values(("a", "b", "a")), ".values[2]", "'a' is the same value as 'a'"),
        (lambda: Values(("a", "")), ".values[1]", "is empty"),
        (lambda: Values(("1", "1e999")), ".values[1]", "too large"),
    ],
)
def test_wrong_parameter_is_refused_with_its_path(
    build: Callable[[], Parameter], field: str, message: str
) -> None:
    with pytest.raises(InvalidSpace) as caught:
        build()
    assert caught.value.field == field
    assert message in caught.value.message
    assert str(caught.value.under("candidates[a].parameters.x")).startswith(
        f"candidates[a].parameters.x{field}: "
    )


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (IntRange(1, 9, 2), (1, 3.0, 9), (0, 2, 10, 3.5, "3", None, True, math.nan, 10**400)),
        (UniformRange(0.0, 1.0), (0, 0.123456789, 1), (-0.1, 1.1, "0.5", math.nan, [0.5], True)),
        (UniformRange(0.0, 1.0, 3), (0, 0.5, 1.0), (0.4, 1.5, 2)),
        (LogUniformRange(1e-6, 1e-4, 3), (1e-6, 1e-5, 0.0001), (2e-5, 0)),
        (Values(("4", "8")), (4, 8.0), ("4", 5, None, [4])),
        (Values(("0.5", "1")), (0.5, 1), ("1",)),
        (Values(("auto", "4")), ("auto", "4"), (4, "8")),
    ],
)
def test_a_parameter_knows_its_values(
    parameter: Parameter, inside: tuple[object, ...], outside: tuple[object, ...]
) -> None:
    assert [value for value in inside if not parameter.contains(value)] == []
    assert [value for value in outside if parameter.contains(value)] == []


@pytest.mark.parametrize(
    "parameter", [IntRange(1, 3), UniformRange(0.0, 1.0), UniformRange(0.0, 1.0, 3), Values(("1", "2"))]
)
def test_value_from_outside_is_not_encoded(parameter: Parameter) -> None:
    with pytest.raises(ValueError, match="is not in"):
        parameter.encode(7)


def test_bounds_are_given_back_as_written() -> None:
    parameter = UniformRange(0.123456789, 0.987654321, steps=3)
    assert list(parameter.grid_values()) == [0.123456789, 0.555556, 0.987654321]


def test_real_values_are_short_enough_to_write_down() -> None:
    assert LogUniformRange(1e-6, 1e-4).decode((0.5123,)) == 1.05828e-05
    assert UniformRange(1000.0, 1001.0).decode((1 / 3,)) == 1000.33333


def test_logarithmic_ranges_have_their_middle_at_the_geometric_mean() -> None:
    assert LogUniformRange(1e-6, 1e-2).decode((0.5,)) == 1e-4
    assert IntRange(1, 64, log=True).decode((0.5,)) == 8
    assert IntRange(1, 65).decode((0.5,)) == 33


def test_logarithmic_whole_numbers_are_drawn_by_ratio() -> None:
    parameter = IntRange(1, 2**20, log=True)
    assert [parameter.drawn(place / 20) for place in range(20)] == [2**power for power in range(20)]


def test_real_range_without_steps_has_no_grid() -> None:
    with pytest.raises(InvalidSpace, match="steps"):
        UniformRange(0.0, 1.0).grid_values()
