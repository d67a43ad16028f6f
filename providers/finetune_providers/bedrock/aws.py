"""How Bedrock's provider reaches AWS: its clients, whose credentials they use, and how their answers are read."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.session
import urllib3
import urllib3.exceptions
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ConnectionClosedError, ReadTimeoutError

from finetune_providers.base import ProviderConfig
from finetune_providers.bedrock.errors import KEY_ID, SECRET_FIELD, SECRET_KEY, SESSION_TOKEN, explain
from finetune_providers.bounded import MOST_FILE_BYTES, whole
from finetune_providers.calls import (
    CONNECT_TIMEOUT_S,
    INFERENCE_TIMEOUT_S,
    READ_TIMEOUT_S,
    Calls,
    keep_identity,
)
from finetune_providers.errors import PermanentProviderError, UnexpectedResponse

Answer = Mapping[str, Any]

CONTROL, RUNTIME, STORAGE = "bedrock", "bedrock-runtime", "s3"

_ENDPOINTS = {RUNTIME: "inference", STORAGE: "storage"}
"""By service: the key of `spec.endpoints` that replaces `spec.endpoint` for it."""

_PIECE = 2**16

# botocore writes signed headers, session tokens and request bodies to its debug log.
_TALKATIVE = ("botocore", "boto3", "s3transfer")


class _BoundedSession:
    """Reads of an answer no more than is allowed; of what the caller reads piece by piece only the errors.

    botocore unpacks nothing: what comes packed is not understood.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, request: Any) -> AWSResponse:
        streamed, request.stream_output = request.stream_output, True
        answer = self._inner.send(request)
        if streamed and answer.status_code < 300:
            return answer
        try:
            content = whole(answer.raw.stream(_PIECE))
        except urllib3.exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from None
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from None
        finally:
            answer.raw.close()
        raw = urllib3.HTTPResponse(io.BytesIO(content), preload_content=False)
        return AWSResponse(answer.url, answer.status_code, answer.headers, raw)

    def close(self) -> None:
        self._inner.close()


