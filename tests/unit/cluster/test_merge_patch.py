"""Merge patches turn what was into what shall be, and say nothing where nothing changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.cluster.patches import merge_patch, without_nan

_SCALARS = st.sampled_from([True, False, 0, 1, 1.0, 2.5, "", "x", "1"])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner)),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("abcd"), _VALUES)


def applied(patch: object, target: object) -> object:
    """RFC 7396, section 2, as the API server does it."""
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(value, result.get(name))
    return result


@given(before=_OBJECTS, after=_OBJECTS)
def test_a_patch_turns_one_object_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert applied(merge_patch(before, after), before) == after


@given(value=_OBJECTS)
def test_equal_objects_need_no_patch(value: dict[str, Any]) -> None:
    assert merge_patch(value, value) == {}


def test_only_what_differs_is_in_a_patch() -> None:
    before = {"phase": "Training", "metrics": {"loss": 2.0, "steps": 3}, "series": [1, 2], "message": "x"}
    after = {"phase": "Training", "metrics": {"loss": 1.5}, "series": [1, 2, 3], "score": 1}
    assert merge_patch(before, after) == {
        "message": None,
        "metrics": {"steps": None, "loss": 1.5},
        "series": [1, 2, 3],
        "score": 1,
    }


def test_a_number_that_json_wrote_without_fraction_is_no_change() -> None:
    assert merge_patch({"score": 1}, {"score": 1.0}) == {}


def test_true_is_not_one() -> None:
    assert merge_patch({"modelDeleted": 1}, {"modelDeleted": True}) == {"modelDeleted": True}


def test_numbers_that_json_does_not_have_are_left_out() -> None:
    nan, endless = float("nan"), float("inf")
    status = {
        "score": nan,
        "metrics": {"loss": endless, "steps": 3},
        "series": [{"step": 1, "values": {"a": nan}}],
    }
    assert without_nan(status) == {"metrics": {"steps": 3}, "series": [{"step": 1, "values": {}}]}
    assert without_nan([1.5, -endless, "nan", None, True]) == [1.5, "nan", None, True]
