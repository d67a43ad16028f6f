"""Fine-tuned models at Cohere: listed, looked up, deleted."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from cohere import AsyncClientV2

from finetune_providers.calls import Calls
from finetune_providers.cohere.wire import items, options, present
from finetune_providers.errors import JobNotFound, PermanentProviderError, UnexpectedResponse
from finetune_providers.paging import PageTokens

_PAGE = 50


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list of fine-tuned models; `total` is how many there are on all pages, where that is said."""

    models: Sequence[Any]
    token: str | None
    total: int | None


class FinetunedModels:
    """Those of one account."""

    def __init__(self, client: AsyncClientV2, calls: Calls) -> None:
        """Read with the SDK's client."""
        self._client, self._calls = client, calls

    async def get(self, job_id: str) -> Any | None:
        """A fine-tuned model as Cohere shows it; None where it says that there is none."""
        try:
            answer = await self._calls.read(
                lambda: self._client.finetuning.get_finetuned_model(job_id, request_options=options())
            )
        except JobNotFound:
            return None
        return present(answer, "finetuned_model")

    async def page(self, token: str, *, size: int = _PAGE) -> Page:
        """Fine-tuned models, the newest first; the first page has the token "".

        Raises:
            PermanentProviderError: There is no such list: the service is gone.
        """
        try:
            answer = await self._calls.read(
                lambda: self._client.finetuning.list_finetuned_models(
                    page_size=size,
                    page_token=token or None,
                    order_by="created_at desc",
                    request_options=options(),
                )
            )
        except JobNotFound as error:
            raise PermanentProviderError(
                f"Cohere has no list of fine-tuned models any more: it ended the service on 2025-09-15 ({error})"
            ) from error
        models = items(answer, "finetuned_models")
        following = present(answer, "next_page_token", optional=True) or None
        if following is not None and not isinstance(following, str):
            raise UnexpectedResponse("the token of a page of Cohere's list of fine-tuned models is no text")
        total = answer.total_size
        return Page(models, following, total if isinstance(total, int) else None)

    async def pages(self) -> AsyncIterator[Page]:
        """The list's pages; an UnexpectedResponse where it has no end."""
        token, tokens = "", PageTokens("Cohere's list of fine-tuned models")
        while True:
            page = await self.page(token)
            yield page
            token = tokens.follow(page.token or "")
            if not token:
                return

    async def listed(self, wanted: Set[str]) -> Mapping[str, Any]:
        """What the list shows of some jobs, as far as that takes fewer calls than asking for each of them."""
        found: dict[str, Any] = {}
        if not wanted:
            return found
        seen = 0
        async for page in self.pages():
            shown = {native.id: native for native in page.models if isinstance(native.id, str)}
            found.update({job_id: shown[job_id] for job_id in shown.keys() & wanted})
            seen += len(page.models)
            if page.total is not None and page.models:
                pages_left = math.ceil((page.total - seen) / len(page.models))
                if len(wanted) - len(found) <= pages_left:
                    break
            if len(found) == len(wanted):
                break
        return found

    async def delete(self, job_id: str) -> None:
        """Delete a model; one that is gone already is no error."""
        try:
            await self._calls.read(
                lambda: self._client.finetuning.delete_finetuned_model(job_id, request_options=options())
            )
        except JobNotFound:
            return
