from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_operator.evaluation import score
from finetune_operator.resources.sweep import GENERATED_METRICS

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["yes", "no", "Yes ", "the cat sat", "a cat", "", "!!!", "语言 模型", "İ", "ß"]),
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=30)


def one(metric: str, answers: list[str], references: list[str]) -> float:
    return score(answers, references, metrics=[metric])[metric]


def test_all_generated_metrics_are_scored() -> None:
    assert set(score(["a"], ["a"])) == set(GENERATED_METRICS)


@given(PAIRS)
@settings(max_examples=40, deadline=None)
def test_scores_lie_in_range_whatever_the_texts(pairs: list[tuple[str, str]]) -> None:
    answers, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert all(0 <= value <= 1 for value in score(answers, references).values())


@given(st.lists(TEXTS, min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_perfect_answers_score_one(references: list[str]) -> None:
    assert score(references, references) == pytest.approx(dict.fromkeys(GENERATED_METRICS, 1.0))


@given(PAIRS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter(pairs: list[tuple[str, str]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    before = score([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    after = score([pair[0] for pair in shuffled], [pair[1] for pair in shuffled])
    assert after == pytest.approx(before, abs=1e-12)


def test_empty_answers_score_zero() -> None:
    assert score(["", " "], ["yes", "no"]) == dict.fromkeys(GENERATED_METRICS, 0.0)


@pytest.mark.parametrize(
    ("metric", "answer", "value"),
    [
        ("accuracy", " YES\n", 1),
        ("exactMatch", " YES\n", 0),
        ("exactMatch", " yes\n", 1),
        ("accuracy", "yes.", 0),
        ("accuracy", "yes, it is", 0),
    ],
)
def test_case_counts_for_exact_match_only(metric: str, answer: str, value: float) -> None:
    assert one(metric, [answer], ["yes"]) == value


def test_macro_f1_gives_each_label_the_same_weight() -> None:
    references = ["a", "a", "a", "b"]
    # a: precision 3/4, recall 1 -> 6/7; b: never answered -> 0
    assert one("macroF1", ["a", "A", "a ", "a"], references) == pytest.approx(3 / 7)


def test_answer_that_is_no_label_is_a_wrong_one_for_macro_f1() -> None:
    # a: precision 1, recall 1/2 -> 2/3; b: 1; the unknown label has no F1 of its own
    assert one("macroF1", ["a", "unknown", "b"], ["a", "a", "b"]) == pytest.approx((2 / 3 + 1) / 2)


def test_macro_f1_of_many_rare_labels_gives_no_warning() -> None:
    labels = [str(number) for number in range(60)]
    assert one("macroF1", labels[:30] + ["x"] * 30, labels) == pytest.approx(0.5)


def test_rouge_l_counts_the_longest_common_subsequence() -> None:
    # common: the cat on the mat (5); 6 words said, 6 expected
    answer, reference = "the cat lay on the mat", "the cat sat on the mat"
    assert one("rougeL", [answer], [reference]) == pytest.approx(5 / 6)


def test_rouge_l_sees_letters_of_every_script() -> None:
    assert one("rougeL", ["большой дом"], ["большой сад"]) == pytest.approx(0.5)
    assert one("rougeL", ["!!!"], ["???"]) == 0


def test_rouge_l_of_very_long_texts_looks_at_their_beginnings() -> None:
    assert one("rougeL", ["word " * 20_000 + "end"], ["word " * 20_000]) == 1


def test_token_f1_follows_squad() -> None:
    # the article and the full stop go; shared: cat, sat; 3 words said, 2 expected
    assert one("tokenF1", ["The cat sat down."], ["a cat sat"]) == pytest.approx(2 * 2 / (3 + 2))
    assert one("tokenF1", ["no no no"], ["no"]) == pytest.approx(2 * 1 / (3 + 1))
    assert one("tokenF1", ["The."], ["the"]) == 1
    assert one("tokenF1", ["The."], ["cat"]) == 0


def test_mean_is_over_the_examples() -> None:
    assert one("accuracy", ["a", "b", "c", "d"], ["a", "b", "c", "x"]) == 0.75


@pytest.mark.parametrize(
    ("answers", "references", "metrics", "message"),
    [
        ([], [], ["accuracy"], "at least one"),
        (["a"], ["a", "b"], ["accuracy"], "as many answers as references"),
        (["a"], ["a"], ["bleu"], "unknown metric 'bleu'; allowed: accuracy, exactMatch"),
        (["a"], ["a"], ["validationLoss"], "unknown metric 'validationLoss'"),
    ],
)
def test_unusable_input_is_refused(
    answers: list[str], references: list[str], metrics: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score(answers, references, metrics=metrics)
