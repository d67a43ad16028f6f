"""Datasets for Vertex AI: their dialect, their limits, their way to Cloud Storage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.cloud import storage
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.http_server import DROPPED, Fault, refused
from tests.fakes.vertex_ai_schema import document
from tests.fakes.vertex_ai_server import BUCKET, VertexAIServer, config_for

from finetune_providers.base import DatasetFile, Message
from finetune_providers.conversations import read_conversations
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse
from finetune_providers.vertex_ai import VertexAI, wire
from finetune_providers.vertex_ai.wire import to_contents

QUESTION = "GoogleCloudAiplatformV1GenerateContentRequest"
GOOD: list[Message] = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.fixture
def server() -> Iterator[VertexAIServer]:
    with VertexAIServer() as server:
        yield server
    assert server.violations == []


@pytest.fixture
async def provider(server: VertexAIServer, tmp_path: Path) -> AsyncIterator[VertexAI]:
    provider = VertexAI(config_for(server, tmp_path / "work"))
    yield provider
    await provider.aclose()


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Canonical conversations: maybe a system prompt, then user and assistant in turn."""
    system = draw(st.none() | TEXT)
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for _ in range(draw(st.integers(1, 4))):
        messages += [{"role": "user", "content": draw(TEXT)}, {"role": "assistant", "content": draw(TEXT)}]
    return messages


def write_lines(path: Path, *conversations: list[Message]) -> DatasetFile:
    """A dataset of these conversations."""
    path.write_text(
        "".join(json.dumps({"messages": each}) + "\n" for each in conversations), encoding="utf-8"
    )
    return DatasetFile(path, "0" * 64, len(conversations), "fts-0")


@given(conversations())
def test_every_conversation_becomes_what_google_s_schema_allows_and_keeps_its_text(
    messages: list[Message],
) -> None:
    converted = json.loads(json.dumps(to_contents(messages)))
    document("aiplatform.v1").check(QUESTION, converted, sent=True)
    system = converted.get("systemInstruction")
    back = [] if system is None else [{"role": "system", "content": system["parts"][0]["text"]}]
    for each in converted["contents"]:
        role = {"user": "user", "model": "assistant"}[each["role"]]
        back.append({"role": role, "content": "".join(part["text"] for part in each["parts"])})
    assert back == messages


@pytest.mark.parametrize("most_at_once", [8 * 1024 * 1024, 10], ids=["at once", "in parts"])
async def test_an_upload_is_the_dataset_line_by_line(
    server: VertexAIServer,
    provider: VertexAI,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    most_at_once: int,
) -> None:
    monkeypatch.setattr(storage.blob, "_MAX_MULTIPART_SIZE", most_at_once)
    dataset = write_lines(tmp_path / "d.jsonl", GOOD, [{"role": "system", "content": "é\n"}, *GOOD])
    uri = await provider.upload(dataset, base_model="gemini-2.5-flash")
    assert uri == f"gs://{BUCKET}/sweeps/fts-0.gemini.{'0' * 32}.jsonl"
    (content,) = server.objects.values()
    assert [json.loads(line) for line in content.decode().split("\n")[:-1]] == [
        to_contents(each) for each in read_conversations(dataset)
    ]
    assert server.count("upload-part") == (0 if most_at_once > 10 else 1)
    assert list((tmp_path / "work").iterdir()) == []


async def test_a_bucket_without_a_folder_is_a_place_too(server: VertexAIServer, tmp_path: Path) -> None:
    provider = VertexAI(config_for(server, tmp_path / "work", data_uri=f"gs://{BUCKET}"))
    uri = await provider.upload(write_lines(tmp_path / "d.jsonl", GOOD), base_model="gemini-2.5-flash")
    assert uri == f"gs://{BUCKET}/fts-0.gemini.{'0' * 32}.jsonl"
    await provider.aclose()


async def test_a_bucket_that_is_not_there_says_so(server: VertexAIServer, tmp_path: Path) -> None:
    provider = VertexAI(config_for(server, tmp_path / "work", data_uri="gs://nobody-s"))
    with pytest.raises(PermanentProviderError, match="bucket does not exist"):
        await provider.upload(write_lines(tmp_path / "d.jsonl", GOOD), base_model="gemini-2.5-flash")
    await provider.aclose()


