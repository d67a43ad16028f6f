"""What the operator knows of the cluster: the newest version of each object that it has seen.

Watch events, listings and the answers of the operator's own writes all end here, in any order; the resource
version says which is newer. It is a number that grows over all objects of a cluster's storage.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from finetune_operator.cluster.client import Listing, Raw
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import Key, Kind, Listener
from finetune_operator.resources import (
    API_VERSION,
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    parse_resource,
)
from finetune_operator.resources.remains import Remains

_logger = logging.getLogger(__name__)
_TOMBSTONES = 10_000

T = TypeVar("T", FinetuneSweep, FinetuneTrial, FinetuneProvider)
Parsed = FinetuneSweep | FinetuneTrial | FinetuneProvider


def key_of(kind: Kind, raw: Raw) -> Key:
    """The key of an object."""
    metadata = raw["metadata"]
    return Key(kind, metadata["namespace"], metadata["name"])


def version_of(raw: Raw) -> int:
    """The resource version of an object, as a number."""
    return int(raw["metadata"]["resourceVersion"])


@dataclass(slots=True)
class Entry:
    """One object: as it came, and as it was read (once a version)."""

    raw: Raw
    version: int
    parsed: Parsed | InvalidManifest | None = field(default=None)

    @property
    def uid(self) -> str:
        return str(self.raw["metadata"]["uid"])


@dataclass(frozen=True, slots=True)
class _Tombstone:
    uid: str
    version: int

    def covers(self, raw: Raw) -> bool:
        """Whether the object is the one that was deleted, or an older one of its name."""
        return raw["metadata"]["uid"] == self.uid or version_of(raw) <= self.version


class ObjectCache:
    """The three kinds' objects, with an index of trials by sweep; listeners are told of every change."""

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: dict[Key, Entry] = {}
        self._trials: dict[Key, set[Key]] = {}
        self._gone: OrderedDict[Key, _Tombstone] = OrderedDict()
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told of the keys of changed objects, and of the sweep of a changed trial."""
        self._listeners.append(listener)

    def raw(self, key: Key) -> Raw | None:
        """The object as the API server has it. It must not be changed."""
        entry = self._entries.get(key)
        return entry.raw if entry else None

    def read(self, key: Key, kind: type[T]) -> T | None:
        """The object, read at most once a version.

        Raises:
            InvalidManifest: It cannot be read.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.parsed is None:
            entry.parsed = _parse(kind, entry.raw, key=key)
        if isinstance(entry.parsed, InvalidManifest):
            # A new one each time: a raised exception keeps its traceback, and with it all its frames.
            raise InvalidManifest(entry.parsed.problems)
        assert isinstance(entry.parsed, kind)
        return entry.parsed

    def remains(self, key: Key) -> Remains | None:
        """What is left of a deleted sweep or trial that cannot be read; None where it can, or is not deleted."""
        entry = self._entries.get(key)
        if entry is None or key.kind == "FinetuneProvider":
            return None
        try:
            if key.kind == "FinetuneSweep":
                self.read(key, FinetuneSweep)
            else:
                self.read(key, FinetuneTrial)
        except InvalidManifest:
            raw = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": entry.raw["metadata"]}
            remains = parse_resource(Remains, raw)
            return remains if remains.deleting else None
        return None

    def all_keys(self) -> tuple[Key, ...]:
        """The keys of all objects."""
        return tuple(self._entries)

    def trials_of(self, sweep: Key) -> Iterator[FinetuneTrial]:
        """The trials of a sweep that can be read, in no order."""
        for key in tuple(self._trials.get(sweep, ())):
            try:
                trial = self.read(key, FinetuneTrial)
            except InvalidManifest:
                continue  # said once, when it was parsed
            if trial is not None:
                yield trial

    def put(self, kind: Kind, raw: Raw) -> bool:
        """Take a version of an object in.

        Returns:
            Whether it is news; what is as old as what is known, or belongs to a deleted object, is not.
        """
        key = key_of(kind, raw)
        known = self._entries.get(key)
        if known is not None and known.version >= version_of(raw):
            return False
        tombstone = self._gone.get(key)
        if tombstone is not None and tombstone.covers(raw):
            return False
        if known is not None:
            self._unindex(key, known)
        self._entries[key] = Entry(raw, version_of(raw))
        sweep = _sweep_of(key, raw)
        if sweep is not None:
            self._trials.setdefault(sweep, set()).add(key)
        self._tell(key, sweep)
        return True

    def drop(self, kind: Kind, raw: Raw) -> bool:
        """Take in that an object was deleted, as its last version says.

        Returns:
            Whether it is news; that an earlier object of the name went is not.
        """
        key = key_of(kind, raw)
        known = self._entries.get(key)
        if known is not None and known.uid != raw["metadata"]["uid"] and known.version > version_of(raw):
            return False
        self._bury(key, _Tombstone(raw["metadata"]["uid"], version_of(raw)))
        return self._remove(key)

    def drop_missing(self, key: Key) -> None:
        """Take in that the server says there is no such object now."""
        known = self._entries.get(key)
        if known is not None:
            self._bury(key, _Tombstone(known.uid, known.version))
            self._remove(key)

    def reconcile(self, kind: Kind, listing: Listing, *, namespace: str | None) -> int:
        """Take a whole listing in: what it has, and that the rest is gone.

        Args:
            kind: The kind listed.
            listing: All its objects at one moment.
            namespace: Where it was listed; None is everywhere.

        Returns:
            How many objects were news or had gone unnoticed.
        """
        changes = sum(self.put(kind, raw) for raw in listing.items)
        present = {key_of(kind, raw) for raw in listing.items}
        for key in self._listed(kind, namespace):
            entry = self._entries[key]
            # What is newer than the listing was created while it was on its way.
            if key not in present and entry.version <= listing.version:
                self._bury(key, _Tombstone(entry.uid, listing.version))
                changes += self._remove(key)
        return changes

    def _listed(self, kind: Kind, namespace: str | None) -> Iterable[Key]:
        return [key for key in self._entries if key.kind == kind and namespace in {None, key.namespace}]

    def _bury(self, key: Key, tombstone: _Tombstone) -> None:
        self._gone[key] = tombstone
        self._gone.move_to_end(key)
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def _remove(self, key: Key) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._unindex(key, entry)
        self._tell(key, _sweep_of(key, entry.raw))
        return True

    def _unindex(self, key: Key, entry: Entry) -> None:
        sweep = _sweep_of(key, entry.raw)
        if sweep is None:
            return
        members = self._trials.get(sweep, set())
        members.discard(key)
        if not members:
            self._trials.pop(sweep, None)

    def _tell(self, key: Key, sweep: Key | None) -> None:
        for listener in self._listeners:
            listener(key)
            if sweep is not None:
                listener(sweep)


def _parse(kind: type[T], raw: Raw, *, key: Key) -> Parsed | InvalidManifest:
    try:
        return parse_resource(kind, raw)
    except InvalidManifest as error:
        _logger.warning("%s cannot be read: %s", key, error)
        return InvalidManifest(error.problems)


def _sweep_of(key: Key, raw: Raw) -> Key | None:
    """The sweep that a trial names; None for other kinds and for a trial that names none."""
    if key.kind != "FinetuneTrial":
        return None
    reference = raw.get("spec", {}).get("sweepRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    return key.sibling("FinetuneSweep", name) if isinstance(name, str) else None
