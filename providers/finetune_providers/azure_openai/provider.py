"""Fine-tuning at Azure OpenAI (Microsoft Foundry).

API: https://learn.microsoft.com/rest/api/azureopenai, api-version 2025-04-01-preview, as specified in
Azure/azure-rest-api-specs, data-plane/AzureOpenAI/authoring (read 2026-11-24). It is OpenAI's but for this:

- A job has no metadata, and the list of jobs no filter. A job is found again by its suffix, of at most 40 characters.
- A file is processed after its upload; a job that names it before is refused.
- A model is deleted with the job that made it.
- A model answers only through a deployment (see `management`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from functools import partial
from types import NoneType
from typing import Any
from urllib.parse import quote

from finetune_providers.azure_openai.account import (
    APPEARS_WITHIN_S,
    COMPANY,
    DEPLOYMENT_SKU,
    EXPLAINER,
    Explain,
    Settings,
    account_of,
    deployments_of,
    needed,
    settings_of,
)
from finetune_providers.azure_openai.identity import Tokens, credential_of
from finetune_providers.azure_openai.management import Deployments
from finetune_providers.base import (
    Deployment,
    JobRequest,
    Provider,
    ProviderConfig,
)
from finetune_providers.calls import Calls
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
)
from finetune_providers.openai_protocol import (
    Account,
    OpenAIProtocol,
)
from finetune_providers.openai_protocol.data import GONE_FILES
from finetune_providers.openai_protocol.listing import JOBS
from finetune_providers.openai_protocol.parsing import text

_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TUNED = re.compile(r"(?P<base>.+)\.ft-[0-9a-f]{32}(?:-(?P<suffix>.+))?")


def create(config: ProviderConfig, *, credential: Any | None = None) -> Provider:
    """The provider of an Azure OpenAI resource.

    Args:
        config: Takes AZURE_OPENAI_API_KEY, AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and
            AZURE_OPENAI_ENDPOINT in the Secret; needs subscription, resourceGroup and account.
        credential: An asynchronous TokenCredential, used instead of one made of the configuration.

    Raises:
        PermanentProviderError: Something is missing or wrong; `field` says where to write it.
    """
    resource = {name: needed(config, name) for name in ("subscription", "resourceGroup", "account")}
    settings = settings_of(config)
    identity = credential if credential is not None else credential_of(config)
    tokens = Tokens(identity)
    calls = Calls(
        Explain(EXPLAINER, tokens),
        requests_per_minute=config.requests_per_minute,
        secrets=[value.strip() for value in config.credentials.values()],
    )
    return AzureOpenAIProvider(
        account_of(config, resource["account"], calls=calls, tokens=tokens),
        settings=settings,
        deployments=deployments_of(config, resource, calls=calls, tokens=tokens),
        identity=identity if credential is None else None,
    )


class AzureOpenAIProvider(OpenAIProtocol):
    """Jobs carry their key as their suffix; models answer through deployments."""

    answers_within_s = APPEARS_WITHIN_S
    file_wait_s = 2.0
    file_looks = 15

    def __init__(
        self, account: Account, *, settings: Settings, deployments: Deployments, identity: Any | None
    ) -> None:
        """Work with an account; `identity` is closed with the provider."""
        super().__init__(account)
        self._settings = settings
        self._deployments = deployments
        self._identity = identity

    def _key_of(self, job: object) -> str | None:
        suffix = getattr(job, "suffix", None)
        if isinstance(suffix, str) and suffix:
            return suffix
        named = _TUNED.fullmatch(str(getattr(job, "fine_tuned_model", None)))
        return named["suffix"] if named else None

    def _marks(self, request: JobRequest) -> dict[str, Any]:
        if not _KEY.fullmatch(request.key):
            raise PermanentProviderError(
                f"key {request.key!r} cannot be a suffix, by which the job is found again: 1 to 40 letters, digits, "
                "dashes and underscores"
            )
        training_type = self._settings.training_type
        extra = {} if training_type is None else {"extra_body": {"trainingType": training_type}}
        return {"suffix": request.key, **extra}

    def _filter(self, key: str) -> dict[str, Any]:
        return {}

    async def _ready(self, file: object) -> str:
        file_id = text(file, "id")
        for look in range(self.file_looks):
            if look:
                await asyncio.sleep(self.file_wait_s)
                file = await self._looked_at(file_id)
            status = text(file, "status")
            if status == "processed":
                return file_id
            if status in GONE_FILES:
                why = getattr(file, "status_details", None) or "it gives no reason"
                raise PermanentProviderError(f"{COMPANY} cannot use the dataset: {why}", field="training")
        raise TransientProviderError(f"{COMPANY} has not processed file {file_id} yet: it is {status}")

    async def _looked_at(self, file_id: str) -> object:
        try:
            return await self._calls.read(lambda: self._client.files.retrieve(file_id))
        except JobNotFound as error:  # it was there a moment ago
            raise TransientProviderError(str(error)) from None

    async def check(self, base_models: Collection[str]) -> None:
        """See `Provider.check`; deployments are looked at, too, lest a model be paid that cannot answer."""
        await super().check(base_models)
        await self._deployments.check()

    async def deploy(self, model: str, *, name: str) -> Deployment:
        """See `Provider.deploy`."""
        return await self._deployments.ensure(
            name, model=model, sku=self._sku(model), capacity=self._settings.capacity
        )

    def _sku(self, model: str) -> str:
        named = _TUNED.fullmatch(model)
        rules = self.model_rules(named["base"]) if named else None
        suits = rules.traits.get("deploymentSku") if rules is not None else None
        return self._settings.sku or suits or DEPLOYMENT_SKU

    async def undeploy(self, name: str) -> None:
        """See `Provider.undeploy`."""
        await self._deployments.delete(name)

    def _missing(self, model: str, error: JobNotFound | None) -> ProviderError | None:
        """What it means that there is no deployment of a name; without an error: it has answered."""
        if error is not None and self.model_rules(model) is not None:
            return PermanentProviderError(
                f"base model {model} answers on Azure only through a deployment: make one of that very name, or "
                "have the sweep measure no baseline",
                field="baseModels",
            )
        named = super()._missing(model, error)
        if not isinstance(named, JobNotFound):
            return named
        return JobNotFound(
            f"{named} Deployment {model} is gone: Azure deletes those of the developer tier after 24 hours"
        )

    async def delete_model(self, model: str) -> None:
        """See `Provider.delete_model`; the job goes with it, which also frees its place among the resource's 100."""
        async for page in self._lists.pages(JOBS, limit=100):
            for job in page:
                if getattr(job, "fine_tuned_model", None) == model:
                    path = f"{JOBS}/{quote(text(job, 'id'), safe='')}"
                    await self._unless_gone(partial(self._client.delete, path, cast_to=NoneType))
                    return

    async def aclose(self) -> None:
        """See `Provider.aclose`."""
        await super().aclose()
        await self._deployments.close()
        if self._identity is not None:
            await self._identity.close()