async def test_only_the_scope_s_own_objects_are_deleted_over_all_pages(
    server: VertexAIServer, provider: VertexAI
) -> None:
    server.page_size = 2
    mine = [f"sweeps/fts-1.gemini.{number}.jsonl" for number in range(5)]
    others = ["sweeps/fts-11.gemini.0.jsonl", "fts-1.gemini.0.jsonl", "sweeps/more/fts-1.gemini.0.jsonl"]
    server.objects |= dict.fromkeys([*mine, *others], b"{}")
    server.fault("forget", refused(503))
    with pytest.raises(TransientProviderError):
        await provider.delete_data("fts-1")
    server.fault("forget", refused(404))  # somebody else was faster
    await provider.delete_data("fts-1")
    await provider.delete_data("fts-1")
    assert sorted(server.objects) == sorted(others)


async def test_a_list_of_objects_without_an_end_is_not_followed(
    server: VertexAIServer, provider: VertexAI
) -> None:
    server.always("objects", Fault(body=b'{"kind": "storage#objects", "nextPageToken": "again"}'))
    async with asyncio.timeout(10):
        with pytest.raises(UnexpectedResponse, match="list of objects has no end"):
            await provider.delete_data("fts-1")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([{"role": "user", "content": " "}, GOOD[1]], "line 2: message 1 is empty"),
        (
            [*GOOD, {"role": "system", "content": "s"}, *GOOD],
            "line 2: Gemini takes a system message as the first",
        ),
        ([GOOD[0]], "line 2: Gemini learns from a user's message first"),
        ([GOOD[1]], "line 2: Gemini learns from a user's message first"),
        ([{"role": "system", "content": "s"}], "line 2: Gemini learns from a user's message first"),
    ],
)
async def test_what_gemini_cannot_be_taught_is_named_with_its_line(
    provider: VertexAI, tmp_path: Path, bad: list[Message], says: str
) -> None:
    good, wrong = write_lines(tmp_path / "g.jsonl", GOOD), write_lines(tmp_path / "b.jsonl", GOOD, bad)
    with pytest.raises(PermanentProviderError, match=says) as caught:
        await provider.check_data("gemini-2.5-flash", training=wrong, validation=None)
    assert caught.value.field == "training"
    with pytest.raises(PermanentProviderError, match=says) as caught:
        await provider.check_data("gemini-2.5-flash", training=good, validation=wrong)
    assert caught.value.field == "validation"


@pytest.mark.parametrize(
    ("training", "validation", "field"),
    [
        (10_000_000, None, None),
        (10_000_001, None, "training"),
        (10, 1_000, None),
        (3_333, 1_001, "validation"),
        (5_000, 1_500, None),
        (1_000_000, 5_000, None),
        (1_000_000, 5_001, "validation"),
    ],
)
async def test_datasets_have_as_many_examples_as_vertex_ai_takes(
    provider: VertexAI, tmp_path: Path, training: int, validation: int | None, field: str | None
) -> None:
    file = write_lines(tmp_path / "d.jsonl", GOOD)
    first = replace(file, examples=training)
    second = None if validation is None else replace(file, examples=validation)
    if field is None:
        await provider.check_data("gemini-2.5-flash", training=first, validation=second)
        return
    with pytest.raises(PermanentProviderError) as caught:
        await provider.check_data("gemini-2.5-flash", training=first, validation=second)
    assert caught.value.field == field


async def test_a_dataset_that_is_too_large_is_refused(
    provider: VertexAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_lines(tmp_path / "d.jsonl", GOOD, GOOD, GOOD)
    line = len(json.dumps(to_contents(GOOD))) + 1
    monkeypatch.setattr(wire, "MOST_BYTES", 3 * line)
    await provider.check_data("gemini-2.5-flash", training=file, validation=None)
    monkeypatch.setattr(wire, "MOST_BYTES", 3 * line - 1)
    with pytest.raises(PermanentProviderError, match="line 3: the file becomes larger"):
        await provider.check_data("gemini-2.5-flash", training=file, validation=None)


async def test_an_upload_in_parts_that_breaks_off_leaves_nothing_and_is_made_anew(
    server: VertexAIServer, provider: VertexAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.blob, "_MAX_MULTIPART_SIZE", 10)
    dataset = write_lines(tmp_path / "d.jsonl", GOOD)
    for fault in (DROPPED, refused(503)):
        server.fault("upload-part", fault)
        with pytest.raises(TransientProviderError):
            await provider.upload(dataset, base_model="gemini-2.5-flash")
        assert server.objects == {}
    uri = await provider.upload(dataset, base_model="gemini-2.5-flash")
    (content,) = server.objects.values()
    assert json.loads(content) == to_contents(GOOD)
    assert await provider.upload(dataset, base_model="gemini-2.5-flash") == uri
    assert server.count("upload") == 3
    assert list((tmp_path / "work").iterdir()) == []
