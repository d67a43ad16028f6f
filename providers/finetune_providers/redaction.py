"""Messages without secrets: companies say keys back in their errors, whole, cut or encoded."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection
from urllib.parse import quote, quote_plus

_RANDOM = re.compile(r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z])|^[0-9a-f]{32,}$")
_URL_SAFE = str.maketrans("+/", "-_")
_LONGEST_MESSAGE = 600
_SHORTEST_SECRET = 4
_SHORTEST_LINE = 16
_SHORTEST_TOKEN = 24
_SHORTEST_PART = 12
_LONGEST_READ = 20_000


def clean(message: str, secrets: Collection[str]) -> str:
    """A message without any part of a secret, on one line and of bounded length.

    A secret is found as it is, without the space around it, in the forms that it has within JSON, Python's text and
    an address, and by each of its longer lines. Of a long one every part of 12 characters is found too, and of its
    base64: companies say back keys that they have cut. Where secrets overlap, all that belongs to one is hidden.
    """
    message = message[:_LONGEST_READ]
    hidden = bytearray(len(message))
    parts_of_secrets = {part for secret in secrets for part in _parts(secret)}
    for start in range(len(message) - _SHORTEST_PART + 1):
        if message[start : start + _SHORTEST_PART] in parts_of_secrets:
            hidden[start : start + _SHORTEST_PART] = b"x" * _SHORTEST_PART
    for form in {form for secret in secrets for form in _forms(secret)}:
        start = message.find(form)
        while start >= 0:
            hidden[start : start + len(form)] = b"x" * len(form)
            start = message.find(form, start + 1)
    parts, end = [], 0
    for span in re.finditer(b"x+", hidden):
        parts += [message[end : span.start()], "[hidden]"]
        end = span.end()
    parts.append(message[end:])
    line = " ".join("".join(parts).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _forms(secret: str) -> set[str]:
    """How a secret may be written; what is too short to be one would hide half of every message."""
    bare = secret.strip()
    forms = {secret, bare, json.dumps(bare)[1:-1], repr(bare)[1:-1], quote(bare, safe=""), quote_plus(bare)}
    lines = {line.strip() for line in bare.splitlines()}
    return {form for form in forms if len(form) >= _SHORTEST_SECRET} | {
        line for line in lines if len(line) >= _SHORTEST_LINE
    }


def _parts(secret: str) -> set[str]:
    """All runs of 12 characters of what is random in a secret, and of what encodes it.

    Addresses, and names that people chose, stand in messages of their own right and are left alone in part.
    """
    bare = secret.strip()
    # In a key file the line ends of the private key are written out.
    readable = re.sub(r"\S+(?:://|@)\S+", " ", bare.replace("\\n", "\n"))
    tokens = re.findall(rf"[\w+/=.~-]{{{_SHORTEST_TOKEN},}}", readable, re.ASCII)
    random = [token for token in tokens if _RANDOM.search(token)]
    written = {form for token in random for form in (token, quote(token, safe=""))}
    if random:
        written |= {form for text in (bare, *random) for form in _in_base64(text.encode())}
    return {
        form[start : start + _SHORTEST_PART]
        for form in written
        for start in range(len(form) - _SHORTEST_PART + 1)
    }


def _in_base64(secret: bytes) -> set[str]:
    """The base64 of a secret within a longer text, at each of the three places where it may begin."""
    forms = set()
    for offset in range(3):
        first, last = -(-offset * 4 // 3), (offset + len(secret)) * 4 // 3
        inner = b64encode(bytes(offset) + secret).decode()[first:last]
        forms |= {inner, inner.translate(_URL_SAFE)}
    return forms
