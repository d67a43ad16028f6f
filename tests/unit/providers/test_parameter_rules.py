"""What a hyperparameter may be: read from how it is written, held against values, told to people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_providers.base import ModelRules, ParameterRule, ProviderConfig
from finetune_providers.catalog import load_catalog


def rules_of(entry: dict[str, Any]) -> ModelRules:
    """The rules of an account's own model."""
    config = ProviderConfig("p", "Acme", Path("/nowhere"), models={"mine": entry})
    return load_catalog(config).models["mine"]


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.sampled_from(["int", "float"]), NUMBERS, NUMBERS, st.booleans(), NUMBERS)
def test_a_rule_permits_what_lies_within_its_bounds(
    kind: str, lower: float, upper: float, exclusive: bool, value: float
) -> None:
    lower, upper = sorted((lower, upper))
    value = round(value) if kind == "int" else value
    written = {"type": kind, "above" if exclusive else "min": lower, "max": upper}
    rule = rules_of({"parameters": {"p": written}}).parameters["p"]
    assert rule.permits(value) is ((lower < value if exclusive else lower <= value) and value <= upper)
    assert not rule.permits(str(value))


@given(st.lists(st.integers(-(10**20), 10**20), min_size=1, unique=True), st.integers(-(10**20), 10**20))
def test_whole_numbers_are_read_exactly_whether_they_are_text_or_not(values: list[int], other: int) -> None:
    as_text = rules_of({"parameters": {"p": {"type": "int", "values": [str(value) for value in values]}}})
    as_numbers = rules_of({"parameters": {"p": {"type": "int", "values": values}}})
    assert as_text == as_numbers
    rule = as_text.parameters["p"]
    assert rule.allowed == tuple(values)
    assert rule.permits(other) is (other in values)


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.text())
def test_words_are_permitted_as_they_are_listed(values: list[str], other: str) -> None:
    rule = rules_of({"parameters": {"p": {"type": "string", "values": values}}}).parameters["p"]
    assert all(rule.permits(value) for value in values)
    assert rule.permits(other) is (other in values)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_bound_that_yaml_takes_for_text_is_read_as_the_number_that_it_is(bound: float) -> None:
    assert rules_of({"parameters": {"p": {"max": repr(bound)}}}).parameters["p"].maximum == bound


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1"])
def test_what_is_no_number_is_never_permitted_where_one_is_asked_for(kind: str, value: Any) -> None:
    assert not ParameterRule(kind).permits(value)


def test_a_number_of_any_size_is_compared_without_failing() -> None:
    assert ParameterRule("int", minimum=1).permits(10**400)
    assert not ParameterRule("int", minimum=1, maximum=5).permits(10**400)
    assert ParameterRule("int").permits(4.0)
    assert not ParameterRule("int").permits(4.5)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (ParameterRule("int"), "an int"),
        (ParameterRule("int", minimum=1, maximum=50), "an int from 1 to 50"),
        (ParameterRule("float", minimum=0, exclusive_minimum=True), "a float above 0"),
        (ParameterRule("float", maximum=0.5), "a float up to 0.5"),
        (ParameterRule("int", allowed=(4, 16)), "one of 4, 16"),
    ],
)
def test_a_rule_is_described_as_a_person_reads_it(rule: ParameterRule, text: str) -> None:
    assert rule.describe() == text
