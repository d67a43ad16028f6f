from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_providers.local_lora.chat import (
    FALLBACK_TEMPLATE,
    IGNORED,
    TrainingError,
    encode,
    prompt_ids,
    read_examples,
)

USER = {"role": "user", "content": "is it red"}
ANSWER = {"role": "assistant", "content": "warm"}


class Letters:
    """A tokenizer whose tokens are characters, with `|` as the end of a turn."""

    eos_token_id = ord("|")
    eos_token = "|"

    def __init__(self, template: str | None) -> None:
        self.chat_template = template

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [ord(letter) for letter in text]}

    def apply_chat_template(self, messages: Any, *, chat_template: str, tokenize: bool, **kwargs: Any) -> str:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            from jinja2 import TemplateError

            raise TemplateError(message)

        assert not tokenize
        template = ImmutableSandboxedEnvironment().from_string(chat_template)
        return template.render(messages=messages, eos_token=self.eos_token, raise_exception=refuse, **kwargs)


GENERATION = "{% if add_generation_prompt %}[assistant]{% endif %}"
TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}|\n{% endfor %}" + GENERATION
FORGETFUL = (
    "{% for m in messages %}{% if m.role != 'assistant' or loop.last %}[{{ m.role }}]{{ m.content }}|{% endif %}"
    "{% endfor %}" + GENERATION
)


def text(ids: Any) -> str:
    return "".join(chr(number) for number in ids if number != IGNORED)


def test_the_loss_counts_on_the_answer_and_the_end_of_its_turn() -> None:
    example = encode(Letters(TURNS), [USER, ANSWER], max_length=100)
    assert text(example.ids) == "[user]is it red|\n[assistant]warm|"
    assert text(example.labels) == "warm|"
    assert len(example.ids) == len(example.labels)


def test_training_and_answering_see_the_same_prompt() -> None:
    tokenizer = Letters(TURNS)
    prompt = prompt_ids(tokenizer, [USER])
    example = encode(tokenizer, [USER, ANSWER], max_length=100)
    assert list(example.ids[: len(prompt)]) == prompt
    assert set(example.labels[: len(prompt)]) == {IGNORED}


def test_every_answer_of_a_conversation_is_taught() -> None:
    cold = {"role": "assistant", "content": "cold"}
    example = encode(Letters(TURNS), [USER, ANSWER, USER, cold], max_length=100)
    assert text(example.labels) == "warm|cold|"


def test_a_template_that_rewrites_earlier_turns_teaches_the_last_answer() -> None:
    cold = {"role": "assistant", "content": "cold"}
    example = encode(Letters(FORGETFUL), [USER, ANSWER, USER, cold], max_length=100)
    assert text(example.labels) == "cold|"
    assert "warm" not in text(example.ids)


def test_a_model_without_a_template_gets_a_plain_one() -> None:
    example = encode(Letters(None), [USER, ANSWER], max_length=100)
    assert "capitalize" in FALLBACK_TEMPLATE
    assert text(example.ids) == "### User:\nis it red\n\n### Assistant:\nwarm|"
    assert text(example.labels) == "warm|"


def test_what_is_too_long_loses_its_beginning_and_keeps_the_answer() -> None:
    example = encode(Letters(TURNS), [{"role": "user", "content": "x" * 500}, ANSWER], max_length=20)
    assert len(example.ids) == 20
    assert text(example.labels) == "warm|"


def test_a_template_that_refuses_is_reported_in_its_own_words() -> None:
    with pytest.raises(TrainingError, match="no system role"):
        prompt_ids(Letters("{{ raise_exception('no system role') }}"), [USER])


def test_an_unreadable_line_is_named(tmp_path: Path) -> None:
    good = json.dumps({"messages": [USER, ANSWER]})
    path = tmp_path / "train.jsonl"
    for bad in ("{", '{"no": 1}', '{"messages": [{"role": "assistant"}]}', '{"messages": []}'):
        path.write_text(f"{good}\n\n{bad}\n", "utf-8")
        with pytest.raises(TrainingError, match=r"train\.jsonl, line 3"):
            read_examples(path, Letters(TURNS), max_length=50)
    path.write_text("\n", "utf-8")
    with pytest.raises(TrainingError, match="no conversation"):
        read_examples(path, Letters(TURNS), max_length=50)
