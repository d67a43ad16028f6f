"""The operator's end of a process that answers: JSON lines over a socket, which the process does not outlive."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from finetune_providers.base import Conversation
from finetune_providers.errors import PermanentProviderError, TransientProviderError
from finetune_providers.local_lora.launcher import Launch, launcher

_MAX_LINE = 64 * 1024 * 1024


class LocalSession:
    """A loaded model; one batch at a time.

    Attributes:
        batch_size: Conversations that are answered together.
        concurrency: One, because the process answers one batch after the other.
    """

    batch_size = 16
    concurrency = 1

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, log: Path) -> None:
        self._reader = reader
        self._writer = writer
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
        try:
            self._writer.write(json.dumps(question).encode() + b"\n")
            await self._writer.drain()
            # Answers to questions whose caller was cancelled are still on their way: skip them.
            while line := await self._reader.readline():
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

    The process exits at once when the socket closes, so that even a killed operator leaves none behind.

    Args:
        request: `base_model` or `adapter`, `device`, `threads`.
        environment: Of the process.
        logs: Folder for the process's log, which is removed with the session.

    Raises:
        PermanentProviderError: The model cannot be loaded.
        TransientProviderError: No process can be started now.
    """
    await asyncio.to_thread(logs.mkdir, parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    with NamedTemporaryFile(dir=logs, prefix="answers-", suffix=".log") as log:
        with ours, theirs:
            launch = Launch(
                module="answerer",
                arguments=(),
                payload=theirs.fileno(),
                log=log.fileno(),
                environment=environment,
                cwd=logs,
            )
            starting = asyncio.ensure_future(asyncio.to_thread(launcher.start, launch))
            try:
                await asyncio.shield(starting)
            except OSError as error:
                raise TransientProviderError(f"no process can be started: {error}") from error
            finally:
                # Also if we are cancelled: the thread hands on these descriptors, whoever has their numbers.
                await asyncio.wait({starting})
            reader, writer = await asyncio.open_connection(sock=ours.dup(), limit=_MAX_LINE)
        try:
            session = LocalSession(reader, writer, log=Path(log.name))
            await session.ask(request)
            yield session
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
