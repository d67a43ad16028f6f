"""Answers of base and best model side by side."""

from __future__ import annotations

from collections import Counter

from tests.unit.report.worlds import answers

from finetune_operator.report import AnsweredExample
from finetune_operator.report.examples import LONGEST_TEXT, SHOWN, compare


def test_all_answers_are_counted_and_some_of_each_kind_are_shown() -> None:
    found = compare(answers())
    assert found is not None
    assert (found.total, found.better, found.worse, found.right, found.wrong) == (20, 5, 5, 5, 5)
    assert Counter(each.kind for each in found.shown) == {"better": 2, "worse": 2, "right": 2, "wrong": 2}


def test_what_got_worse_is_shown_among_many_that_got_better() -> None:
    many = [AnsweredExample(place, "q", "a", "b", "a", 0.0, 1.0) for place in range(500)]
    found = compare([*many, AnsweredExample(500, "q", "a", "a", "b", 1.0, 0.0)])
    assert found is not None
    assert len(found.shown) == SHOWN
    assert [each.index for each in found.shown if each.kind == "worse"] == [500]


def test_half_right_twice_is_not_right() -> None:
    found = compare([AnsweredExample(0, "q", "a b", "a", "b", 0.5, 0.5)])
    assert found is not None
    assert (found.wrong, found.right) == (1, 0)


def test_long_texts_are_cut() -> None:
    found = compare([AnsweredExample(0, "q" * 9999, "a", "b", "c", 0.0, 1.0)])
    assert found is not None
    assert found.shown[0].question == "q" * (LONGEST_TEXT - 1) + "…"


def test_without_answers_there_is_nothing_to_compare() -> None:
    assert compare(()) is None
