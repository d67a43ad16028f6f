"""YAML in and out: numbers stay numbers and texts stay texts."""

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.resources import dump_yaml, load_yaml, load_yaml_documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E-3", 1e-3),
        ("-1.5e-2", -0.015),
        (".2", 0.2),
        ("5.", 5.0),
        ("4", 4),
        ("+4", 4),
        ("4.0", 4.0),
        ('"1e-5"', "1e-5"),
        ("'4'", "4"),
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("1_000", 1000),
        ("1_0.5", 10.5),
        ("0x10", 16),
        ("010", 8),
        ("0o10", 8),
        ("08", 8),
        ("-0b11", -3),
        ("yes", True),
        ("y", True),
        ("off", False),
        ("=", "="),
        ("<<", "<<"),
        ("1e5h", "1e5h"),
        ("e5", "e5"),
        ("1e", "1e"),
        (".", "."),
        ("-", [None]),
        ("true", True),
        ("~", None),
    ],
)
def test_scalar_is_read_as_kubectl_reads_it(text: str, value: Any) -> None:
    read = load_yaml(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.inf", ".NaN"])
def test_special_float_is_a_float(text: str) -> None:
    assert not math.isfinite(load_yaml(text))


@pytest.mark.parametrize(
    "text",
    [
        "1e-4",
        "4",
        "0.5",
        ".5",
        "1.",
        "true",
        "null",
        "~",
        "",
        "2026-01-01",
        "1_000",
        "0x10",
        "no",
        "1:30",
        "y",
    ],
)
def test_text_that_looks_like_something_else_stays_a_text(text: str) -> None:
    assert load_yaml(dump_yaml({"value": text})) == {"value": text}
    assert yaml.safe_load(dump_yaml({"value": text})) == {"value": text}


def test_number_in_scientific_notation_is_read_by_every_reader() -> None:
    written = dump_yaml({"min": 1e-5, "max": 1e16})
    assert yaml.safe_load(written) == {"min": 1e-5, "max": 1e16}
    assert load_yaml(written) == {"min": 1e-5, "max": 1e16}


def test_documents_are_read_one_by_one_without_the_empty_ones() -> None:
    assert load_yaml_documents("a: 1\n---\n---\nb: 1e-5\n---\n") == [{"a": 1}, {"b": 1e-5}]


def test_fields_keep_their_order_and_nothing_is_an_alias() -> None:
    shared = {"uri": "s3://a/b"}
    assert dump_yaml({"z": shared, "a": shared}) == "z:\n  uri: s3://a/b\na:\n  uri: s3://a/b\n"


def test_merge_key_fills_a_mapping() -> None:
    assert load_yaml("a: &a {x: 1}\nb: {<<: *a, z: 2}\n")["b"] == {"x": 1, "z": 2}


@pytest.mark.parametrize("text", ["!!int abc", "!!int ''", "!!float 1:30", "0x_", "a: [", "a: 1\n---\nb: 2"])
def test_what_cannot_be_read_is_an_error_of_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


def test_python_objects_are_not_built() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(value=_PLAIN)
def test_what_is_written_is_read_back(value: Any) -> None:
    read = load_yaml(dump_yaml(value))
    assert read == value
    assert json.dumps(read) == json.dumps(value)
