"""Datasets as files of an account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from finetune_providers.base import DatasetFile
from finetune_providers.calls import UPLOAD_TIMEOUT_S
from finetune_providers.conversations import upload_name, write_converted
from finetune_providers.errors import JobNotFound
from finetune_providers.openai_protocol.account import Account
from finetune_providers.openai_protocol.data import converted, stays
from finetune_providers.openai_protocol.listing import FILES, Lists
from finetune_providers.openai_protocol.parsing import text

PURPOSE = "fine-tune"


class Files:
    """The files that jobs are trained on; a file's name says what is in it."""

    def __init__(self, account: Account, lists: Lists, *, ready: Callable[[object], Awaitable[str]]) -> None:
        """`ready` gives the id of a file, once jobs can take it."""
        self._account, self._lists, self._ready = account, lists, ready
        self._client, self._calls = account.client, account.calls
        self._uploads: dict[str, asyncio.Lock] = {}

    async def upload(self, dataset: DatasetFile) -> str:
        """The id of the file with this content, which is sent where it is not there."""
        name = upload_name(dataset, dialect=self._account.dialect)
        async with self._uploads.setdefault(name, asyncio.Lock()):
            async for file in self._all():
                if getattr(file, "filename", None) == name and stays(file):
                    return await self._ready(file)
            return await self._ready(await self._send(dataset, name))

    async def delete(self, scope: str) -> None:
        """Delete all files of a scope."""
        ours = [
            text(file, "id")
            async for file in self._all()
            if str(getattr(file, "filename", "")).startswith(f"{scope}.")
            and getattr(file, "status", None) not in {"deleting", "deleted"}
        ]
        for file_id in ours:
            with suppress(JobNotFound):
                await self._calls.read(partial(self._client.files.delete, file_id))

    async def _send(self, dataset: DatasetFile, name: str) -> object:
        path = self._account.work_dir / "uploads" / name
        await self._calls.in_thread(write_converted, dataset, path, converted, bom=self._account.bom)
        try:
            content = await self._calls.in_thread(path.open, "rb")
            try:
                return await self._calls.read(
                    lambda: self._client.files.create(
                        file=(name, content, "application/jsonl"), purpose=PURPOSE
                    ),
                    timeout_s=UPLOAD_TIMEOUT_S,
                )
            finally:
                content.close()
        finally:
            await self._calls.in_thread(path.unlink, missing_ok=True)

    async def _all(self) -> AsyncIterator[Any]:
        async for page in self._lists.pages(FILES, purpose=PURPOSE):
            for file in page:
                if getattr(file, "purpose", None) in {None, PURPOSE}:  # not every service knows the filter
                    yield file
