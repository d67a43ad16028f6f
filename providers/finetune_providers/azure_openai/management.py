"""Deployments of an Azure OpenAI resource, through Azure Resource Manager.

API: https://learn.microsoft.com/rest/api/aiservices/accountmanagement/deployments, api-version 2025-09-01, as described
by azure-mgmt-cognitiveservices 14.1 (read 2026-11-23).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from finetune_providers.base import Deployment, DeploymentState
from finetune_providers.bounded import ASKED_ENCODING, whole_of_aiohttp
from finetune_providers.calls import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Calls, retry_after_s
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

BASE_URL = "https://management.azure.com"
API_VERSION = "2025-09-01"

_STATES = {
    "Succeeded": DeploymentState.ACTIVE,
    "Failed": DeploymentState.FAILED,
    "Canceled": DeploymentState.FAILED,
    "Disabled": DeploymentState.FAILED,
}
"""Accepted, Creating, Moving and Deleting are on their way somewhere and count as being created."""


class ManagementError(Exception):
    """Azure Resource Manager refused a request."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: str | None = None) -> None:
        super().__init__(f"Azure refused the request ({status}{', ' if code else ''}{code}): {message}")
        self.status, self.code = status, code
        self.retry_after_s = retry_after_s(retry_after)


def explain_management(error: Exception) -> ProviderError | None:
    """What a failure of the management API means; None where it is something else."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotReached(f"no connection to Azure Resource Manager: {type(error).__name__}")
    if isinstance(error, aiohttp.ClientError):
        return TransientProviderError(
            f"the connection to Azure Resource Manager broke: {type(error).__name__}"
        )
    if not isinstance(error, ManagementError):
        return None
    status, said = error.status, str(error)
    if status == 429 or any(word in error.code for word in ("Quota", "LimitExceeded", "LimitReached")):
        return QuotaExceeded(
            f"{said}; lower spec.azureOpenAI.deploymentCapacity, or free or raise the resource's quota",
            retry_after_s=error.retry_after_s,
        )
    if status >= 500 or status in {408, 409, 412}:  # 409: another change of the same resource goes on
        return TransientProviderError(said, retry_after_s=error.retry_after_s)
    if status == 404:
        return JobNotFound(said)
    if status in {401, 403}:
        return PermanentProviderError(
            f"{said}; the identity needs the actions read, write and delete of "
            "Microsoft.CognitiveServices/accounts/deployments, as in the role Cognitive Services OpenAI Contributor",
            field="spec.credentialsSecretRef",
        )
    return PermanentProviderError(said)


class Deployments:
    """The deployments of one resource."""

    looks = 5
    look_wait_s = 2.0

    def __init__(self, url: str, *, token: Callable[[], Awaitable[str]], calls: Calls) -> None:
        """Manage the deployments below the URL of a resource, which ends with `/accounts/<name>`."""
        self._url = f"{url}/deployments"
        self._token = token
        self._calls = calls
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> None:
        """See whether they may be read.

        Raises:
            PermanentProviderError: They may not, or there is no such resource.
        """
        try:
            await self._call("GET", "")
        except JobNotFound as error:
            raise PermanentProviderError(
                f"{error}; check subscription, resourceGroup and account", field="spec.azureOpenAI.account"
            ) from None

    async def ensure(self, name: str, *, model: str, sku: str, capacity: int) -> Deployment:
        """See to it that a deployment is there, and say how it is.

        Args:
            name: Of the deployment.
            model: The fine-tuned model's id.
            sku: How it is hosted.
            capacity: In thousands of tokens a minute.
        """
        try:
            shown = await self._call("GET", f"/{quote(name, safe='')}")
        except JobNotFound:
            wanted = {
                "sku": {"name": sku, "capacity": capacity},
                "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}},
            }
            shown = await self._put(name, wanted)
        return _deployment(shown, name, model)

    async def delete(self, name: str) -> None:
        """Delete a deployment; one that is gone is no error.

        Raises:
            TransientProviderError: It is still there, be it that Azure takes its time or has failed to delete it.
        """
        path = f"/{quote(name, safe='')}"
        try:
            await self._call("DELETE", path)
            for look in range(self.looks):
                if look:
                    await asyncio.sleep(self.look_wait_s)
                await self._call("GET", path)
        except JobNotFound:
            return
        raise TransientProviderError(f"deployment {name} is being deleted, and may still cost")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _put(self, name: str, wanted: Mapping[str, Any]) -> Any:
        try:
            return await self._call("PUT", f"/{quote(name, safe='')}", wanted)
        except JobNotFound as error:  # it is the resource or the model that was not found
            raise PermanentProviderError(str(error)) from None

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return await self._calls.read(lambda: self._request(method, path, body))

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        token = await self._token()
        if self._session is None:
            patience = aiohttp.ClientTimeout(total=READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=patience, trust_env=True)
        async with self._session.request(
            method,
            f"{self._url}{path}",
            params={"api-version": API_VERSION},
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": ASKED_ENCODING},
            json=body,
            auto_decompress=False,
            allow_redirects=False,  # the token is for this address alone
        ) as response:
            text = (await whole_of_aiohttp(response)).decode()
            if not 200 <= response.status < 300:
                raise _refusal(response.status, text, response.headers.get("Retry-After"))
            return json.loads(text) if text else None


def _refusal(status: int, text: str, retry_after: str | None) -> ManagementError:
    try:
        error = json.loads(text)["error"]
        code, message = str(error.get("code") or ""), str(error.get("message") or "no reason given")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", "no reason given"
    return ManagementError(status, code, message, retry_after=retry_after)


def _deployment(shown: Any, name: str, model: str) -> Deployment:
    properties = shown.get("properties") if isinstance(shown, Mapping) else None
    native = properties.get("provisioningState") if isinstance(properties, Mapping) else None
    if not isinstance(properties, Mapping) or not isinstance(native, str):
        raise UnexpectedResponse("the answer of Azure Resource Manager has no provisioningState")
    deployed = properties.get("model")
    if isinstance(deployed, Mapping) and deployed.get("name") not in {None, model}:
        raise PermanentProviderError(
            f"deployment {name} is there already, of another model: {deployed.get('name')}; delete it"
        )
    state = _STATES.get(native, DeploymentState.CREATING)
    message = ""
    if state is DeploymentState.FAILED:
        message = (
            f"Azure shows the deployment as {native}; the resource's activity log in the portal says why"
        )
    return Deployment(name, state, model=name, native_state=native, message=message)
