"""Cohere's datasets: their form, their names, their limits, and that only a good one is used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.cohere_server import CohereServer, judge_dataset
from tests.fakes.http_server import DONE_THEN_DROPPED
from tests.unit.providers.cohere_bench import MODEL, SCOPE, dataset_of, provider_of, small_dataset, talk

from finetune_providers.base import Message
from finetune_providers.cohere import CohereProvider
from finetune_providers.cohere.datasets import MAX_BYTES, check_dataset
from finetune_providers.cohere.wire import to_cohere
from finetune_providers.errors import PermanentProviderError, TransientProviderError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """What the canonical form allows: a system message or none, then turns that end with the assistant's."""
    turns = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
    return talk(*(text for turn in turns for text in turn), system=draw(st.none() | TEXTS))


@pytest.fixture
def server() -> Iterator[CohereServer]:
    with CohereServer() as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def provider(server: CohereServer, tmp_path: Path) -> AsyncIterator[CohereProvider]:
    provider = provider_of(server, tmp_path / "account")
    yield provider
    await provider.aclose()


@given(conversations(), conversations())
def test_every_conversation_has_a_form_that_cohere_takes(first: list[Message], second: list[Message]) -> None:
    rows = [to_cohere(first), to_cohere(second)]
    content = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    lessons, error = judge_dataset(content)
    assert (error is None) is (first != second)
    if error is None:
        assert lessons[second[-2]["content"]] == second[-1]["content"]


@given(conversations())
def test_nothing_of_a_conversation_is_lost(conversation: list[Message]) -> None:
    roles = {"System": "system", "User": "user", "Chatbot": "assistant"}
    back = [
        {"role": roles[each["role"]], "content": each["content"]}
        for each in json.loads(json.dumps(to_cohere(conversation)))["messages"]
    ]
    assert back == conversation


async def test_a_dataset_arrives_as_it_is(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    odd = ["a\u2028b", "naïve ☃ 𝄞", 'quote " and \\ and \t', "line\nbreak", "\r\n", "\x85end", "--boundary"]
    dataset = dataset_of(tmp_path / "d.jsonl", [talk(text, f"answer to {text}", system=text) for text in odd])
    reference = await provider.upload(dataset, base_model=MODEL)
    sent = server.datasets[reference]
    rows = [json.loads(line) for line in sent.content.decode().split("\n") if line]
    assert [row["messages"][1]["content"] for row in rows] == odd
    assert sent.lessons == {text: f"answer to {text}" for text in odd}
    assert not list((tmp_path / "account" / "converted").iterdir())
    request = next(each for each in server.requests if each.operation == "upload")
    assert request.query == {"name": [sent.name], "type": ["chat-finetune-input"]}


@pytest.mark.parametrize("scope", ["s", SCOPE, "a-scope-of-forty-characters-which-is-mos"])
async def test_names_are_as_short_as_cohere_wants_and_are_found_again(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, scope: str
) -> None:
    first = await provider.upload(small_dataset(tmp_path / "d.jsonl", scope=scope), base_model=MODEL)
    again = await provider.upload(small_dataset(tmp_path / "d.jsonl", scope=scope), base_model=MODEL)
    other = await provider.upload(
        small_dataset(tmp_path / "d.jsonl", scope=f"{scope[:-1]}x"), base_model=MODEL
    )
    assert first == again != other
    assert len(server.datasets[first].name) < 50
    await provider.delete_data(scope)
    assert set(server.datasets) == {other}


async def test_a_dataset_is_used_only_once_it_was_found_good(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.validation_looks = 3
    reference = await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    assert server.count("dataset") == 4
    assert server._status(server.datasets[reference]) == "validated"


async def test_a_dataset_that_is_being_checked_is_not_sent_again(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.fault("upload", DONE_THEN_DROPPED)
    with pytest.raises(TransientProviderError):
        await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    assert server.count("upload") == 1
    assert len(server.datasets) == 1


async def test_a_check_that_does_not_end_is_not_waited_for_for_ever(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.validation_looks = 10_000
    with pytest.raises(TransientProviderError, match="still checking"):
        await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    assert server.count("dataset") == 120  # ten minutes, five seconds apart


async def test_a_dataset_that_cohere_refuses_is_told_with_its_reason_and_sent_again_next_time(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    dataset = dataset_of(tmp_path / "d.jsonl", [talk("red", "warm")] * 3)
    for _ in range(2):
        with pytest.raises(PermanentProviderError, match="not enough valid examples") as caught:
            await provider.upload(dataset, base_model=MODEL)
        assert caught.value.field == "training"
    assert server.count("upload") == 2
    assert len(server.datasets) == 1


@pytest.mark.parametrize("status", ["failed", "skipped", "unknown"])
async def test_a_dataset_that_became_useless_is_replaced(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, status: str
) -> None:
    first = await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    server.datasets[first].status = status
    second = await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    assert set(server.datasets) == {second}
    assert first != second


async def test_a_dataset_that_cohere_has_deleted_after_its_time_is_sent_again(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    server.datasets.clear()
    await provider.upload(small_dataset(tmp_path / "d.jsonl"), base_model=MODEL)
    assert server.count("upload") == 2


async def test_the_same_content_asked_for_at_once_is_sent_once(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    dataset = small_dataset(tmp_path / "d.jsonl")
    references = await asyncio.gather(*(provider.upload(dataset, base_model=MODEL) for _ in range(4)))
    assert len(set(references)) == 1
    assert server.count("upload") == 1


async def test_datasets_are_seen_and_deleted_across_pages(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    server.page_size = 2
    for number in (0, 1, 2, 3, 4, 4):
        dataset = dataset_of(tmp_path / "d.jsonl", [talk("a", "b"), talk("c", str(number))])
        await provider.upload(dataset, base_model=MODEL)
    assert server.count("upload") == 5
    await provider.delete_data(SCOPE)
    assert server.datasets == {}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([talk("a", "b")] * 3, "1 different examples; Cohere needs at least 2"),
        ([talk("a", "b"), [*talk("c", "d"), *talk("e", "f", system="s")]], "line 2: .* system message"),
        ([talk("a", "b"), talk("c")], "line 2: .* message of the assistant"),
        ([[{"role": "assistant", "content": "x"}]], "line 1: .* message of the user"),
    ],
)
async def test_data_beyond_the_limits_is_refused_with_its_line(
    provider: CohereProvider, tmp_path: Path, rows: list[list[Message]], message: str
) -> None:
    dataset = dataset_of(tmp_path / "d.jsonl", rows)
    with pytest.raises(PermanentProviderError, match=message) as caught:
        await provider.check_data(MODEL, training=dataset, validation=None)
    assert caught.value.field == "training"


async def test_validation_data_that_cannot_be_read_is_named(provider: CohereProvider, tmp_path: Path) -> None:
    training, broken = small_dataset(tmp_path / "d.jsonl"), small_dataset(tmp_path / "e.jsonl")
    await provider.check_data(MODEL, training=training, validation=broken)
    broken.path.write_text("{")
    with pytest.raises(PermanentProviderError, match="cannot be read") as caught:
        await provider.check_data(MODEL, training=training, validation=broken)
    assert caught.value.field == "validation"


def test_a_dataset_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "d.jsonl")
    with dataset.path.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: it takes no room on the disk
    with pytest.raises(PermanentProviderError, match="1,500,000,001 bytes"):
        check_dataset(dataset, "training", least=2)
