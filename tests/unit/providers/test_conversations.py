"""Datasets are read line by line, rewritten whole or not at all, and named so that they are found again."""

from __future__ import annotations

import codecs
import hashlib
import json
import string
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_providers.base import DatasetFile, Message
from finetune_providers.conversations import (
    read_conversations,
    split_system,
    upload_name,
    upload_prefix,
    write_converted,
)
from finetune_providers.errors import PermanentProviderError

COHERE_LONGEST = 49
OPENAI_LONGEST = 255
"""No length is published for OpenAI's file names; this is what file systems take."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCOPES = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=40)
# As hashes are: of two of them half the digits alone are never the same.
HASHES = st.integers().map(lambda number: hashlib.sha256(str(number).encode()).hexdigest())


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Some messages with any content, their roles in any order."""
    roles = st.sampled_from(["system", "user", "assistant"])
    return [
        {"role": role, "content": content}
        for role, content in draw(st.lists(st.tuples(roles, TEXTS), min_size=1, max_size=5))
    ]


def dataset_of(folder: Path, rows: Sequence[Sequence[Message]], *, ascii_only: bool = False) -> DatasetFile:
    path = folder / "data.jsonl"
    content = "".join(f"{json.dumps({'messages': row}, ensure_ascii=ascii_only)}\n" for row in rows).encode()
    path.write_bytes(content)
    return DatasetFile(path, hashlib.sha256(content).hexdigest(), len(rows), "fts-0123456789abcdef")


def same(conversation: list[Message]) -> dict[str, Any]:
    return {"messages": conversation}


@given(st.lists(conversations(), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_nothing_is_lost_between_reading_and_writing(
    rows: list[list[Message]], ascii_only: bool, bom: bool
) -> None:
    with TemporaryDirectory() as folder:
        dataset = dataset_of(Path(folder), rows, ascii_only=ascii_only)
        assert list(read_conversations(dataset)) == rows
        written = write_converted(dataset, Path(folder) / "new" / "out.jsonl", same, bom=bom).read_bytes()
        assert written.startswith(codecs.BOM_UTF8) is bom
        lines = written.removeprefix(codecs.BOM_UTF8).decode("utf-8").split("\n")
        assert lines.pop() == ""
        assert [json.loads(line)["messages"] for line in lines] == rows


def test_separators_that_are_no_line_breaks_stay_within_their_line(tmp_path: Path) -> None:
    odd: list[Message] = [{"role": "user", "content": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\r\nh"}]
    dataset = dataset_of(tmp_path, [odd, odd])
    assert list(read_conversations(dataset)) == [odd, odd]
    written = write_converted(dataset, tmp_path / "out.jsonl", same)
    assert written.read_bytes().count(b"\n") == 2
    assert b"\r" not in written.read_bytes()


def test_letters_are_written_as_themselves(tmp_path: Path) -> None:
    written = write_converted(
        dataset_of(tmp_path, [[{"role": "user", "content": "naïve ☃ 𝄞"}]]), tmp_path / "out.jsonl", same
    )
    assert "naïve ☃ 𝄞" in written.read_text("utf-8")


def test_a_dataset_is_read_as_it_is_asked_for(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, [[{"role": "user", "content": "first"}]])
    with dataset.path.open("a") as file:
        file.write("{ this is broken\n")
    rows = read_conversations(dataset)
    assert next(rows)[0]["content"] == "first"
    with pytest.raises(PermanentProviderError):
        next(rows)


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", b'{"text": "x"}', b"\xff\xfe", None])
@pytest.mark.parametrize("field", ["training", "validation"])
def test_what_cannot_be_read_is_named_and_not_shown(
    tmp_path: Path, content: bytes | None, field: str
) -> None:
    dataset = dataset_of(tmp_path, [])
    if content is None:
        dataset.path.unlink()
    else:
        dataset.path.write_bytes(content)
    with pytest.raises(PermanentProviderError, match=r"data\.jsonl cannot be read") as caught:
        list(read_conversations(dataset, field=field))
    assert caught.value.field == field
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("there_before", [False, True])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, there_before: bool) -> None:
    dataset = dataset_of(tmp_path, [[{"role": "user", "content": "x"}]] * 3)
    folder = tmp_path / "new"
    target = folder / "out.jsonl"
    if there_before:
        folder.mkdir()
        target.write_text("as it was")
    seen: list[list[str]] = []

    def convert(conversation: list[Message]) -> dict[str, Any]:
        seen.append(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
        if len(seen) == 3:
            raise RuntimeError("interrupted")
        return same(conversation)

    before = ["out.jsonl"] if there_before else []
    with pytest.raises(RuntimeError, match="interrupted"):
        write_converted(dataset, target, convert)
    assert seen == [before] * 3
    assert [path.name for path in folder.iterdir()] == before
    assert not there_before or target.read_text() == "as it was"


def test_a_file_is_replaced_by_a_new_one(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, [[{"role": "user", "content": "x"}]])
    target = tmp_path / "out.jsonl"
    for number in (1, 2):
        write_converted(dataset, target, lambda _, number=number: {"number": number})
    assert json.loads(target.read_text()) == {"number": 2}


# -- names ----------------------------------------------------------------------------------------------------


def named(scope: str, content_hash: str, dialect: str, longest: int | None) -> str:
    return upload_name(DatasetFile(Path("x"), content_hash, 1, scope), dialect=dialect, longest=longest)


@given(SCOPES, HASHES, st.sampled_from(["chat", "messages", "conversation"]))
def test_names_are_as_long_as_companies_take(scope: str, content_hash: str, dialect: str) -> None:
    assert len(named(scope, content_hash, dialect, COHERE_LONGEST)) == COHERE_LONGEST
    assert len(named(scope, content_hash, dialect, None)) <= OPENAI_LONGEST
    for longest in (COHERE_LONGEST, None):
        assert set(named(scope, content_hash, dialect, longest)) <= set(
            string.ascii_lowercase + string.digits + "-."
        )


@given(st.lists(st.tuples(SCOPES, HASHES, st.sampled_from(["a", "b"])), min_size=2, max_size=2, unique=True))
def test_other_data_another_form_or_another_scope_is_another_upload(
    pair: list[tuple[str, str, str]],
) -> None:
    for longest in (COHERE_LONGEST, None):
        assert named(*pair[0], longest) != named(*pair[1], longest)


@given(SCOPES, SCOPES, HASHES)
def test_a_scope_s_uploads_begin_with_its_prefix_and_no_other_scope_s(
    scope: str, other: str, content_hash: str
) -> None:
    for longest in (COHERE_LONGEST, None):
        name = named(scope, content_hash, "chat", longest)
        assert name.startswith(upload_prefix(scope, short=longest is not None))
        if other != scope:
            assert not name.startswith(upload_prefix(other, short=longest is not None))


def test_the_operator_s_scopes_are_shown_as_they_are() -> None:
    assert named("fts-0123456789abcdef", "ab" * 32, "chat", COHERE_LONGEST).startswith(
        "fts-0123456789abcdef."
    )
    assert named("fts-0123456789abcdef", "ab" * 32, "chat", None) == (
        f"fts-0123456789abcdef.chat.{'ab' * 16}.jsonl"
    )


@given(conversations())
def test_the_system_prompt_is_what_stands_first(conversation: list[Message]) -> None:
    system, turns = split_system(conversation)
    if conversation[0]["role"] == "system":
        assert (system, turns) == (conversation[0]["content"], conversation[1:])
    else:
        assert (system, turns) == (None, conversation)


def test_an_empty_conversation_has_no_system_prompt() -> None:
    assert split_system([]) == (None, [])
