"""How `requests` talks to Google here: within bounds of time and size."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from finetune_providers.bounded import ASKED_ENCODING, whole
from finetune_providers.calls import CONNECT_TIMEOUT_S
from finetune_providers.errors import UnexpectedResponse

_PIECE = 2**16
"""Bytes that are read at once."""


class BoundedAdapter(HTTPAdapter):
    """Gives a connection less time to be made than its answer, and reads no more of that than is allowed.

    What was never connected had no effect.
    """

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        """Send a request and read the answer, within the bounds of `bounded`.

        Raises:
            UnexpectedResponse: The answer is larger, or packed otherwise than asked.
        """
        timeout = options.get("timeout")
        if isinstance(timeout, int | float):
            options["timeout"] = (min(CONNECT_TIMEOUT_S, timeout), timeout)
        request.headers["Accept-Encoding"] = ASKED_ENCODING
        answer = super().send(request, *args, **{**options, "stream": True})
        encoding = answer.raw.headers.pop("Content-Encoding", "")  # else it is unpacked on the way
        try:
            answer._content = whole(answer.iter_content(_PIECE), encoding)
        finally:
            answer.close()
        return answer


class LoginAdapter(BoundedAdapter):
    """For logins. One that is not understood is told as a failed login: what it was for has not been asked."""

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        """As above, with the error that Google's packages take for a failed login."""
        try:
            return super().send(request, *args, **options)
        except UnexpectedResponse as error:
            raise requests.exceptions.ContentDecodingError(str(error)) from None
