"""One object in memory: whole while it is in use, packed while nobody asks for it.

Ten thousand trials are remembered, and a few hundred of them change. As Python's objects a trial with its metrics takes
100 kB, packed it takes 2; to unpack and read it takes a millisecond.
"""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from finetune_operator.cluster.client import Raw
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import Key, Kind
from finetune_operator.resources import FinetuneProvider, FinetuneSweep, FinetuneTrial

Parsed = FinetuneSweep | FinetuneTrial | FinetuneProvider
F = TypeVar("F")
_FASTEST = 1


def slim(raw: Raw) -> Raw:
    """The object without the API server's record of who wrote which field, a third of it that nobody here reads."""
    metadata: Mapping[str, Any] = raw["metadata"]
    if "managedFields" not in metadata:
        return raw
    return {**raw, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


def version_of(raw: Raw) -> int:
    """The resource version of an object, as a number."""
    return int(raw["metadata"]["resourceVersion"])


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An object that was deleted."""

    uid: str
    version: int

    def covers(self, raw: Raw) -> bool:
        """Whether the object is the one that was deleted, or an older one of its name."""
        return raw["metadata"]["uid"] == self.uid or version_of(raw) <= self.version


class Entry:
    """One version of an object.

    Attributes:
        version: Its resource version, as a number.
        uid: Its UID.
        sweep: Of a trial: its sweep.
        account: Of a trial: its FinetuneProvider.
        parsed: As it was read, or why it cannot be; None where it was not read, or that was let go.
    """

    __slots__ = ("_facts", "_packed", "_raw", "account", "parsed", "sweep", "uid", "version")

    def __init__(self, key: Key, raw: Raw) -> None:
        """Remember an object as the API server has it."""
        self._raw: Raw | None = slim(raw)
        self._packed: bytes | None = None
        self.version = version_of(raw)
        self.uid = str(raw["metadata"]["uid"])
        self.sweep = _named(key, raw, "sweepRef", "FinetuneSweep")
        self.account = _named(key, raw, "providerRef", "FinetuneProvider")
        self.parsed: Parsed | InvalidManifest | None = None
        self._facts: dict[Callable[..., Any], Any] | None = None

    @property
    def raw(self) -> Raw:
        """The object as the API server has it."""
        if self._raw is None:
            assert self._packed is not None, "it is here in one form or the other"
            unpacked: Raw = json.loads(zlib.decompress(self._packed))
            return unpacked
        return self._raw

    def keep_whole(self) -> None:
        """It is in use."""
        self._raw = self.raw

    def pack(self) -> None:
        """Nobody asks for it now."""
        if self._raw is not None and self._packed is None:
            self._packed = zlib.compress(json.dumps(self._raw, separators=(",", ":")).encode(), _FASTEST)
        self._raw = None

    def fact(
        self,
        of: Callable[[Parsed], F],
        read: Callable[[], Parsed],
        *,
        also: Iterable[Callable[[Parsed], Any]] = (),
    ) -> F:
        """What a function says of this version, which is asked once; where it is read, `also` others are asked."""
        if self._facts is None:
            self._facts = {}
        if of not in self._facts:
            resource = read()
            for each in (of, *also):
                if each not in self._facts:
                    self._facts[each] = each(resource)
        found: F = self._facts[of]
        return found


def _named(key: Key, raw: Raw, reference: str, kind: Kind) -> Key | None:
    """What a trial refers to; None for other kinds and for a trial that names none."""
    if key.kind != "FinetuneTrial":
        return None
    found = raw.get("spec", {}).get(reference)
    name = found.get("name") if isinstance(found, dict) else None
    return key.sibling(kind, name) if isinstance(name, str) else None


class Recent:
    """The keys that were used last; who falls out is told to whoever wants to know."""

    def __init__(self, most: int, dropped: Callable[[Key], None]) -> None:
        """Hold at most so many keys."""
        self._most = most
        self._dropped = dropped
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def use(self, key: Key) -> None:
        """A key is used."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._most:
            self._dropped(self._keys.popitem(last=False)[0])

    def discard(self, key: Key) -> None:
        """A key is gone."""
        self._keys.pop(key, None)
