from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.errors import InvalidManifest
from finetune_operator.evaluation import MAX_LINE_BYTES, InvalidDataset, check_dataset, read_examples
from finetune_operator.evaluation.dataset import check_chunks

Write = Callable[[str | bytes], Path]
Line = Callable[..., str]
FIELD = "spec.dataset.training"


def problems(path: Path, **options: int) -> list[str]:
    with pytest.raises(InvalidDataset) as caught:
        check_dataset(path, field=FIELD, **options)
    assert caught.value.field == FIELD
    assert {problem.field for problem in caught.value.problems} == {FIELD}
    return [problem.message for problem in caught.value.problems]


def chat(*turns: tuple[str, object]) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]})


USER = ("user", "Hello?")
ASSISTANT = ("assistant", "Hi.")


def test_summary_counts_examples_characters_tokens_and_hashes_the_file(dataset: Write, line: Line) -> None:
    content = line("12345678", "123", system="1") + "\n" + line("é", "语言") + "\n"
    summary = check_dataset(dataset(content), field=FIELD)
    assert summary.examples == 2
    assert summary.characters == 8 + 3 + 1 + 1 + 2
    # 2 + 1 + 1 tokens of text in the first, 1 + 2 (six bytes) in the second, and 4 for each message
    assert summary.estimated_tokens == 4 + 3 + 5 * 4
    assert summary.content_hash == hashlib.sha256(content.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xef\xbb\xbf%s\n%s\n", "byte order mark"),
        (b"%s\r\n%s\r\n", "Windows line ends"),
        (b"%s\n%s", "no newline at the end"),
        (b"%s\n%s\n\n  \n", "empty lines at the end"),
        (b"  %s\t\n%s \n", "spaces around"),
    ],
)
def test_tolerated_forms_have_the_hash_of_the_canonical_form(
    dataset: Write, line: Line, content: bytes, reason: str
) -> None:
    one, two = line("One?").encode(), line("Zwei é?").encode()
    expected = hashlib.sha256(one + b"\n" + two + b"\n").hexdigest()
    path = dataset(content % (one, two))
    assert check_dataset(path, field=FIELD).content_hash == expected, reason
    assert [example.prompt[0]["content"] for example in read_examples(path)] == ["One?", "Zwei é?"], reason


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "line 2: is not valid JSON: Expecting property name"),
        ("[1]", 'line 2: must be a JSON object such as {"messages": [...]}'),
        ("{}", "line 2: messages must be a list"),
        ('{"messages": []}', "line 2: messages must be a list"),
        ('{"messages": ["x"]}', "line 2: messages[0] must be an object with role and content"),
        ('{"messages": [], "weight": 1}', 'line 2: "weight" is not known; allowed: messages'),
        (
            '{"messages": [{"role": "user", "content": "x", "name": "y"}]}',
            'line 2: messages[0]."name" is not known; allowed: role, content',
        ),
        (
            chat(("tool", "x"), ASSISTANT),
            "line 2: messages[0].role must be one of system, user, assistant, not",
        ),
        (chat(([], "x"), ASSISTANT), "line 2: messages[0].role must be one of"),  # type: ignore[arg-type]
        (chat(USER, ("assistant", " ")), "line 2: messages[1].content must be text that is not empty"),
        (chat(USER, ("assistant", None)), "line 2: messages[1].content must be text that is not empty"),
        (chat(USER, ("assistant", "\ud800")), "line 2: messages[1].content holds half of a surrogate pair"),
        (chat(ASSISTANT), "line 2: messages[0].role must be user, not assistant"),
        (chat(USER), "line 2: the last message must be the assistant's"),
        (chat(("system", "x")), "line 2: the last message must be the assistant's"),
        (chat(USER, USER, ASSISTANT), "line 2: messages[1].role must be assistant, not user"),
        (chat(USER, ("system", "x"), ASSISTANT), "line 2: messages[1].role must be assistant, not system"),
        (chat(USER, ASSISTANT, USER), "line 2: the last message must be the assistant's"),
        ("", "line 2: is empty; only the end of the file may have empty lines"),
        ("[" * 100_000, "line 2: is not valid JSON: nested too deep"),
        ("9" * 5000, "line 2: is not valid JSON"),
    ],
)
def test_wrong_line_is_named_with_its_number(dataset: Write, line: Line, bad: str, message: str) -> None:
    found = problems(dataset(f"{line()}\n{bad}\n{line()}\n"))
    assert len(found) == 1
    assert found[0].startswith(message)


def test_line_that_is_not_utf8_is_named(dataset: Write, line: Line) -> None:
    latin = line("Grüße?").encode("latin-1")
    assert problems(dataset(line().encode() + b"\n" + latin))[0].startswith("line 2: is not UTF-8")


def test_errors_show_no_content(dataset: Write) -> None:
    secret = "the patient's name"
    wrong = [f'{{"messages": [{{"role": "user", "content": "{secret}"}}]}}', f'{{"messages": "{secret}" x}}']
    assert secret not in str(problems(dataset("\n".join(wrong))))


def test_ten_wrong_lines_are_listed_and_the_others_counted(dataset: Write, line: Line) -> None:
    found = problems(dataset("\n".join(["{}"] * 25 + [line()])))
    assert [message.partition(":")[0] for message in found[:10]] == [f"line {n}" for n in range(1, 11)]
    assert found[10:] == ["and 15 more problems of this kind"]


@pytest.mark.parametrize("wrong", [b"\n", b"{}\n", b"x\n\n"])
def test_dataset_with_endless_wrong_lines_is_not_read_to_its_end(wrong: bytes) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield wrong * 1000

    with pytest.raises(InvalidDataset, match="line 1"):
        check_chunks(endless(), field=FIELD)
    assert read <= 3


