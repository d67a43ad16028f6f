"""Which answers to show, and what all of them say together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from finetune_operator.report.content import AnsweredExample

SHOWN = 8
LONGEST_TEXT = 1200
"""Characters of a question or an answer that are shown."""


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One row of the comparison.

    Attributes:
        index: Place in the evaluation set, from 0.
        kind: `better`, `worse`, `wrong` (both) or `right` (both).
        question: What was asked, cut.
        wanted: What was expected, cut.
        base: The base model's answer, cut.
        best: The best model's answer, cut.
        base_right: Whether the base model's answer has the full score.
        best_right: Whether the best model's answer has the full score.
    """

    index: int
    kind: str
    question: str
    wanted: str
    base: str
    best: str
    base_right: bool
    best_right: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Base and best model, answer by answer.

    Attributes:
        shown: Examples of every kind, in turn.
        total: How many questions both answered.
        better: On how many the best model's answer scores more.
        worse: On how many it scores less.
        right: Same score, and it is the full one.
        wrong: Same score, and it is not the full one.
    """

    shown: tuple[ShownExample, ...]
    total: int
    better: int
    worse: int
    right: int
    wrong: int


def compare(answers: Sequence[AnsweredExample], *, show: int = SHOWN) -> Comparison | None:
    """The comparison; None where no question was answered by both.

    The rows are chosen by kind in turn and by place within a kind, so that they show what got worse too, whatever
    the shares are.
    """
    if not answers:
        return None
    kinds: dict[str, list[AnsweredExample]] = {"better": [], "worse": [], "wrong": [], "right": []}
    for each in sorted(answers, key=lambda one: one.index):
        kinds[_kind(each)].append(each)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    chosen = list(itertools.islice((each for each in in_turn if each is not None), show))
    order = list(kinds)
    chosen.sort(key=lambda each: (order.index(_kind(each)), each.index))
    counts = {kind: len(found) for kind, found in kinds.items()}
    return Comparison(tuple(_shown(each) for each in chosen), len(answers), **counts)


def _kind(example: AnsweredExample) -> str:
    if example.best_score != example.base_score:
        return "better" if example.best_score > example.base_score else "worse"
    return "right" if example.best_score >= 1 else "wrong"


def _shown(each: AnsweredExample) -> ShownExample:
    return ShownExample(
        each.index,
        _kind(each),
        _cut(each.question),
        _cut(each.wanted),
        _cut(each.base),
        _cut(each.best),
        each.base_score >= 1,
        each.best_score >= 1,
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
