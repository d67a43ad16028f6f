"""Reading a dataset without holding the whole file.

A dataset is UTF-8 JSONL, one example a line. Empty lines may stand at the end of the file only, so that a
line's number is also its example's. A byte order mark, CRLF and spaces around a line are tolerated and not
kept: the canonical form has none of them, and the content hash is that of the canonical form.
"""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune_operator.evaluation.chat import MAX_LINE_BYTES, parse_messages
from finetune_operator.evaluation.errors import MAX_LISTED, InvalidDataset
from finetune_providers.base import Message

MAX_DATASET_BYTES = 1024**3
MAX_WRONG_LINES = 1000
"""A dataset with so many wrong lines is not read further."""
BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4

_CHUNK_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What a dataset holds.

    Attributes:
        examples: Number of lines.
        characters: Of all contents together.
        estimated_tokens: For each message its UTF-8 bytes divided by 4, rounded up, and 4 more for the
            role and the separators. Bytes rather than characters, because scripts other than Latin take more
            tokens a character. It is an estimate for budgets: a model's own tokenizer may differ by a third.
        content_hash: SHA-256 of the canonical form, hexadecimal.
    """

    examples: int
    characters: int
    estimated_tokens: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its expected answer.

    Attributes:
        index: Place in the dataset, from 0.
        prompt: All messages but the last; never empty.
        expected: What the assistant should say.
    """

    index: int
    prompt: tuple[Message, ...]
    expected: str


def check_dataset(path: Path, *, field: str, max_bytes: int = MAX_DATASET_BYTES) -> DatasetSummary:
    """Check a file. Blocking, to be called off the event loop; holds one line at a time.

    Args:
        path: The file.
        field: Path of the manifest's field that names it, for errors.
        max_bytes: Size from which it is refused.

    Raises:
        InvalidDataset: With the first 10 wrong lines.
        OSError: The file cannot be read.
    """
    return check_chunks(read_chunks(path), field=field, max_bytes=max_bytes)


def check_chunks(
    chunks: Iterable[bytes],
    *,
    field: str,
    max_bytes: int = MAX_DATASET_BYTES,
    sink: Callable[[bytes], object] = lambda _: None,
) -> DatasetSummary:
    """Check a dataset as it arrives, and hand its canonical form on.

    Args:
        chunks: The raw bytes, cut anywhere.
        field: Path of the manifest's field that names it, for errors.
        max_bytes: Size from which it is refused.
        sink: Is given the canonical lines; worth nothing when the check fails.

    Raises:
        InvalidDataset: With the first 10 wrong lines.
    """
    check = _Check()
    for number, line in enumerate(_lines(_bounded(chunks, field, max_bytes)), start=1):
        if check.take(number, line) and line is not None:
            canonical = line.strip() + b"\n"
            check.hash.update(canonical)
            sink(canonical)
        elif check.hopeless(number):
            break
    if check.problems:
        raise InvalidDataset(tuple(check.problems), field=field, further=check.further)
    if not check.examples:
        raise InvalidDataset(("is empty; it needs at least one example",), field=field)
    return DatasetSummary(check.examples, check.characters, check.tokens, check.hash.hexdigest())


def read_examples(
    path: Path, limit: int | None = None, seed: int = 0, *, field: str = ""
) -> tuple[Example, ...]:
    """Read the questions of a checked dataset. Blocking.

    Args:
        path: A file that `check_dataset` accepts.
        limit: How many at most; None for all of them, in the order of the file.
        seed: Which ones where there is a limit: the first `limit` of an order that depends on the seed alone,
            not on Python's version. A greater limit adds examples and drops none.
        field: Path of the manifest's field that names the dataset, for errors.

    Raises:
        InvalidDataset: A line is wrong; the file has changed since it was checked.
        OSError: The file cannot be read.
    """
    if limit is None:
        return tuple(_parse(index, line, field) for index, line in _filled_lines(path))
    count = sum(1 for _ in _filled_lines(path))
    order = heapq.nsmallest(limit, range(count), key=lambda index: _shuffle_key(seed, index))
    wanted = set(order)
    found = {index: _parse(index, line, field) for index, line in _filled_lines(path) if index in wanted}
    return tuple(found[index] for index in order)


def read_chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes in pieces of at most 1 MiB."""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


@dataclass(slots=True)
class _Check:
    """What was seen so far."""

    examples: int = 0
    characters: int = 0
    tokens: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    further: int = 0
    hash: hashlib._Hash = dataclasses.field(default_factory=hashlib.sha256)
    first_empty: int | None = None

    def take(self, number: int, line: bytes | None) -> bool:
        """Whether the line is an example."""
        if line is not None and not line.strip():
            self.first_empty = self.first_empty or number
            return False
        if self.first_empty is not None:
            self._refuse(self.first_empty, "is empty; only the end of the file may have empty lines")
            self.first_empty = None
        try:
            messages = parse_messages(line)
        except ValueError as error:
            self._refuse(number, str(error))
            return False
        self.examples += 1
        for message in messages:
            self.characters += len(message["content"])
            self.tokens += -(-len(message["content"].encode()) // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE
        return True

    def hopeless(self, number: int) -> bool:
        """Whether so much is wrong by now that the rest need not be read: a gigabyte may hold a billion lines."""
        if self.first_empty is not None and number - self.first_empty >= MAX_WRONG_LINES:
            self._refuse(
                self.first_empty, f"is empty, and so are the next {MAX_WRONG_LINES:,} lines; remove them"
            )
            return True
        return len(self.problems) + self.further >= MAX_WRONG_LINES

    def _refuse(self, number: int, message: str) -> None:
        if len(self.problems) < MAX_LISTED:
            self.problems.append(f"line {number}: {message}")
        else:
            self.further += 1


def _bounded(chunks: Iterable[bytes], field: str, max_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            message = f"is larger than the {max_bytes:,} bytes allowed; give fewer or shorter examples"
            raise InvalidDataset((message,), field=field)
        yield chunk


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """The lines without their ends; None for one that is too long to be held."""
    held, too_long, first = bytearray(), False, True
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            held += piece
            yield None if too_long or len(held) > MAX_LINE_BYTES else _without_mark(bytes(held), first)
            held, too_long, first = bytearray(), False, False
        held += rest
        if len(held) > MAX_LINE_BYTES:
            held, too_long = bytearray(), True
    if too_long:
        yield None
    elif held:
        yield _without_mark(bytes(held), first)


def _without_mark(line: bytes, first: bool) -> bytes:
    return line.removeprefix(codecs.BOM_UTF8) if first else line


def _filled_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    return (
        (index, line) for index, line in enumerate(_lines(read_chunks(path))) if line is None or line.strip()
    )


def _shuffle_key(seed: int, index: int) -> bytes:
    return hashlib.sha256(f"{seed}:{index}".encode()).digest()


def _parse(index: int, line: bytes | None, field: str) -> Example:
    try:
        messages = parse_messages(line)
    except ValueError as error:
        raise InvalidDataset((f"line {index + 1}: {error}",), field=field) from error
    return Example(index, tuple(messages[:-1]), messages[-1]["content"])
