"""What the SDK's exceptions mean, in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
import openai

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

EXHAUSTED = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quotaExceeded"}
)
"""Codes that say that waiting alone does not help, whatever their status; the last one is Azure's."""

NOT_YET = ("must point to a completed file import", "is still being processed")
"""Parts of Azure's and of OpenAI's message, with status 400, for a job whose file is still being read."""

CREDENTIALS = "spec.credentialsSecretRef"
"""The field of errors that are about who asks, not about what is asked."""

_NOTHING_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_FIELDS = {
    "model": "baseModels",
    "training_file": "training",
    "validation_file": "validation",
    "n_epochs": "parameters.epochs",
    "batch_size": "parameters.batchSize",
    "learning_rate_multiplier": "parameters.learningRateMultiplier",
}


class Forbidden(PermanentProviderError):
    """The company knows who asks, and does not allow it."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Names an SDK's exception.

    Attributes:
        company: Who answers, as people call it.
        credentials: What to look at where the credentials are refused.
        exhausted: What to do where there is no money or no quota left.
    """

    company: str
    credentials: str
    exhausted: str

    def __call__(self, error: Exception) -> ProviderError | None:
        """What an exception means; None where it is no failure of a call."""
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error)
        if isinstance(error, openai.APIConnectionError):
            return self._broken(error)
        if isinstance(error, openai.OpenAIError | json.JSONDecodeError | UnicodeDecodeError):
            return UnexpectedResponse(
                f"{self.company} answered what is not understood: {type(error).__name__}"
            )
        return None

    def _broken(self, error: openai.APIConnectionError) -> ProviderError:
        cause = error.__cause__
        if isinstance(cause, ProviderError):  # of our own hook, which reads the answer
            return cause
        if isinstance(cause, _NOTHING_SENT):
            return NotReached(f"no connection to {self.company}: {type(cause).__name__}")
        return TransientProviderError(
            f"the connection to {self.company} broke: {type(cause or error).__name__}"
        )

    def _refusal(self, error: openai.APIStatusError) -> ProviderError:
        status, code, said = error.status_code, told(error, "code"), self._said(error)
        wait_s = _asked_to_wait_s(error.response.headers)
        if code in EXHAUSTED:
            return QuotaExceeded(f"{said}; {self.exhausted}", retry_after_s=wait_s)
        if status == 429 or (status == 400 and any(words in said for words in NOT_YET)):
            return QuotaExceeded(said, retry_after_s=wait_s)
        if status >= 500 or status in {408, 409}:
            return TransientProviderError(said, retry_after_s=wait_s)
        if status == 401:
            return PermanentProviderError(f"{said}; {self.credentials}", field=CREDENTIALS)
        if status == 403:
            return Forbidden(f"{said}; {self.credentials}", field=CREDENTIALS)
        field = "baseModels" if code == "model_not_found" else field_of(told(error, "param"))
        if status == 404:
            return JobNotFound(said, field=field)
        if status in {301, 302, 303, 307, 308}:
            return UnexpectedResponse(said)
        return PermanentProviderError(said, field=field)

    def _said(self, error: openai.APIStatusError) -> str:
        code, message = told(error, "code"), told(error, "message")
        kind = f"{error.status_code}, {code}" if code else f"{error.status_code}"
        return f"{self.company} refused the request ({kind}): {message or 'no reason given'}"


def _asked_to_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks for; both companies also say milliseconds, in a header of their own."""
    milliseconds = retry_after_s(headers.get("retry-after-ms"))
    return retry_after_s(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000


def told(error: openai.APIStatusError, name: str) -> str:
    """A part of the company's error body; "" where it is not there."""
    body = error.body
    value = body.get(name) if isinstance(body, Mapping) else None
    return value if isinstance(value, str) else ""


def field_of(param: str) -> str:
    """Our name of what an error is about: `method.supervised.hyperparameters.n_epochs` is `parameters.epochs`."""
    return _FIELDS.get(param.rsplit(".", 1)[-1], "")
