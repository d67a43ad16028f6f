"""Fine-tuning at OpenAI, and at services behind `spec.endpoint` that speak its API.

API: https://platform.openai.com/docs/api-reference/fine-tuning, as described by the SDK, openai 3.54 (read
2026-11-23).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from finetune_providers.base import Capabilities, JobRequest, JobSnapshot, Provider, ProviderConfig
from finetune_providers.calls import Calls
from finetune_providers.catalog import load_catalog
from finetune_providers.errors import PermanentProviderError
from finetune_providers.hosted import poll_interval_s
from finetune_providers.openai_protocol import (
    Account,
    DataLimits,
    Explainer,
    Forbidden,
    OpenAIProtocol,
    client_of,
)
from finetune_providers.openai_protocol.client import checked_url, header_of_secret, url_of_secret
from finetune_providers.openai_protocol.parsing import LIVE_METRICS, METRICS, NATIVE_STATES

BASE_URL = "https://api.openai.com/v1"
KEY = "finetune-operator/key"
"""The metadata pair that carries a purchase's key."""

_LONGEST_NAME, _LONGEST_VALUE, _MOST_PAIRS = 64, 512, 16
_LONGEST_SUFFIX = 64


def create(config: ProviderConfig, *, client: Any | None = None) -> Provider:
    """The provider of an account.

    Args:
        config: Needs OPENAI_API_KEY in the Secret; takes OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_BASE_URL.
        client: Used instead of one made of the configuration.

    Raises:
        PermanentProviderError: Something is missing; `field` says where to write it.
    """
    key = _key(config.credentials)
    base_url = _base_url(config)
    openai_itself = (urlsplit(base_url).hostname or "").endswith("api.openai.com")  # regions, too
    config = replace(config, endpoint=None if openai_itself else base_url)
    company = "OpenAI" if openai_itself else "the OpenAI-compatible service"
    own, chat = (client, client) if client is not None else _clients(config, base_url, key)
    return OpenAIProvider(
        Account(
            company=company,
            client=own,
            chat=chat,
            calls=Calls(
                _explainer(company),
                requests_per_minute=config.requests_per_minute,
                secrets=[value.strip() for value in config.credentials.values()],
            ),
            catalog=load_catalog(config),
            capabilities=_capabilities(config.options),
            limits=DataLimits(company, least_examples=10, most_bytes=512 * 10**6),
            dialect="openai",
            work_dir=config.work_dir,
        )
    )


def _base_url(config: ProviderConfig) -> str:
    if config.endpoint is not None:
        return checked_url(config.endpoint, field="spec.endpoint")
    return url_of_secret(config.credentials, "OPENAI_BASE_URL") or BASE_URL


def _clients(config: ProviderConfig, base_url: str, key: str) -> tuple[Any, Any]:
    """A client for jobs and files, and one for answers: the same, unless these are had elsewhere."""
    secret = config.credentials
    connect = partial(
        client_of,
        key=key,
        organization=header_of_secret(secret, "OPENAI_ORG_ID"),
        project=header_of_secret(secret, "OPENAI_PROJECT_ID") or config.project,
    )
    chat_url = checked_url(config.endpoints.get("inference") or base_url, field="spec.endpoints.inference")
    own = connect(base_url)
    return own, own if chat_url == base_url else connect(chat_url)


def _key(secret: Mapping[str, str]) -> str:
    key = header_of_secret(secret, "OPENAI_API_KEY")
    if key is None:
        raise PermanentProviderError(
            "the Secret has no OPENAI_API_KEY; write it with kubectl create secret generic NAME "
            "--from-literal=OPENAI_API_KEY=sk-…, and name that Secret in spec.credentialsSecretRef",
            field="spec.credentialsSecretRef",
        )
    return key


def _explainer(company: str) -> Explainer:
    return Explainer(
        company,
        credentials="check OPENAI_API_KEY in the Secret, and OPENAI_ORG_ID and OPENAI_PROJECT_ID if they are there",
        exhausted=(
            "the account has no credit left or has reached its budget: add credit or raise the budget under "
            "Billing; nothing was bought, and the request is made again until it is accepted"
        ),
    )


def _capabilities(options: Mapping[str, object]) -> Capabilities:
    return Capabilities(
        finds_by_key=True,
        idempotent_create=False,  # the API knows no idempotency key
        lookup_window_s=None,  # how soon a list shows a new job is documented nowhere
        metrics=METRICS,
        poll_interval_s=poll_interval_s(options),
        deletes_models=True,
        native_states=NATIVE_STATES,
        live_metrics=LIVE_METRICS,
        appears_within_s=300.0,
    )


class OpenAIProvider(OpenAIProtocol):
    """Jobs carry their key in their metadata."""

    def _key_of(self, job: object) -> str | None:
        metadata = getattr(job, "metadata", None)
        value = metadata.get(KEY) if isinstance(metadata, Mapping) else None
        return value if isinstance(value, str) else None

    def _marks(self, request: JobRequest) -> dict[str, Any]:
        labels = list(request.labels.items())[: _MOST_PAIRS - 1]
        metadata = {name[:_LONGEST_NAME]: value[:_LONGEST_VALUE] for name, value in labels}
        return {"metadata": {**metadata, KEY: request.key}, "suffix": suffix(request)}

    def _filter(self, key: str) -> dict[str, Any]:
        return {"metadata": {KEY: key}}

    async def submit(self, request: JobRequest) -> JobSnapshot:
        """See `Provider.submit`; where OpenAI forbids it, the reason is most often that it is closing."""
        try:
            return await super().submit(request)
        except Forbidden as error:
            closing = f" {self.offer.message}." if self.offer.message else ""
            raise PermanentProviderError(
                f"{error}. Either the key may not write fine-tuning jobs (give it that permission), or the "
                f"organisation may not make new ones.{closing}",
                field=error.field,
            ) from None


def suffix(request: JobRequest) -> str:
    """Part of the fine-tuned model's name, for people: the trial's name where it is known."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", request.labels.get("trial", "")).strip("-")
    return (name or request.key)[:_LONGEST_SUFFIX]
