"""What is learned: for each answer, how much each word speaks for it (logistic regression, one example at a time)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetune_providers.base import Conversation

Weights = dict[str, dict[str, float]]
"""By answer, then by word."""


def learn(weights: Weights, conversations: Sequence[Conversation], rate: float) -> float:
    """Go through the conversations once and change the weights; returns the mean loss on the way."""
    for conversation in conversations:
        weights.setdefault(conversation[-1]["content"], {})
    loss = 0.0
    for conversation in conversations:
        words, right = _words(conversation[:-1]), conversation[-1]["content"]
        shares = _shares(weights, words)
        loss -= math.log(max(shares[right], 1e-12))
        for each, share in shares.items():
            for word in words:
                step = rate * ((each == right) - share)
                weights[each][word] = weights[each].get(word, 0.0) + step
    return loss / max(1, len(conversations))


def answer(weights: Weights, conversation: Conversation) -> str:
    """The answer that the words speak for most; nothing where none was learned."""
    shares = _shares(weights, _words(conversation))
    return max(shares, key=lambda each: shares[each], default="")


def _words(conversation: Conversation) -> list[str]:
    return sorted({word for turn in conversation for word in turn["content"].lower().split()})


def _shares(weights: Weights, words: Sequence[str]) -> dict[str, float]:
    """The probability of each answer."""
    sums = {each: sum(known.get(word, 0.0) for word in words) for each, known in weights.items()}
    most = max(sums.values(), default=0.0)
    odds = {each: math.exp(total - most) for each, total in sums.items()}
    return {each: value / sum(odds.values()) for each, value in odds.items()}
