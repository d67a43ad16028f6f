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
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from types import NoneType
from typing import Any
from urllib.parse import quote

import openai

from finetune_providers.azure_openai.identity import Tokens, credential_of, explain_login
from finetune_providers.azure_openai.management import BASE_URL as MANAGEMENT_URL
from finetune_providers.azure_openai.management import Deployments, explain_management
from finetune_providers.base import (
    Capabilities,
    Deployment,
    JobRequest,
    Provider,
    ProviderConfig,
)
from finetune_providers.calls import Calls
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import (
    JobNotFound,
    PermanentProviderError,
    ProviderError,
    TransientProviderError,
)
from finetune_providers.hosted import poll_interval_s
from finetune_providers.openai_protocol import (
    Account,
    DataLimits,
    Explainer,
    OpenAIProtocol,
    without_environment,
)
from finetune_providers.openai_protocol.client import checked_url, header_of_secret, patience, url_of_secret
from finetune_providers.openai_protocol.data import GONE_FILES
from finetune_providers.openai_protocol.listing import JOBS
from finetune_providers.openai_protocol.parsing import LIVE_METRICS, METRICS, NATIVE_STATES, text
from finetune_providers.redaction import clean

COMPANY = "Azure OpenAI"
API_VERSION = "2025-04-01-preview"
"""The first version that takes a trainingType; the stable one of 2024-10-21 does not."""

TRAINING_TYPES = {
    "standard": "Standard",
    "globalstandard": "GlobalStandard",
    "developertier": "developerTier",  # so spelt in Azure's documentation; other spellings are refused
}
DEPLOYMENT_SKU = "developertier"
"""The only SKU without an hourly fee, and it deletes itself after a day: what is forgotten costs nothing."""
DEPLOYMENT_CAPACITY = 50
"""Thousands of tokens a minute, as in Azure's own example: with 1, some hundred answers take an hour."""

DATA_SCOPE = "https://cognitiveservices.azure.com/.default"
MANAGEMENT_SCOPE = "https://management.azure.com/.default"

EXPLAINER = Explainer(
    COMPANY,
    credentials="check AZURE_OPENAI_API_KEY in the Secret, or the role of the identity on the resource",
    exhausted="raise the resource's quota, or delete jobs and files that are no longer needed",
)

_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TUNED = re.compile(r"(?P<base>.+)\.ft-[0-9a-f]{32}(?:-(?P<suffix>.+))?")
APPEARS_WITHIN_S = 300.0
"""Azure says itself that a new deployment may need five minutes until it answers."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `spec.azureOpenAI` says.

    Attributes:
        training_type: In Azure's spelling; None leaves it to Azure.
        sku: Of deployments; None for what suits the base model.
        capacity: Of deployments, in thousands of tokens a minute.
    """

    training_type: str | None
    sku: str | None
    capacity: int


def create(config: ProviderConfig, *, credential: Any | None = None) -> Provider:
    """The provider of an Azure OpenAI resource.

    Args:
        config: Takes AZURE_OPENAI_API_KEY, AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and
            AZURE_OPENAI_ENDPOINT in the Secret; needs subscription, resourceGroup and account.
        credential: An asynchronous TokenCredential, used instead of one made of the configuration.

    Raises:
        PermanentProviderError: Something is missing or wrong; `field` says where to write it.
    """
    resource = {name: _needed(config, name) for name in ("subscription", "resourceGroup", "account")}
    settings = _settings(config)
    identity = credential if credential is not None else credential_of(config)
    tokens = Tokens(identity)
    calls = Calls(
        _Explain(EXPLAINER, tokens),
        requests_per_minute=config.requests_per_minute,
        secrets=[value.strip() for value in config.credentials.values()],
    )
    return AzureOpenAIProvider(
        _account(config, resource["account"], calls=calls, tokens=tokens),
        settings=settings,
        deployments=_deployments(config, resource, calls=calls, tokens=tokens),
        identity=identity if credential is None else None,
    )


