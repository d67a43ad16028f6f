"""A secret that can be recognised wherever it turns up, whole or in part, and servers that try to spread it."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus

import pytest
from tests.fakes.hosted import HostedCompany
from tests.fakes.http_server import Refusal, Request

from finetune_providers.errors import ProviderError

_PART = 24
"""Characters of a private key's line that are not to be found either."""


class Canary:
    """A secret made once.

    Attributes:
        text: The secret; it has characters that URLs, JSON and base64 write otherwise.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text or f"Cnry+{uuid.uuid4().hex}/{uuid.uuid4().hex}=z"
        middle = len(self.text) // 2
        self.halves = (self.text[:middle], self.text[middle:])

    def forms(self) -> set[str]:
        """How the secret or a half of it may be written."""
        found: set[str] = set()
        for part in (self.text, *self.halves):
            found |= {part, quote(part, safe=""), quote_plus(part), json.dumps(part)[1:-1]}
            found |= _in_base64(part.encode())
        return found

    def echoes(self) -> list[str]:
        """What a server might say that knows it: whole, encoded, cut."""
        whole = base64.b64encode(self.text.encode()).decode()
        return [self.text, whole, quote(self.text, safe=""), f"{self.halves[0]}...", f"...{self.halves[1]}"]

    def found_in(self, *texts: str | bytes) -> list[str]:
        """The forms that are found in texts."""
        wanted = [form.encode() for form in self.forms()]
        raw = [text if isinstance(text, bytes) else text.encode(errors="replace") for text in texts]
        return [form.decode() for form in wanted if any(form in text for text in raw)]

    def found_below(self, folder: Path) -> list[str]:
        """The files below a folder that hold a form of it, or are named so."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        return [str(file) for file in files if self.found_in(file.read_bytes(), str(file))]


class KeyLine(Canary):
    """A line of a private key, of which no part may be found, be it as short as 24 characters."""

    def forms(self) -> set[str]:
        """The line and its halves as those of any secret, and every part as it is."""
        parts = range(len(self.text) - _PART + 1)
        return super().forms() | {self.text[start : start + _PART] for start in parts}


def canaries_of(secret: Mapping[str, Any], canary: Canary) -> list[Canary]:
    """The secret, and the lines of a private key where a manifest of a Secret holds one."""
    found = [canary]
    for value in secret["stringData"].values():
        if value.startswith("{"):
            lines = json.loads(value)["private_key"].splitlines()[1:-1]
            found += [KeyLine(line) for line in lines if len(line) == 64]
    return found


@contextmanager
def every_provider_error(patch: pytest.MonkeyPatch) -> Iterator[list[ProviderError]]:
    """All errors of providers that are made meanwhile, be they raised or not."""
    made: list[ProviderError] = []
    create = ProviderError.__new__

    def remembering(kind: type[ProviderError], *args: Any, **kwargs: Any) -> ProviderError:
        error = create(kind, *args, **kwargs)
        made.append(error)
        return error

    with patch.context() as patched:
        patched.setattr(ProviderError, "__new__", remembering)
        yield made


def told_by(error: BaseException) -> list[str]:
    """All that an error tells, and all those that it came from, as a crash report might show them."""
    told, left, seen = [], [error], set()
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            told += [f"{type(each).__name__}: {text}" for text in (str(each), repr(each), repr(each.args))]
            told.append(repr(getattr(each, "__dict__", {})))
            left += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
    return told


def _in_base64(secret: bytes) -> set[str]:
    """A secret's base64 within a longer text, at each of the three places where it may begin."""
    found = set()
    for offset in range(3):
        written = base64.b64encode(b"x" * offset + secret).decode()
        first = -(-offset * 8 // 6)
        inner = written[first : (offset + len(secret)) * 8 // 6]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found


def echoing(company: type[HostedCompany], canary: Canary, *, spared: Iterable[str] = ()) -> type[Any]:
    """A company's server that answers every request with 401 and the secret, but for some operations."""

    class Echoing(company):  # type: ignore[misc, valid-type]
        secret: ClassVar[str] = canary.text
        refuses = True
        asked = 0

        def authorize(self, request: Request) -> None:
            super().authorize(request)
            if self.refuses and request.operation not in spared:
                said = " ".join(canary.echoes())
                Echoing.asked += 1
                given = request.headers.get("Authorization", "no header")
                raise Refusal(401, f"Incorrect API key provided: {said} ({given}).", code="invalid_api_key")

    return Echoing
