"""Cohere's datasets: sent once, found again by their names, used only once Cohere has found them good.

Source: docs.cohere.com reference of /v1/datasets, and docs/datasets and docs/chat-preparing-the-data, archived.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from cohere import AsyncClientV2

from finetune_providers.base import DatasetFile, Message
from finetune_providers.calls import UPLOAD_TIMEOUT_S, Calls
from finetune_providers.cohere.wire import items, options, present, text, to_cohere
from finetune_providers.conversations import (
    read_conversations,
    upload_name,
    upload_prefix,
    write_converted,
)
from finetune_providers.errors import JobNotFound, PermanentProviderError, TransientProviderError

DATASET_TYPE = "chat-finetune-input"
DIALECT = "chat"
LONGEST_NAME = 49
MAX_BYTES = 1_500_000_000
MIN_TRAINING_EXAMPLES = 2
"""Different ones: Cohere drops what is repeated, and sets one of two aside to evaluate on."""

PATIENCE_S = 600.0
_LONGEST_POLL_S = 5.0
_PAGE = 50

_USELESS = {"failed", "skipped", "unknown"}
"""What the SDK itself takes for failures."""


class Datasets:
    """The datasets of one account."""

    def __init__(
        self,
        client: AsyncClientV2,
        calls: Calls,
        *,
        folder: Path,
        poll_interval_s: float,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        """Keep what is on its way in `folder`."""
        self._client, self._calls, self._folder, self._sleep = client, calls, folder, sleep
        self._poll_s = min(_LONGEST_POLL_S, poll_interval_s)
        self._uploading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def upload(self, dataset: DatasetFile) -> str:
        """The id of the dataset with this content, which is sent where it is not there.

        Raises:
            PermanentProviderError: Cohere finds it wrong.
            TransientProviderError: Among others, Cohere has not checked it after ten minutes.
        """
        name = upload_name(dataset, dialect=DIALECT, longest=LONGEST_NAME)
        async with self._uploading[name]:
            return await self._validated(await self._found(name) or await self._send(dataset, name))

    async def delete(self, scope: str) -> None:
        """Delete all datasets of a scope."""
        prefix = upload_prefix(scope, short=True)
        for each in await self._all():
            if text(each, "name").startswith(prefix):
                await self._delete(text(each, "id"))

    async def _found(self, name: str) -> str | None:
        """The dataset of this name; useless ones are deleted, so that they do not pile up."""
        usable: str | None = None
        for each in await self._all():
            if each.name != name or each.dataset_type != DATASET_TYPE:
                continue
            if each.validation_status in _USELESS:
                await self._delete(text(each, "id"))
            elif usable is None or each.validation_status == "validated":
                usable = text(each, "id")
        return usable

    async def _send(self, dataset: DatasetFile, name: str) -> str:
        path = self._folder / f"{name}.jsonl"
        await self._calls.in_thread(write_converted, dataset, path, to_cohere)
        try:
            with await self._calls.in_thread(path.open, "rb") as content:
                answer = await self._calls.read(
                    lambda: self._client.datasets.create(
                        name=name,
                        type=DATASET_TYPE,
                        data=(path.name, content, "application/jsonl"),
                        request_options=options(UPLOAD_TIMEOUT_S),
                    ),
                    timeout_s=UPLOAD_TIMEOUT_S,
                )
        finally:
            await self._calls.in_thread(path.unlink, missing_ok=True)
        return text(answer, "id")

    async def _validated(self, dataset_id: str) -> str:
        """Wait until Cohere has checked a dataset, for some minutes at most."""
        for _ in range(math.ceil(PATIENCE_S / self._poll_s)):
            try:
                answer = await self._calls.read(
                    lambda: self._client.datasets.get(id=dataset_id, request_options=options())
                )
            except JobNotFound as error:  # not shown yet, or deleted meanwhile
                raise TransientProviderError(f"dataset {dataset_id} is not shown: {error}") from None
            dataset = present(answer, "dataset")
            status = text(dataset, "validation_status")
            if status == "validated":
                return dataset_id
            if status in _USELESS:
                reason = dataset.validation_error or "it gives no reason"
                raise PermanentProviderError(
                    f"Cohere refuses the dataset ({status}): {reason}; change the dataset", field="training"
                )
            await self._sleep(self._poll_s)
        raise TransientProviderError(f"Cohere is still checking dataset {dataset_id}")

    async def _all(self) -> Sequence[Any]:
        """All datasets for fine-tuning. A page may be shorter than asked for: the last is one without news."""
        seen: dict[str, Any] = {}
        offset = 0
        while True:
            page = await self._page(offset)
            known = len(seen)
            seen.update({text(each, "id"): each for each in page})
            if len(seen) == known:
                return tuple(seen.values())
            offset += len(page)

    async def _page(self, offset: int) -> Sequence[Any]:
        answer = await self._calls.read(
            lambda: self._client.datasets.list(
                dataset_type=DATASET_TYPE, limit=_PAGE, offset=offset, request_options=options()
            )
        )
        return items(answer, "datasets")

    async def _delete(self, dataset_id: str) -> None:
        try:
            await self._calls.read(
                lambda: self._client.datasets.delete(id=dataset_id, request_options=options())
            )
        except JobNotFound:
            return


def check_dataset(dataset: DatasetFile, field: str, *, least: int) -> None:
    """Hold a dataset against Cohere's published limits. Blocking.

    Raises:
        PermanentProviderError: What is wrong, in which line, and what to do.
    """
    size = dataset.path.stat().st_size
    if size > MAX_BYTES:
        raise PermanentProviderError(
            f"the dataset has {size:,} bytes; Cohere takes at most {MAX_BYTES:,}: leave examples out",
            field=field,
        )
    different: set[str] = set()
    for number, conversation in enumerate(read_conversations(dataset, field=field), start=1):
        _check_roles([message["role"] for message in conversation], number, field)
        if len(different) < least:
            different.add(_identity(conversation))
    if len(different) < least:
        raise PermanentProviderError(
            f"the dataset has {len(different)} different examples; Cohere needs at least {least}: add some",
            field=field,
        )


def _check_roles(roles: Sequence[str], number: int, field: str) -> None:
    if "system" in roles[1:]:
        raise PermanentProviderError(
            f"line {number}: Cohere takes a system message in the first place only; move it there",
            field=field,
        )
    for role in ("user", "assistant"):
        if role not in roles:
            raise PermanentProviderError(
                f"line {number}: Cohere needs a message of the {role} in every example; add one", field=field
            )


def _identity(conversation: Sequence[Message]) -> str:
    return repr([(message["role"], message["content"]) for message in conversation])
