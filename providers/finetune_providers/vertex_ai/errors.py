"""What the exceptions of Google's packages mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import requests
import urllib3.exceptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.cloud.storage.exceptions import DataCorruption
from google.protobuf.json_format import ParseError

from finetune_providers.calls import retry_after_s
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

T = TypeVar("T")

SECRET_KEYS = ("GOOGLE_APPLICATION_CREDENTIALS_JSON", "credentials.json")
CREDENTIALS = "spec.credentialsSecretRef"

_RATE_REASONS = {"RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"}

# What a refusal is about, by the words in which the API names its fields.
_SUBJECTS = (
    (r"adapter[_ ]?size", "parameters.loraRank"),
    (r"epoch", "parameters.epochs"),
    (r"learning[_ ]?rate", "parameters.learningRateMultiplier"),
    (r"validation[_ ]?(dataset|file|data)", "validation"),
    (r"(training|tuning)[_ ]?(dataset|file|data)", "training"),
    (r"base[_ ]?model", "baseModels"),
)

_ADVICE = {
    401: ("the credentials are not accepted; put a valid service account key into the Secret", CREDENTIALS),
    403: (
        "give the service account roles/aiplatform.user on the project and roles/storage.objectAdmin on the "
        "bucket, and enable aiplatform.googleapis.com",
        CREDENTIALS,
    ),
}


def explain(error: Exception) -> ProviderError | None:
    """What an exception of Google's packages means; None where it is none of theirs."""
    if isinstance(error, GoogleAPICallError):
        return _refused(error)
    if isinstance(error, GoogleAuthError):
        return _not_logged_in(error)
    if isinstance(error, ParseError | DataCorruption | requests.exceptions.InvalidJSONError):
        return UnexpectedResponse(f"Vertex AI answered what it should not: {type(error).__name__}")
    if isinstance(error, requests.RequestException):
        return _broken(error)
    return None


def _refused(error: Any) -> ProviderError:
    status = int(error.code or 0)
    message = _message(error)
    if status == 429 or _RATE_REASONS & set(_reasons(error)):
        return QuotaExceeded(message, retry_after_s=_pause_s(error))
    if status in {408, 409, 499} or status >= 500:
        return TransientProviderError(message, retry_after_s=_pause_s(error))
    if status == 404:
        return JobNotFound(message)
    if status in _ADVICE:
        advice, field = _ADVICE[status]
        return PermanentProviderError(f"{message}; {advice}", field=field)
    return PermanentProviderError(message, field=_subject(message))


def _message(error: Any) -> str:
    """What Google says, without the address that the packages put before it."""
    answer = getattr(error, "response", None)
    request = getattr(answer, "request", None)
    text = str(error.message or f"HTTP {error.code}")
    return text.removeprefix(f"{getattr(request, 'method', '')} {getattr(request, 'url', '')}: ")


def _reasons(error: Any) -> Iterable[str]:
    yield str(error.reason or "")
    for each in (*error.errors, *error.details):
        if isinstance(each, dict):
            yield str(each.get("reason", ""))


def _pause_s(error: Any) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    if "Retry-After" in headers:
        return retry_after_s(headers["Retry-After"])
    for detail in error.details:
        delay = str(detail.get("retryDelay", "")) if isinstance(detail, dict) else ""
        if re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None


def _subject(message: str) -> str:
    return next((field for words, field in _SUBJECTS if re.search(words, message, re.IGNORECASE)), "")


def _not_logged_in(error: Any) -> ProviderError:
    # A token is fetched before a request is sent, so that the request itself had no effect.
    told = error.args[0] if error.args else error
    if isinstance(error, RefreshError) and isinstance(told, TransportError):
        return _no_metadata(told)
    if isinstance(error, TransportError) or (isinstance(error, RefreshError) and error.retryable):
        return NotReached(f"Google's login was not reached: {told}")
    return PermanentProviderError(
        f"Google's login refuses the credentials: {told}; put a valid service "
        f"account key into the Secret under {SECRET_KEYS[0]}, or set up Workload Identity",
        field=CREDENTIALS,
    )


def _no_metadata(error: TransportError) -> ProviderError:
    """What the metadata server's trouble means: it may be up later than the pod, or know no identity for it."""
    told = error.args[0] if error.args else error
    if re.search(r"metadata service\. Status: 4\d\d", str(told)):
        return PermanentProviderError(
            f"the metadata server gives no token: {told}; set up Workload Identity for the operator's service "
            "account, or name a Secret with a service account key",
            field=CREDENTIALS,
        )
    return NotReached(f"the metadata server was not reached: {told}")


def _broken(error: requests.RequestException) -> ProviderError:
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return PermanentProviderError(f"the address is wrong: {error}", field="spec.endpoint")
    cause = getattr(error.args[0], "reason", None) if error.args else None
    unmade = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    if isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(cause, unmade):
        return NotReached("no connection to Vertex AI could be made")
    return TransientProviderError(f"the connection to Vertex AI failed: {type(error).__name__}")


def asked(call: Callable[[], T]) -> T:
    """Make a call of Google's packages, which stumble over an answer of another shape than they expect."""
    try:
        return call()
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        if isinstance(error, requests.RequestException) or explain(error) is not None:
            raise
        raise UnexpectedResponse(f"Vertex AI answered what it should not: {type(error).__name__}") from None
