"""What the operator knows of the cluster: the newest version of each object that it has seen.

Watch events, listings and the answers of the operator's own writes all end here, in any order; the resource
version says which is newer. It is a number that grows over all objects of a cluster's storage.

What was not used of late is kept packed: a finished sweep costs little memory, too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from finetune_operator.cluster.client import Listing, Raw
from finetune_operator.cluster.entries import Entry, Parsed, Recent, Tombstone, version_of
from finetune_operator.cluster.parsed import KINDS, parsed
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

_TOMBSTONES = 10_000
_WHOLE = 256
"""So many objects are kept as the API server has them; they are needed to write a change of them."""
_READ = 1_200
"""So many are kept as they were read: those of a sweep of 1,000 trials, the most that it may have."""

T = TypeVar("T", FinetuneSweep, FinetuneTrial, FinetuneProvider)
F = TypeVar("F")


def key_of(kind: Kind, raw: Raw) -> Key:
    """The key of an object."""
    metadata = raw["metadata"]
    return Key(kind, metadata["namespace"], metadata["name"])


class ObjectCache:
    """The three kinds' objects, with an index of trials by sweep; listeners are told of every change."""

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: dict[Key, Entry] = {}
        self._trials: dict[Key, set[Key]] = {}
        self._account_trials: dict[Key, set[Key]] = {}
        self._whole = Recent(_WHOLE, self._pack)
        self._read = Recent(_READ, self._unread)
        self._gone: OrderedDict[Key, Tombstone] = OrderedDict()
        self._listeners: list[Listener] = []
        self._expected: dict[Callable[[Parsed], Any], None] = {}

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told of the keys of changed objects, and of the sweep of a changed trial."""
        self._listeners.append(listener)

    def raw(self, key: Key) -> Raw | None:
        """The object as the API server has it. It must not be changed."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.keep_whole()
        self._whole.use(key)
        return entry.raw

    def knows(self, kind: Kind, raw: Raw) -> bool:
        """Whether this version of an object is known, or a newer one; any thread may ask."""
        entry = self._entries.get(key_of(kind, raw))
        return entry is not None and entry.version >= version_of(raw)

    def version(self, key: Key) -> int | None:
        """The resource version of an object, as a number."""
        entry = self._entries.get(key)
        return None if entry is None else entry.version

    def read(self, key: Key, kind: type[T]) -> T | None:
        """The object, read once a version while it is in use.

        Raises:
            InvalidManifest: It cannot be read.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.parsed is None:
            entry.parsed = parsed(kind, entry.raw, key=key)
        if isinstance(entry.parsed, InvalidManifest):
            # A new one each time: a raised exception keeps its traceback, and with it all its frames.
            raise InvalidManifest(entry.parsed.problems)
        assert isinstance(entry.parsed, kind)
        self._read.use(key)
        return entry.parsed

    def fact(self, key: Key, of: Callable[[Parsed], F]) -> F | None:
        """What a function says of an object, asked once a version; None where the object is gone.

        Raises:
            InvalidManifest: It cannot be read.
        """
        entry = self._entries.get(key)
        return None if entry is None else entry.fact(of, lambda: self._parsed(key), also=self._expected)

    def expect(self, of: Callable[[Parsed], Any]) -> None:
        """A function will be asked of all objects: it is answered whenever one is read for another."""
        self._expected[of] = None

    def answer_expected(self, key: Key) -> None:
        """Answer what will be asked of an object, while it is in memory as it came; what cannot be read is left."""
        for of in self._expected:
            with suppress(InvalidManifest):
                self.fact(key, of)

    def _parsed(self, key: Key) -> Parsed:
        """An object that is read for a fact alone, and not kept as it was read."""
        entry = self._entries[key]
        found = entry.parsed or parsed(KINDS[key.kind], entry.raw, key=key)
        if isinstance(found, InvalidManifest):
            entry.parsed = found
            raise InvalidManifest(found.problems)
        return found

    def _pack(self, key: Key) -> None:
        if (entry := self._entries.get(key)) is not None:
            entry.pack()

    def _unread(self, key: Key) -> None:
        if (entry := self._entries.get(key)) is not None:
            entry.parsed = None

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
        yield from self._readable(self._trials.get(sweep, ()))

    def unreadable_of(self, sweep: Key) -> Iterator[str]:
        """The names of the trials of a sweep that cannot be read, in no order."""
        for key in tuple(self._trials.get(sweep, ())):
            try:
                self.fact(key, _is_there)
            except InvalidManifest:
                yield key.name

    def account_trials(self, provider: Key, *, but: Callable[[Parsed], bool]) -> Iterator[FinetuneTrial]:
        """The trials that use a FinetuneProvider and can be read, in no order, but for those of which a fact holds."""
        for key in tuple(self._account_trials.get(provider, ())):
            try:
                left_out = self.fact(key, but)
            except InvalidManifest:
                continue
            if not left_out:
                yield from self._readable((key,))

    def _readable(self, keys: Iterable[Key]) -> Iterator[FinetuneTrial]:
        for key in tuple(keys):
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
        entry = Entry(key, raw)
        self._entries[key] = entry
        self._whole.use(key)
        for index, owner in self._indices(entry):
            index.setdefault(owner, set()).add(key)
        self._tell(key, entry.sweep)
        return True

    def _indices(self, entry: Entry) -> Iterator[tuple[dict[Key, set[Key]], Key]]:
        if entry.sweep is not None:
            yield self._trials, entry.sweep
        if entry.account is not None:
            yield self._account_trials, entry.account

    def drop(self, kind: Kind, raw: Raw) -> bool:
        """Take in that an object was deleted, as its last version says.

        Returns:
            Whether it is news; that an earlier object of the name went is not.
        """
        key = key_of(kind, raw)
        known = self._entries.get(key)
        if known is not None and known.uid != raw["metadata"]["uid"] and known.version > version_of(raw):
            return False
        self._bury(key, Tombstone(raw["metadata"]["uid"], version_of(raw)))
        return self._remove(key)

    def drop_missing(self, key: Key) -> None:
        """Take in that the server says there is no such object now."""
        known = self._entries.get(key)
        if known is not None:
            self._bury(key, Tombstone(known.uid, known.version))
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
        return changes + self.keep(kind, present, namespace=namespace, version=listing.version)

    def keep(self, kind: Kind, present: set[Key], *, namespace: str | None, version: int) -> int:
        """Take in that a listing has shown all that there is.

        Args:
            kind: The kind listed.
            present: What it showed.
            namespace: Where it was listed; None is everywhere.
            version: The resource version of its moment.

        Returns:
            How many objects had gone unnoticed.
        """
        changes = 0
        for key in self._listed(kind, namespace):
            entry = self._entries[key]
            # What is newer than the listing was created while it was on its way.
            if key not in present and entry.version <= version:
                self._bury(key, Tombstone(entry.uid, version))
                changes += self._remove(key)
        return changes

    def _listed(self, kind: Kind, namespace: str | None) -> Iterable[Key]:
        return [key for key in self._entries if key.kind == kind and namespace in {None, key.namespace}]

    def _bury(self, key: Key, tombstone: Tombstone) -> None:
        self._gone[key] = tombstone
        self._gone.move_to_end(key)
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def _remove(self, key: Key) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._whole.discard(key)
        self._read.discard(key)
        self._unindex(key, entry)
        self._tell(key, entry.sweep)
        return True

    def _unindex(self, key: Key, entry: Entry) -> None:
        for index, owner in self._indices(entry):
            members = index.get(owner, set())
            members.discard(key)
            if not members:
                index.pop(owner, None)

    def _tell(self, key: Key, sweep: Key | None) -> None:
        for listener in self._listeners:
            listener(key)
            if sweep is not None:
                listener(sweep)


def _is_there(_: Parsed) -> bool:
    """A fact of all that can be read."""
    return True
