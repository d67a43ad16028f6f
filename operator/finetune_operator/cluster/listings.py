"""Memory is compared with all that there is: at the start, after a gap in the watch, and now and then."""

from __future__ import annotations

from collections.abc import Sequence

from finetune_operator.cluster.cache import ObjectCache, key_of
from finetune_operator.cluster.client import ApiResource, KubeClient, Raw
from finetune_operator.cluster.entries import version_of
from finetune_operator.cluster.guarded import RESOURCES, GuardedWrites
from finetune_operator.lifecycle.store import Key, Kind

_READ_SINGLY = 50
"""So many objects that the watch has not brought are read one by one; where there are more, all are listed."""


class Listings:
    """Listings of the three kinds."""

    def __init__(
        self, client: KubeClient, cache: ObjectCache, writes: GuardedWrites, *, scopes: tuple[str | None, ...]
    ) -> None:
        """List into a cache what is in some namespaces; None is all of them."""
        self._client = client
        self._cache = cache
        self._writes = writes
        self._scopes = scopes
        self._filled = False

    async def resync(self) -> int:
        """List all objects and take in what was missed, deletions included.

        After the first time the server is asked for no more than their metadata: most of them, or all, are known.

        Returns:
            How many objects had changed.
        """
        changes = 0
        for kind, resource in RESOURCES.items():
            for namespace in self._scopes:
                read = self._compare if self._filled else self._list
                changes += await read(kind, resource, namespace)
        self._filled = True
        return changes

    async def _compare(self, kind: Kind, resource: ApiResource, namespace: str | None) -> int:
        """List which objects there are in which version, and read those that are newer than memory."""
        present: dict[Key, int] = {}

        def take_in(page: Sequence[Raw], first: bool) -> None:
            if first:
                present.clear()
            present.update((key_of(kind, raw), version_of(raw)) for raw in page)

        version = await self._client.read_pages(resource, namespace, take_in, metadata_alone=True)
        newer = [key for key, listed in present.items() if (self._cache.version(key) or 0) < listed]
        if len(newer) > _READ_SINGLY:
            return await self._list(kind, resource, namespace)
        changes = self._cache.keep(kind, set(present), namespace=namespace, version=version)
        for key in newer:
            known = self._cache.version(key)
            await self._writes.refresh(key)
            changes += self._cache.version(key) != known
        return changes

    async def _list(self, kind: Kind, resource: ApiResource, namespace: str | None) -> int:
        """List a kind page by page, none of which is held while the next is read."""
        changes, present = 0, set[Key]()

        def take_in(page: Sequence[Raw], first: bool) -> None:
            nonlocal changes
            if first:
                present.clear()
            for raw in page:
                key = key_of(kind, raw)
                present.add(key)
                if self._cache.put(kind, raw):
                    changes += 1
                    self._cache.answer_expected(key)

        version = await self._client.read_pages(resource, namespace, take_in)
        return changes + self._cache.keep(kind, present, namespace=namespace, version=version)
