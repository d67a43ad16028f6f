"""Lists in pages: each is read to its end, and none for ever, whatever its server says."""

from __future__ import annotations

from finetune_providers.errors import UnexpectedResponse

MOST_PAGES = 10_000
"""Of 50 items and more each: no account has as many jobs or files."""


class PageTokens:
    """The tokens of a list's pages, of which each leads to another page."""

    def __init__(self, what: str) -> None:
        """Follow a list; `what` it is, for messages, such as "the list of tuning jobs"."""
        self._what = what
        self._before: set[str] = set()

    def follow(self, token: str) -> str:
        """The token of the page that is said to follow; "" where none is.

        Raises:
            UnexpectedResponse: That page was there before, or there are too many.
        """
        if token in self._before or len(self._before) >= MOST_PAGES:
            raise UnexpectedResponse(
                f"{self._what} has no end: a page is said to follow that was there before"
            )
        if token:
            self._before.add(token)
        return token
