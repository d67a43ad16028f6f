"""The SDK's client, made of an account's own configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import openai

from finetune_providers.bounded import ASKED_ENCODING, httpx_hook
from finetune_providers.calls import CONNECT_TIMEOUT_S, UPLOAD_TIMEOUT_S
from finetune_providers.errors import PermanentProviderError

Client = TypeVar("Client", bound=Any)


def client_of(
    base_url: str, *, key: str, organization: str | None = None, project: str | None = None
) -> openai.AsyncOpenAI:
    """A client that tries every request once and knows nothing of this process's environment."""
    client = openai.AsyncOpenAI(api_key=key, base_url=base_url, timeout=patience(), max_retries=0)
    return without_environment(client, organization=organization, project=project)


def without_environment(
    client: Client, *, organization: str | None = None, project: str | None = None
) -> Client:
    """Take back what the SDK reads from OPENAI_* variables wherever an argument is None.

    The process serves many accounts: a variable that is meant for one must not be sent for another. The SDK
    (3.54, `lib/_client_auth.py`) has no argument that says "none".
    """
    # A key is for its own address alone, and a create call is made once: neither follows a redirection. The SDK
    # (3.54, `_base_client.py`) makes its HTTP client follow them.
    client._client.follow_redirects = False
    client._client.event_hooks = {"response": [httpx_hook(httpx2.AsyncByteStream)]}
    client._client.headers["Accept-Encoding"] = ASKED_ENCODING
    client.organization = organization
    client.project = project
    client.admin_api_key = None
    client.webhook_secret = None
    client._custom_headers = {}
    return client


def patience() -> httpx2.Timeout:
    """How long a request may take where `Calls` does not end it earlier."""
    return httpx2.Timeout(UPLOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)


def checked_url(url: str, *, field: str) -> str:
    """A base URL without a slash at its end.

    Raises:
        PermanentProviderError: It is no HTTP address.
    """
    if not _is_address(url):
        raise PermanentProviderError(
            f"{url!r} is no address of an API; write one such as https://api.example.com/v1", field=field
        )
    return url.rstrip("/")


def url_of_secret(secret: Mapping[str, str], name: str) -> str | None:
    """A base URL that the Secret says; None where it says none.

    Raises:
        PermanentProviderError: It is no HTTP address. What it is instead is not shown: it may be a key.
    """
    value = secret.get(name, "").strip()
    if value and not _is_address(value):
        raise PermanentProviderError(
            f"{name} in the Secret is no address of an API; write one such as https://api.example.com/v1, without "
            "user, password and query, or leave it out",
            field="spec.credentialsSecretRef",
        )
    return value.rstrip("/") or None


def header_of_secret(secret: Mapping[str, str], name: str) -> str | None:
    """What the Secret says, as it goes into a header; None where it says nothing.

    Raises:
        PermanentProviderError: It cannot go there. The HTTP client would fail with the value in its error.
    """
    value = secret.get(name, "").strip()
    if any(not "!" <= character <= "~" for character in value):
        raise PermanentProviderError(
            f"{name} in the Secret has a space, a line break or a character that is not ASCII inside it; write it "
            "again as the company shows it",
            field="spec.credentialsSecretRef",
        )
    return value or None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and has_valid_port
    return whole and not (parts.query or parts.fragment or "@" in parts.netloc)