class Clients:
    """An account's clients, each made where it is first needed: that takes too long for the event loop."""

    def __init__(self, config: ProviderConfig) -> None:
        """Remember how to make clients.

        Raises:
            PermanentProviderError: The Secret lacks a key.
        """
        self._config = config
        self._credentials = _credentials(config)
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()
        for name in _TALKATIVE:
            logger = logging.getLogger(name)
            logger.setLevel(max(logger.level, logging.INFO))

    def call(self, service: str, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Make one call, blocking, without retries.

        Args:
            service: CONTROL, RUNTIME or STORAGE.
            operation: As boto3 names its method.
            **parameters: As AWS names them.

        Raises:
            UnexpectedResponse: The answer could not be parsed.
            botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: As `explain` reads them.
        """
        method = getattr(self._client(service), operation)
        try:
            answer: Mapping[str, Any] = method(**parameters)
        except BotoCoreError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # botocore's parsers fail like this where an answer does not have the shape of AWS's own model.
            raise UnexpectedResponse(
                f"the answer to {operation} was not understood: {type(error).__name__}"
            ) from None
        return answer

    def close(self) -> None:
        """Close the connections that are open."""
        with self._lock:
            for client in self._made.values():
                client.close()

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._made:
                self._made[service] = self._make(service)
            return self._made[service]

    def _make(self, service: str) -> Any:
        word = _ENDPOINTS.get(service, "")
        endpoint = self._config.endpoints.get(word, self._config.endpoint)
        options: dict[str, Any] = {
            "retries": {"total_max_attempts": 1},
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": INFERENCE_TIMEOUT_S if service == RUNTIME else READ_TIMEOUT_S,
            "ignore_configured_endpoint_urls": True,
        }
        if service == STORAGE and endpoint is not None:
            options["s3"] = {"addressing_style": "path"}
        if self._credentials and service != STORAGE:
            options["signature_version"] = "v4"  # else a token in AWS_BEARER_TOKEN_BEDROCK would be preferred
        try:
            client = self._session().client(service, endpoint_url=endpoint, config=Config(**options))
        except ValueError as error:  # a host that boto3 does not take, such as one with an underscore
            field = f"spec.endpoints.{word}" if word in self._config.endpoints else "spec.endpoint"
            raise PermanentProviderError(f"{field}: {error}", field=field) from None
        # botocore (1.43) has no place for an HTTP client of one's own.
        client._endpoint.http_session = _BoundedSession(client._endpoint.http_session)
        return client

    def _session(self) -> Any:
        region = self._config.region
        if not self._credentials:
            return boto3.Session(region_name=region)  # the pod's own identity
        # Nothing of this machine's configuration may mix with the Secret's credentials.
        nowhere = (None, None, os.devnull, None)
        isolated = botocore.session.Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": nowhere,
                "credentials_file": nowhere,
            }
        )
        return boto3.Session(
            botocore_session=isolated,
            region_name=region,
            aws_access_key_id=self._credentials[KEY_ID],
            aws_secret_access_key=self._credentials[SECRET_KEY],
            aws_session_token=self._credentials.get(SESSION_TOKEN),
        )


def _credentials(config: ProviderConfig) -> Mapping[str, str]:
    if not config.credentials:
        # A bearer token of the environment would be sent as it is, and a session token with each signature.
        keep_identity(config, config.endpoint, *config.endpoints.values())
        return {}
    missing = [key for key in (KEY_ID, SECRET_KEY) if not config.credentials.get(key)]
    if missing:
        raise PermanentProviderError(
            f"the Secret has no {' and no '.join(missing)}; it takes {KEY_ID}, {SECRET_KEY} and, for temporary "
            f"credentials, {SESSION_TOKEN}; without a Secret the pod's own IAM role is used",
            field=SECRET_FIELD,
        )
    return {
        key: config.credentials[key]
        for key in (KEY_ID, SECRET_KEY, SESSION_TOKEN)
        if config.credentials.get(key)
    }


class Aws:
    """The account's calls, off the event loop."""

    def __init__(self, clients: Clients, config: ProviderConfig) -> None:
        self.clients = clients
        self.calls = Calls(
            explain,
            requests_per_minute=config.requests_per_minute,
            secrets=tuple(config.credentials.values()),
        )

    async def read(self, service: str, operation: str, **parameters: Any) -> Answer:
        """Make a call that may be repeated."""
        return await self.calls.read(
            lambda: self.calls.in_thread(self.clients.call, service, operation, **parameters)
        )

    async def create(self, service: str, operation: str, **parameters: Any) -> Answer:
        """Make a call that must not be repeated."""
        return await self.calls.create(
            lambda: self.calls.in_thread(self.clients.call, service, operation, **parameters)
        )

    async def text(self, bucket: str, key: str) -> str:
        """An object's content; what is no UTF-8 is replaced.

        Raises:
            PermanentProviderError: It is larger than MOST_FILE_BYTES.
        """

        def get() -> str:
            body = self.clients.call(STORAGE, "get_object", Bucket=bucket, Key=key)["Body"]
            try:
                with closing(body):
                    return whole(body.iter_chunks(_PIECE), most=MOST_FILE_BYTES).decode(errors="replace")
            except UnexpectedResponse as error:  # it will be no smaller the next time
                raise PermanentProviderError(f"s3://{bucket}/{key}: {error}") from None

        return await self.calls.read(lambda: self.calls.in_thread(get))


# -- reading answers: what is not as the service model has it becomes UnexpectedResponse ---------------------------


def text_of(answer: Answer, name: str) -> str:
    """A text that must be there."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise UnexpectedResponse(f"an answer of AWS has no {name}")
    return value


def items_of(answer: Any, name: str) -> Iterator[Answer]:
    """A list of structures that must be there, though it may be empty: botocore reads no JSON as no members."""
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise UnexpectedResponse(f"an answer of AWS has no list {name}")
    return iter(value)


def inner(answer: Any, *names: str) -> Any:
    """What lies at a path of names; None where it ends before."""
    for name in names:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return answer


def moment_of(answer: Answer, name: str) -> datetime | None:
    """A time, where there is one; AWS's are in UTC where they do not say."""
    value = answer.get(name)
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise UnexpectedResponse(f"an answer of AWS has no time as {name}")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def number_of(value: Any) -> float | None:
    """A number, where it is one."""
    return float(value) if isinstance(value, int | float) else None
