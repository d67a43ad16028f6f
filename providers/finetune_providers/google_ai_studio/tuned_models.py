"""Tuned models: listed, looked up, and as the jobs that they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from finetune_providers.base import JobSnapshot, JobState
from finetune_providers.calls import Calls
from finetune_providers.errors import JobNotFound, ProviderError, TransientProviderError
from finetune_providers.google_ai_studio.rest import COMPANY, Forbidden, NotNow, Rest
from finetune_providers.google_ai_studio.wire import objects, possible_id, snapshot, take
from finetune_providers.paging import PageTokens

Json = Mapping[str, Any]

_PAGE_SIZE = 1000


class TunedModels:
    """Those of one API key."""

    def __init__(self, calls: Calls, rest: Rest) -> None:
        """Read over the REST API."""
        self._calls, self._rest = calls, rest
        self._reasons: dict[str, str] = {}

    async def listed(self) -> AsyncIterator[Json]:
        """All tuned models, page by page.

        Raises:
            UnexpectedResponse: A page is told to follow that was there before.
        """
        token, tokens = "", PageTokens(f"{COMPANY}: the list of tuned models")
        while True:
            query = {"pageSize": str(_PAGE_SIZE), **({"pageToken": token} if token else {})}
            page = await self._read("GET", "tunedModels", query=query)
            for resource in objects(page, "tunedModels"):
                yield resource
            token = tokens.follow(take(page, "nextPageToken", str, ""))
            if not token:
                return

    async def get(self, name: str) -> Json | None:
        """A tuned model; None where there is none.

        Of one that is not there, Google may say that it is forbidden, as of one that is somebody else's. What the key
        may see is then taken from the list, which is refused where the key is wrong.
        """
        if not possible_id(name):
            return None
        try:
            return await self._read("GET", f"tunedModels/{name}")
        except JobNotFound:
            return None
        except Forbidden:
            async for resource in self.listed():
                if resource.get("name") == f"tunedModels/{name}":
                    return resource
            return None

    async def job(self, resource: Json) -> JobSnapshot:
        """A tuned model as a job, with why it failed; that this cannot be read holds up no other job."""
        job = snapshot(resource)
        if job.state is not JobState.FAILED:
            return job
        if job.job_id not in self._reasons:
            try:
                self._reasons[job.job_id] = await self._reason(job.job_id)
            except ProviderError as error:
                return replace(
                    job, message=f"{COMPANY} says that it failed; the reason cannot be read: {error}"
                )
        return replace(job, message=self._reasons[job.job_id])

    async def _reason(self, job_id: str) -> str:
        """Why a job failed, which is written nowhere but in its operation."""
        listed = await self._read("GET", f"tunedModels/{job_id}/operations")
        errors = [take(each, "error", dict, {}) for each in objects(listed, "operations")]
        told = [str(error["message"]) for error in errors if error.get("message")]
        return told[0] if told else f"{COMPANY} gives no reason"

    async def delete(self, job_id: str) -> None:
        """Delete a tuned model; one that is gone already is no error.

        Raises:
            TransientProviderError: It cannot be deleted now.
        """
        try:
            await self._read("DELETE", f"tunedModels/{job_id}")
        except JobNotFound:
            return
        except NotNow as error:
            # Until it is finished, when there is nothing to cancel any more.
            raise TransientProviderError(str(error)) from None

    async def _read(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        return await self._calls.read(lambda: self._rest.send(method, path, query=query))
