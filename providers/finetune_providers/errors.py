"""What can go wrong at a provider, named by what the caller must do next.

    ProviderError
    ├ TransientProviderError      try the same call again later
    │ ├ QuotaExceeded             a create call was refused for now: nothing was made
    │ └ NotReached                no connection was made: nothing was made either
    ├ PermanentProviderError      the same call will never succeed
    ├ AmbiguousProviderError      a create call may or may not have taken effect: look it up, never repeat it
    └ UnexpectedResponse          the answer was not understood; nothing is guessed from it

No message may hold a key, a header or training data.
"""

from __future__ import annotations


class ProviderError(Exception):
    """Base of all errors a provider raises."""


class TransientProviderError(ProviderError):
    """A read or cancel failed for a reason that passes: rate limit, outage, time-out.

    Attributes:
        retry_after_s: Seconds the provider asked to wait, or None where it said nothing.
        field: What of a manifest it may be about after all, in canonical names, like `baseModels`; "" if unknown.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, field: str = "") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.field = field


class QuotaExceeded(TransientProviderError):
    """The provider refused a create call because a quota or slot is used up: nothing was bought, wait."""


class NotReached(TransientProviderError):
    """No connection to the provider was made, so that the call, whatever it was, had no effect."""


class PermanentProviderError(ProviderError):
    """The request is wrong or forbidden; the message says what to change.

    Attributes:
        field: What the message is about in canonical names, like `baseModel` or `epochs`; "" if unknown.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class JobNotFound(PermanentProviderError):
    """The provider has no such job, model or file (any more)."""


class AmbiguousProviderError(ProviderError):
    """A create call ended without a clear answer; the job may exist."""


class UnexpectedResponse(ProviderError):
    """The provider answered something its contract does not allow."""