def test_a_thousand_empty_lines_at_the_end_are_too_many(dataset: Write, line: Line) -> None:
    assert check_dataset(dataset(line() + "\n" * 900), field=FIELD).examples == 1
    assert problems(dataset(line() + "\n" * 1100)) == [
        "line 2: is empty, and so are the next 1,000 lines; remove them"
    ]


@pytest.mark.parametrize("depth", [10, 500, *range(960, 1010), 100_000])
@pytest.mark.parametrize(
    "place", ['{{"messages": {}}}', '{{"messages": [{{"role": {}, "content": "x"}}]}}', "{}"]
)
def test_nesting_of_any_depth_is_a_wrong_line(dataset: Write, depth: int, place: str) -> None:
    for deep in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        assert len(problems(dataset(place.format(deep)))) == 1


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "-Infinity",
        "1e999999",
        "9" * 5000,
        '"\\ud800"',
        '"\\udfff\\ud800"',
        '"\\u0000"',
        "null",
        '"' + "x" * 2**22,
    ],
)
def test_no_value_is_more_than_a_wrong_line(dataset: Write, value: str) -> None:
    for place in ('{{"messages": [{{"role": {}, "content": "x"}}]}}', "{}", '{{"messages": {}}}'):
        (found,) = problems(dataset(place.format(value)))
        assert len(found) < 300
        assert not any(0xD800 <= ord(each) < 0xE000 for each in found)


def test_error_is_one_of_a_manifest(dataset: Write) -> None:
    with pytest.raises(InvalidManifest, match=r"^spec\.dataset\.training: line 1: "):
        check_dataset(dataset("{}"), field=FIELD)


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_empty_dataset_is_refused(dataset: Write, content: str) -> None:
    assert problems(dataset(content)) == ["is empty; it needs at least one example"]


def test_dataset_over_the_bound_is_refused(dataset: Write, line: Line) -> None:
    content = line() + "\n"
    assert check_dataset(dataset(content), field=FIELD, max_bytes=len(content)).examples == 1
    bound = len(content) - 1
    assert f"is larger than the {bound} bytes allowed" in problems(dataset(content), max_bytes=bound)[0]


def test_line_over_the_bound_is_refused_and_the_next_is_still_read(dataset: Write, line: Line) -> None:
    found = problems(dataset("\n".join([line(), line("x" * MAX_LINE_BYTES), "{}"])))
    assert [message.partition(",")[0] for message in found] == [
        "line 2: is longer than the 4",
        "line 3: messages must be a list with at least a user's and an assistant's message",
    ]


def test_longest_line_allowed_is_read(dataset: Write, line: Line) -> None:
    longest = line("x" * (MAX_LINE_BYTES - len(line(""))))
    assert len(longest) == MAX_LINE_BYTES
    assert check_dataset(dataset(longest), field=FIELD).examples == 1


def test_memory_does_not_grow_with_the_file(line: Line) -> None:
    block = (line("x" * 1000) + "\n").encode() * 900
    blocks: Iterator[bytes] = (block for _ in range(20))
    tracemalloc.start()
    try:
        assert check_chunks(blocks, field=FIELD).examples == 18_000
        assert tracemalloc.get_traced_memory()[1] < 5 * len(block)
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_a_line() -> None:
    block = b"x" * 1024**2
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDataset, match="line 1: is longer than"):
            check_chunks((block for _ in range(60)), field=FIELD)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5), st.integers(1, 50))
def test_where_the_bytes_are_cut_does_not_matter(answers: list[str], size: int) -> None:
    content = "".join(
        chat(USER, ("assistant", answer.encode("utf-8", "replace").decode())) + "\n" for answer in answers
    ).encode()
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    kept = bytearray()
    cut = check_chunks(pieces, field=FIELD, sink=kept.extend)
    assert cut == check_chunks([content], field=FIELD)
    assert bytes(kept) == content


def test_example_is_the_prompt_and_the_expected_answer(dataset: Write) -> None:
    path = dataset(chat(("system", "Be brief."), USER, ASSISTANT, ("user", "Bye?"), ("assistant", "Bye.")))
    (example,) = read_examples(path)
    assert example.index == 0
    assert [message["role"] for message in example.prompt] == ["system", "user", "assistant", "user"]
    assert example.expected == "Bye."


def test_limit_takes_a_seeded_choice_that_a_greater_limit_extends(dataset: Write, line: Line) -> None:
    path = dataset("\n".join(line(f"Question {number}?") for number in range(50)))
    few = read_examples(path, 5, 7)
    assert few == read_examples(path, 5, 7)
    assert few == read_examples(path, 20, 7)[:5]
    assert few != read_examples(path, 5, 8)
    assert all(example.prompt[0]["content"] == f"Question {example.index}?" for example in few)
    assert [example.index for example in few] == [4, 7, 12, 26, 33]  # fixed: a restart asks the same ones


def test_limit_beyond_the_file_takes_all(dataset: Write, line: Line) -> None:
    path = dataset("\n".join(line(f"Question {number}?") for number in range(4)))
    assert sorted(example.index for example in read_examples(path, 100)) == [0, 1, 2, 3]


def test_file_that_was_never_checked_is_refused_with_its_line(dataset: Write, line: Line) -> None:
    with pytest.raises(InvalidDataset, match=r"^spec\.dataset\.evaluation: line 2: "):
        read_examples(dataset(line() + "\n{}"), field="spec.dataset.evaluation")
