"""The Gemini API over HTTP: one request, and what each of its errors means. Knows nothing of tuned models."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
from yarl import URL

from finetune_providers.bounded import ASKED_ENCODING, whole_of_aiohttp
from finetune_providers.calls import CONNECT_TIMEOUT_S, retry_after_s
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

COMPANY = "Google AI Studio"

_ADVICE = (
    "; see to it that the API key in the Secret of spec.credentialsSecretRef is right and that its project has the "
    "Generative Language API enabled"
)
_FIELDS = {
    "learning_rate_multiplier": "parameters.learningRateMultiplier",
    "learning_rate": "parameters.learningRate",
    "epoch_count": "parameters.epochs",
    "batch_size": "parameters.batchSize",
    "training_data": "training",
    "base_model": "baseModels",
}
"""What an error is about, by a word that Google uses; the longer of two words first."""


class Forbidden(PermanentProviderError):
    """The key is wrong, or may not see what was asked for, which may not even exist."""


class AlreadyExists(PermanentProviderError):
    """There is a resource of this name."""


class NotNow(PermanentProviderError):
    """The resource is in a state in which this cannot be done."""


class Refused(Exception):
    """An answer with an error.

    Attributes:
        status: Of HTTP.
        word: Google's own word for the error, such as RESOURCE_EXHAUSTED.
        about: Everything else that the error's details name.
        retry_after_s: Seconds that Google asks to wait.
        by_google: It has the form of Google's errors; else it may be of somebody in between.
    """

    def __init__(
        self,
        status: int,
        message: str,
        word: str,
        about: str,
        retry_after_s: float | None,
        *,
        by_google: bool,
    ) -> None:
        super().__init__(message)
        self.status, self.word, self.about, self.retry_after_s = status, word, about, retry_after_s
        self.by_google = by_google


class Rest:
    """Requests with one API key."""

    def __init__(self, base: str, key: str, *, session: aiohttp.ClientSession | None = None) -> None:
        """Talk to the API at `base`, a URL without a slash at its end."""
        self._base = base
        self._key = key
        self._session = session

    async def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
    ) -> Mapping[str, Any]:
        """Make one request.

        Args:
            method: Of HTTP.
            path: Below the API's version, percent-encoded.
            query: Parameters.
            body: Sent as JSON, where it is given.

        Returns:
            The answer, which is a JSON object.

        Raises:
            Refused, aiohttp.ClientError: What `explain` explains.
            NotReached, UnexpectedResponse: As they say.
        """
        # The key in a header: a URL is written into logs on its way.
        headers = {"x-goog-api-key": self._key, "Accept-Encoding": ASKED_ENCODING}
        content: io.BytesIO | None = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            # No more bytes than its texts have; as a file, which is sent piece by piece.
            content = io.BytesIO(json.dumps(body, ensure_ascii=False).encode())
        url = URL(f"{self._base}/v1beta/{path}", encoded=True).update_query(query or {})
        try:
            async with self._open().request(
                method, url, headers=headers, data=content, allow_redirects=False, auto_decompress=False
            ) as answer:
                told = await whole_of_aiohttp(answer)
                status, wait = answer.status, answer.headers.get("Retry-After")
        except aiohttp.ConnectionTimeoutError:
            raise NotReached(f"{COMPANY}: no connection within {CONNECT_TIMEOUT_S:g} s") from None
        if not 200 <= status < 300:
            raise _refused(status, told, wait)
        try:
            parsed = json.loads(told)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise UnexpectedResponse(f"{COMPANY}: the answer to {method} {path} is no JSON object")
        return parsed

    async def aclose(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # How long an answer may take is watched by whoever makes the call.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        return self._session


def explain(error: Exception) -> ProviderError | None:
    """What went wrong with a request."""
    if isinstance(error, Refused):
        return _meaning(error)
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return PermanentProviderError(f"{COMPANY}: spec.endpoint is no http URL", field="spec.endpoint")
    if isinstance(error, aiohttp.ClientConnectorError):
        return NotReached(f"{COMPANY}: no connection: {error}")
    if isinstance(error, aiohttp.ClientError | OSError):
        return TransientProviderError(f"{COMPANY}: the connection broke ({type(error).__name__})")
    return None


def _meaning(refused: Refused) -> ProviderError:
    status, word, wait_s = refused.status, refused.word, refused.retry_after_s
    message = f"{COMPANY}: {refused} ({word or status})"
    if status == 429 or word == "RESOURCE_EXHAUSTED":
        return QuotaExceeded(message, retry_after_s=wait_s)
    if status in {401, 403} or "API_KEY" in refused.about:
        return Forbidden(message + _ADVICE, field="spec.credentialsSecretRef")
    if status == 404 and not refused.by_google:
        return PermanentProviderError(
            f"{message}, which is not how the API says it: see whether spec.endpoint leads to it",
            field="spec.endpoint",
        )
    if status == 404:
        return JobNotFound(message)
    if word == "ALREADY_EXISTS":
        return AlreadyExists(message)
    if word == "FAILED_PRECONDITION":
        return NotNow(message)
    if status in {408, 409, 499} or status >= 500:
        return TransientProviderError(message, retry_after_s=wait_s)
    if status < 400:
        return UnexpectedResponse(message)
    return PermanentProviderError(message, field=_field(f"{refused} {refused.about}"))


def _field(text: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()
    return next((field for word, field in _FIELDS.items() if word in words), "")


def _refused(status: int, content: bytes, header: str | None) -> Refused:
    """An error from its body: {"error": {"code", "message", "status", "details": [...]}}."""
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = {}
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if not isinstance(error, dict):
        error = {}
    told = list(_leaves(error.get("details")))
    delay = dict(told).get("retryDelay", "").removesuffix("s") or None
    return Refused(
        status,
        str(error.get("message") or "no reason given"),
        str(error.get("status") or ""),
        " ".join(text for _, text in told),
        retry_after_s(header) if header else retry_after_s(delay),
        by_google=bool(error),
    )


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a JSON value with the names that they have there."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, name)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, str(key))
