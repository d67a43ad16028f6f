"""Who an Azure OpenAI account is for Microsoft Entra."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

from finetune_providers.base import ProviderConfig
from finetune_providers.calls import keep_identity
from finetune_providers.errors import NotReached, PermanentProviderError, ProviderError

_OF_SEVERAL = ("workload_identity_client_id", "managed_identity_client_id")
"""Arguments that say which of a machine's identities is meant."""

_TRY_AGAIN = ("temporarily_unavailable", "server_error")
"""Errors of RFC 6749 with which Entra asks to come again."""

_NO_ANSWER = ("Unexpected response from Microsoft Entra ID", "No response content from Microsoft Entra ID")
"""What azure-identity (1.27) says of a page that is no answer of Entra's, such as a gateway's."""

LOGIN_URL = "https://login.microsoftonline.com"


class Tokens:
    """Tokens of Microsoft Entra; the newest of each scope is known, so that no message shows it."""

    def __init__(self, identity: Any) -> None:
        """Get tokens for an asynchronous TokenCredential."""
        self._identity = identity
        self.known: dict[str, str] = {}

    def of(self, scope: str) -> Callable[[], Awaitable[str]]:
        """What gives a token for a scope."""

        async def token() -> str:
            self.known[scope] = str((await self._identity.get_token(scope)).token)
            return self.known[scope]

        return token


def credential_of(config: ProviderConfig) -> Any:
    """Who we are for Microsoft Entra: a service principal of the Secret, or what this machine has been given."""
    secret = {name: value.strip() for name, value in config.credentials.items()}
    tenant, client = secret.get("AZURE_TENANT_ID", ""), secret.get("AZURE_CLIENT_ID", "")
    login = config.endpoints.get("login") or LOGIN_URL
    if not secret.get("AZURE_CLIENT_SECRET"):
        # With an API key the data plane is shown no token.
        data = (
            None
            if secret.get("AZURE_OPENAI_API_KEY")
            else config.endpoint or secret.get("AZURE_OPENAI_ENDPOINT")
        )
        keep_identity(config, data, *config.endpoints.values())
        # Not what the environment holds of another service principal: that is nobody's that uses this account.
        return DefaultAzureCredential(
            authority=login,
            exclude_environment_credential=True,
            **dict.fromkeys(_OF_SEVERAL if client else (), client),
        )
    missing = [name for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID") if not secret.get(name)]
    if missing:
        raise PermanentProviderError(
            f"the Secret has AZURE_CLIENT_SECRET, but no {' and no '.join(missing)}: a service principal needs all "
            "three",
            field="spec.credentialsSecretRef",
        )
    try:
        return ClientSecretCredential(tenant, client, secret["AZURE_CLIENT_SECRET"], authority=login)
    except ValueError as error:
        raise PermanentProviderError(
            f"AZURE_TENANT_ID in the Secret, or spec.endpoints.login, is wrong: {error}",
            field="spec.credentialsSecretRef",
        ) from None


def explain_login(error: Exception, *, had_token: bool) -> ProviderError | None:
    """What it means that there is no token; None where that is not what went wrong.

    Args:
        error: Of azure-identity, which calls everything a failed authentication.
        had_token: There was a token before: who gave it is there, and may only not answer now.
    """
    if isinstance(error, ClientAuthenticationError) and not _passes(error, had_token=had_token):
        return PermanentProviderError(
            f"Microsoft Entra gives no token: {error.message}; put AZURE_TENANT_ID, AZURE_CLIENT_ID and "
            "AZURE_CLIENT_SECRET in the Secret, or give the operator's service account a workload identity",
            field="spec.credentialsSecretRef",
        )
    if isinstance(error, AzureError):  # without a token nothing was asked for
        return NotReached(f"no token from Microsoft Entra: {type(error).__name__}")
    return None


def _passes(error: ClientAuthenticationError, *, had_token: bool) -> bool:
    status = error.status_code
    if status is None:
        return had_token or any(words in str(error.message) for words in _NO_ANSWER)
    return status == 429 or status >= 500 or any(words in str(error.message) for words in _TRY_AGAIN)
