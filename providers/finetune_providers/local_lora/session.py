"""The operator's end of a process that answers: JSON lines out, JSON lines in."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from finetune_providers.base import Conversation
from finetune_providers.errors import PermanentProviderError

_MAX_LINE = 64 * 1024 * 1024


class LocalSession:
    """A loaded model; one batch at a time.

    Attributes:
        batch_size: Conversations that are answered together.
        concurrency: One, because the process answers one batch after the other.
    """

    batch_size = 16
    concurrency = 1

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._turn = asyncio.Lock()
        self._sent = 0

    async def ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send one line and wait for its answer.

        Raises:
            PermanentProviderError: The process died or says that it cannot answer.
        """
        async with self._turn:
            self._sent += 1
            number = self._sent
            answer = await self._exchange({**question, "number": number}, number)
        if "error" in answer:
            raise PermanentProviderError(str(answer["error"]))
        return answer

    async def _exchange(self, question: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        reader, writer = self._process.stdout, self._process.stdin
        if reader is None or writer is None:  # pragma: no cover - both are pipes
            raise PermanentProviderError("the answering process has no pipes")
        try:
            writer.write(json.dumps(question).encode() + b"\n")
            await writer.drain()
            # Answers to questions whose caller was cancelled are still in the pipe: skip them.
            while line := await reader.readline():
                answer: Mapping[str, Any] = json.loads(line)
                if answer["number"] == number:
                    return answer
        except (BrokenPipeError, ConnectionResetError):
            pass
        raise PermanentProviderError(f"the answering process died ({self._last_words()})")

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", errors="replace").splitlines()
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it wrote no log")

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        if not conversations:
            return []
        question = {
            "conversations": [list(conversation) for conversation in conversations],
            "max_output_tokens": max_output_tokens,
        }
        return [str(text) for text in (await self.ask(question))["answers"]]


@asynccontextmanager
async def open_session(
    request: Mapping[str, Any], *, environment: Mapping[str, str], logs: Path
) -> AsyncIterator[LocalSession]:
    """Start a process, have it load the model, and end it on the way out, whatever happened.

    Args:
        request: `base_model` or `adapter`, `device`, `threads`.
        environment: Of the process.
        logs: Folder for the process's log, which is removed with the session.

    Raises:
        PermanentProviderError: The model cannot be loaded.
    """
    await asyncio.to_thread(logs.mkdir, parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=logs, prefix="answers-", suffix=".log") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "finetune_providers.local_lora.answerer",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=dict(environment),
            start_new_session=True,
            limit=_MAX_LINE,
        )
        try:
            session = LocalSession(process, Path(log.name))
            await session.ask(request)
            yield session
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            # The pipe's transport is closed here and not by the garbage collector in some later loop.
            if process.stdin is not None:
                process.stdin.close()
