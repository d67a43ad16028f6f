"""From conversations to token ids, the same way for training and for answering. Knows tokenizers, not torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IGNORED = -100

# For base models that were never taught a chat: plain text that any of them has seen.
FALLBACK_TEMPLATE = (
    "{% for message in messages %}{{ '### ' + message['role'] | capitalize + ':\\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)


class TrainingError(Exception):
    """Training cannot go on; the message is one line that a person can act on and holds no training data."""


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation as tokens.

    Attributes:
        ids: Token ids, shape (n,).
        labels: The same ids where the loss counts, IGNORED elsewhere, shape (n,).
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]


def prompt_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of a conversation up to where the assistant's next answer begins."""
    return _tokens(tokenizer, _render(tokenizer, messages, generation=True))


def encode(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, max_length: int) -> Example:
    """Tokens and labels of a conversation that ends with the assistant.

    The text is cut at the borders of the assistant's turns and each piece is tokenised alone, so that a prompt has
    the same tokens here as when the model answers. The loss counts on the assistant's text and the token that
    ends its turn. What is longer than `max_length` loses its beginning.

    Raises:
        TrainingError: There is no answer to learn from.
    """
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not turns or turns[-1] != len(messages) - 1:
        raise TrainingError("the last message is not the assistant's, so there is nothing to learn")
    ids: list[int] = []
    labels: list[int] = []
    for prompt, answer in _pieces(tokenizer, messages, turns):
        prompt_tokens, answer_tokens = _tokens(tokenizer, prompt), _tokens(tokenizer, answer)
        counted = _until_end(answer_tokens, tokenizer.eos_token_id)
        ids += prompt_tokens + answer_tokens
        labels += [IGNORED] * len(prompt_tokens) + answer_tokens[:counted]
        labels += [IGNORED] * (len(answer_tokens) - counted)
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in labels:
        ids.append(tokenizer.eos_token_id)
        labels.append(tokenizer.eos_token_id)
    ids, labels = _without_tail(ids, labels)
    return Example(tuple(ids[-max_length:]), tuple(labels[-max_length:]))


def read_examples(path: Path, tokenizer: Any, *, max_length: int) -> list[Example]:
    """All conversations of a JSONL file.

    Raises:
        TrainingError: A line that cannot be read, with its number, or an empty file.
    """
    examples = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                turns = json.loads(line)["messages"]
                messages = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
                examples.append(encode(tokenizer, messages, max_length=max_length))
            except (TrainingError, ValueError, KeyError, TypeError) as error:
                reason = error if isinstance(error, TrainingError) else type(error).__name__
                raise TrainingError(f"training data {path.name}, line {number}: {reason}") from error
    if not examples:
        raise TrainingError(f"training data {path.name} holds no conversation")
    return examples


def _render(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, generation: bool) -> str:
    from jinja2 import TemplateError

    template = tokenizer.chat_template or FALLBACK_TEMPLATE
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=generation,
        )
    except TemplateError as error:
        raise TrainingError(f"the model's chat template does not take the conversation: {error}") from error
    return text


def _tokens(tokenizer: Any, text: str) -> list[int]:
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens


def _pieces(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], turns: Sequence[int]
) -> list[tuple[str, str]]:
    """The text as (prompt, answer) pairs, one for each of the assistant's turns.

    Some templates render earlier turns differently once a later one follows; then only the last turn is taught.
    """
    pieces, done = [], ""
    for turn in turns:
        prompt = _render(tokenizer, messages[:turn], generation=True)
        answered = _render(tokenizer, messages[: turn + 1], generation=False)
        if not (prompt.startswith(done) and answered.startswith(prompt)):
            return [_last_piece(tokenizer, messages)]
        pieces.append((prompt[len(done) :], answered[len(prompt) :]))
        done = answered
    return pieces


def _last_piece(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    prompt = _render(tokenizer, messages[:-1], generation=True)
    whole = _render(tokenizer, messages, generation=False)
    if whole.startswith(prompt):
        return prompt, whole[len(prompt) :]
    return prompt, messages[-1]["content"] + (tokenizer.eos_token or "")


def _until_end(tokens: Sequence[int], end: int | None) -> int:
    """How many tokens of an answer count: up to and with the first end-of-turn token."""
    return tokens.index(end) + 1 if end in tokens else len(tokens)


def _without_tail(ids: list[int], labels: list[int]) -> tuple[list[int], list[int]]:
    """Drop what follows the last label: nothing is learned from it."""
    last = max(index for index, label in enumerate(labels) if label != IGNORED)
    return ids[: last + 1], labels[: last + 1]
