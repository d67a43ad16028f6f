"""Scores of a model's answers against the expected ones.

Every score lies in [0, 1], 1 is best, none is ever NaN, and the order of the examples does not matter. Two
texts count as the same answer where they are equal without the white space around them (`exactMatch`) and
also without regard to case (`accuracy`, `macroF1`). An empty answer is an ordinary wrong one.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from finetune_operator.resources.sweep import GENERATED_METRICS

ROUGE_MAX_WORDS = 1000
"""ROUGE-L looks at this many words of each text; its time grows with the product of the two lengths."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"\w+")


def score(
    answers: Sequence[str], references: Sequence[str], *, metrics: Collection[str] = GENERATED_METRICS
) -> dict[str, float]:
    """Score answers by one or more metrics. Blocking: some take seconds on many long texts.

    Args:
        answers: What the model said.
        references: What it should have said, in the same order.
        metrics: Canonical names; all generated metrics unless told.

    Returns:
        A score in [0, 1] for each name.

    Raises:
        ValueError: There are no answers, not as many as references, or a metric is unknown.
    """
    if not answers or len(answers) != len(references):
        raise ValueError(
            f"need as many answers as references, and at least one: {len(answers)}, {len(references)}"
        )
    unknown = sorted(set(metrics) - set(_METRICS))
    if unknown:
        raise ValueError(f"unknown metric {unknown[0]!r}; allowed: {', '.join(_METRICS)}")
    return {name: _METRICS[name](answers, references) for name in _METRICS if name in metrics}


def load_metrics() -> None:
    """Import what scores need, which takes two seconds and holds every other thread up. Blocking."""
    score(["answer"], ["answer"])


def _mean(values: Sequence[float]) -> float:
    return min(1.0, math.fsum(values) / len(values))


def _normalised(text: str) -> str:
    return text.strip().casefold()


def _accuracy(answers: Sequence[str], references: Sequence[str]) -> float:
    """Share of answers that equal the reference, case and outer white space aside."""
    pairs = zip(answers, references, strict=True)
    return _mean([float(_normalised(answer) == _normalised(reference)) for answer, reference in pairs])


def _exact_match(answers: Sequence[str], references: Sequence[str]) -> float:
    """Share of answers that equal the reference, outer white space aside."""
    pairs = zip(answers, references, strict=True)
    return _mean([float(answer.strip() == reference.strip()) for answer, reference in pairs])


def _macro_f1(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean of the F1 of each label that the references have.

    An answer that is no label counts against the recall of the label it should have been, and against no
    label's precision. A label that is never answered has an F1 of 0.
    """
    from scipy.sparse import csr_array
    from sklearn.metrics import f1_score

    labels = sorted({_normalised(reference) for reference in references})
    columns = {label: column for column, label in enumerate(labels)}

    def indicators(texts: Sequence[str]) -> csr_array:
        # A column for each label and one for everything else, because scikit-learn warns of class numbers
        # where most labels are rare.
        cells = [columns.get(_normalised(text), len(columns)) for text in texts]
        ones = ([1] * len(texts), (range(len(texts)), cells))
        return csr_array(ones, shape=(len(texts), len(columns) + 1), dtype=int)

    value = f1_score(
        indicators(references),
        indicators(answers),
        labels=range(len(columns)),
        average="macro",
        zero_division=0,
    )
    return min(1.0, float(value))


class _Words:
    """Words of any script, for rouge-score, whose own tokenizer drops every letter that is not ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.casefold())[:ROUGE_MAX_WORDS]


def _rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean F-measure of ROUGE-L (Lin 2004): the longest common subsequence of words.

    Texts without any word are compared as `exactMatch` does.
    """
    from rouge_score.rouge_scorer import RougeScorer

    words = _Words()
    scorer = RougeScorer(["rougeL"], tokenizer=words)

    def one(answer: str, reference: str) -> float:
        if not words.tokenize(answer) and not words.tokenize(reference):
            return float(answer.strip() == reference.strip())
        return float(scorer.score(reference, answer)["rougeL"].fmeasure)

    return _mean([one(answer, reference) for answer, reference in zip(answers, references, strict=True)])


def _token_f1(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean F1 of the words that answer and reference share, as SQuAD counts them.

    Lower case, punctuation and English articles are left out first. Where nothing is left of one of the two,
    the score is 1 if nothing is left of both, else 0.

    Source: Rajpurkar et al. 2016, SQuAD: 100,000+ Questions, section 6.1, F1 score.
    """
    pairs = zip(answers, references, strict=True)
    return _mean([_shared_f1(_squad_tokens(answer), _squad_tokens(reference)) for answer, reference in pairs])


def _squad_tokens(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _shared_f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    shared = (Counter(answer) & Counter(reference)).total()
    return 2 * shared / (len(answer) + len(reference))


_METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "accuracy": _accuracy,
    "exactMatch": _exact_match,
    "macroF1": _macro_f1,
    "rougeL": _rouge_l,
    "tokenF1": _token_f1,
}
