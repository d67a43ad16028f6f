"""What the tests of evaluation share: lines of a dataset, and a model that answers in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from finetune_providers.base import Conversation


def chat_line(question: str = "Is it late?", answer: str = "yes", system: str | None = None) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return json.dumps({"messages": messages}, ensure_ascii=False)


class FakeSession:
    """Answers with `reply`, after raising the errors it was given, and remembers what it was asked."""

    def __init__(
        self,
        reply: Callable[[str], str] = str.upper,
        *,
        batch_size: int = 2,
        concurrency: int = 2,
        errors: Sequence[Exception] = (),
    ) -> None:
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.reply = reply
        self.errors = list(errors)
        self.asked: list[str] = []
        self.batches: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lost = 0
        self.called = asyncio.Event()

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        self.called.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.batches.append(len(conversations))
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            if self.errors:
                raise self.errors.pop(0)
            questions = [conversation[-1]["content"] for conversation in conversations]
            self.asked += questions
            return [self.reply(question) for question in questions][self.lost :]
        finally:
            self.in_flight -= 1


@pytest.fixture
def line() -> Callable[..., str]:
    return chat_line


@pytest.fixture(scope="session")
def session_class() -> type[FakeSession]:
    return FakeSession


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Writes a dataset and gives its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "dataset.jsonl"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
