"""What a FinetuneProvider says of an Azure OpenAI resource: where it is, who asks, how models are trained."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import openai

from finetune_providers.azure_openai.identity import Tokens, explain_login
from finetune_providers.azure_openai.management import BASE_URL as MANAGEMENT_URL
from finetune_providers.azure_openai.management import Deployments, explain_management
from finetune_providers.base import (
    Capabilities,
    ProviderConfig,
)
from finetune_providers.calls import Calls
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import (
    PermanentProviderError,
    ProviderError,
)
from finetune_providers.hosted import poll_interval_s
from finetune_providers.openai_protocol import (
    Account,
    DataLimits,
    Explainer,
    without_environment,
)
from finetune_providers.openai_protocol.client import checked_url, header_of_secret, patience, url_of_secret
from finetune_providers.openai_protocol.parsing import LIVE_METRICS, METRICS, NATIVE_STATES
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


def account_of(config: ProviderConfig, name: str, *, calls: Calls, tokens: Tokens) -> Account:
    """The account that jobs and files belong to.

    Raises:
        PermanentProviderError: An address is none, with `field`.
    """
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


def deployments_of(
    config: ProviderConfig, resource: Mapping[str, str], *, calls: Calls, tokens: Tokens
) -> Deployments:
    """The deployments of a resource, of which `subscription`, `resourceGroup` and `account` are given."""
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


def needed(config: ProviderConfig, name: str) -> str:
    """A field of `spec.azureOpenAI` that nothing can be done without.

    Raises:
        PermanentProviderError: It is missing, with `field`.
    """
    value = str(config.options.get(name) or "").strip()
    if not value:
        raise PermanentProviderError(
            f"spec.azureOpenAI.{name} is missing; a fine-tuned model answers only through a deployment, which is "
            "made through Azure Resource Manager: it needs subscription, resourceGroup and account of the resource",
            field=f"spec.azureOpenAI.{name}",
        )
    return value


def settings_of(config: ProviderConfig) -> Settings:
    """How models are trained and deployed.

    Raises:
        PermanentProviderError: A value is not one that Azure takes, with `field`.
    """
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
class Explain:
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