def _account(config: ProviderConfig, name: str, *, calls: Calls, tokens: Tokens) -> Account:
    endpoint = checked_url(
        config.endpoint
        or url_of_secret(config.credentials, "AZURE_OPENAI_ENDPOINT")
        or f"https://{name}.openai.azure.com",
        field="spec.endpoint",
    )
    chat_url = checked_url(config.endpoints.get("inference") or endpoint, field="spec.endpoints.inference")
    token = tokens.of(str(config.options.get("dataScope") or DATA_SCOPE))
    client = _client(config, endpoint, token)
    return Account(
        company=COMPANY,
        client=client,
        chat=client if chat_url == endpoint else _client(config, chat_url, token),
        calls=calls,
        catalog=load_catalog(config),
        capabilities=_capabilities(config),
        limits=DataLimits(COMPANY, least_examples=10, most_bytes=512 * 10**6 - 4),
        dialect="azure-openai",
        bom=True,
        work_dir=config.work_dir,
    )


def _deployments(
    config: ProviderConfig, resource: Mapping[str, str], *, calls: Calls, tokens: Tokens
) -> Deployments:
    url = checked_url(config.endpoints.get("management") or MANAGEMENT_URL, field="spec.endpoints.management")
    subscription, group, account = (
        quote(resource[name], safe="") for name in ("subscription", "resourceGroup", "account")
    )
    return Deployments(
        f"{url}/subscriptions/{subscription}/resourceGroups/{group}"
        f"/providers/Microsoft.CognitiveServices/accounts/{account}",
        token=tokens.of(str(config.options.get("managementScope") or MANAGEMENT_SCOPE)),
        calls=calls,
    )


def _needed(config: ProviderConfig, name: str) -> str:
    value = str(config.options.get(name) or "").strip()
    if not value:
        raise PermanentProviderError(
            f"spec.azureOpenAI.{name} is missing; a fine-tuned model answers only through a deployment, which is "
            "made through Azure Resource Manager: it needs subscription, resourceGroup and account of the resource",
            field=f"spec.azureOpenAI.{name}",
        )
    return value


def _settings(config: ProviderConfig) -> Settings:
    written = config.options.get("trainingType")
    training_type = TRAINING_TYPES.get(str(written).lower()) if written else None
    if written and training_type is None:
        raise PermanentProviderError(
            f"spec.azureOpenAI.trainingType {written!r} is not one of Standard, GlobalStandard, DeveloperTier",
            field="spec.azureOpenAI.trainingType",
        )
    capacity = str(config.options.get("deploymentCapacity") or DEPLOYMENT_CAPACITY)
    if not capacity.isdecimal() or int(capacity) < 1:
        raise PermanentProviderError(
            f"spec.azureOpenAI.deploymentCapacity {capacity!r} is no number from 1; it is in thousands of tokens "
            "a minute",
            field="spec.azureOpenAI.deploymentCapacity",
        )
    sku = config.options.get("deploymentSku")
    return Settings(training_type, str(sku) if sku else None, int(capacity))


def _client(config: ProviderConfig, endpoint: str, token: Callable[[], Awaitable[str]]) -> Any:
    key = header_of_secret(config.credentials, "AZURE_OPENAI_API_KEY")
    client = openai.AsyncAzureOpenAI(
        azure_endpoint=endpoint,
        api_version=str(config.options.get("apiVersion") or API_VERSION),
        api_key=key,
        azure_ad_token_provider=None if key else token,
        timeout=patience(),
        max_retries=0,
        # The HTTP client would take the header api-key along to another host.
        http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
    )
    return without_environment(client)


def _capabilities(config: ProviderConfig) -> Capabilities:
    return Capabilities(
        finds_by_key=True,
        idempotent_create=False,  # the API knows no idempotency key
        lookup_window_s=None,  # how soon a list shows a new job is documented nowhere
        metrics=METRICS,
        poll_interval_s=poll_interval_s(config.options),
        deletes_models=True,
        native_states=NATIVE_STATES,
        live_metrics=LIVE_METRICS,
        appears_within_s=APPEARS_WITHIN_S,
        needs_deployment=True,
    )


@dataclass(frozen=True, slots=True)
class _Explain:
    """Names what goes wrong: at the login, at the management API, at the data plane."""

    data_plane: Explainer
    tokens: Tokens

    def __call__(self, error: Exception) -> ProviderError | None:
        named = self._named(error)
        if named is not None:
            named.args = (clean(str(named), self.tokens.known.values()),)
        return named

    def _named(self, error: Exception) -> ProviderError | None:
        return (
            explain_login(error, had_token=bool(self.tokens.known))
            or explain_management(error)
            or self.data_plane(error)
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
