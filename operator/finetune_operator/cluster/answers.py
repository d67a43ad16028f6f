"""What the API server's answers mean, in our words, and without what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.store import AlreadyExists, Conflict, NotFound, Refused, StoreUnavailable

_CLIENT_ERRORS = frozenset({400, 403, 405, 406, 413, 415, 422})


class Unauthenticated(StoreUnavailable):
    """401: the API server does not take the credentials, which may be renewed."""


class Expired(SweepError):
    """410: the continuation of a list is too old."""


@contextmanager
def translated(call: str) -> Iterator[None]:
    """The client's errors as ours, without what was sent."""
    try:
        yield
    except ApiException as error:
        raise StoreUnavailable(f"{call}: {error.reason}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        text = str(error) or "no answer in time"
        raise StoreUnavailable(f"{call}: {type(error).__name__}: {text}") from error
    except json.JSONDecodeError as error:
        raise StoreUnavailable(f"{call}: the answer is not JSON") from error


def refusal(status: int, data: bytes) -> SweepError:
    """What the server's answer other than a success means."""
    reason, message = _reason_and_message(data)
    text = f"{status} {reason}: {message}" if reason else f"{status}: {message}"
    match status:
        case 409 if reason == "AlreadyExists":
            return AlreadyExists(text)
        case 409:
            return Conflict(text)
        case 404:
            return NotFound(text)
        case 401:
            return Unauthenticated(text)
        case 410:
            return Expired(text)
        case _ if status in _CLIENT_ERRORS:
            return Refused(text)
        case _:
            return StoreUnavailable(text)


def _reason_and_message(data: bytes) -> tuple[str, str]:
    try:
        body = json.loads(data)
    except ValueError:
        return "", data[:200].decode(errors="replace")
    if not isinstance(body, dict):
        return "", str(body)[:200]
    return str(body.get("reason", "")), str(body.get("message", ""))
