"""Writes that succeed only on what they were decided on, and memory that follows them at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.client import PROVIDERS, SWEEPS, TRIALS, ApiResource, KubeClient, Raw
from finetune_operator.cluster.entries import version_of
from finetune_operator.cluster.patches import merge_patch, without_nan
from finetune_operator.lifecycle.store import AlreadyExists, Conflict, Key, Kind, NotFound
from finetune_operator.resources import FinetuneProvider, FinetuneSweep, FinetuneTrial, parse_resource
from finetune_operator.resources.remains import Remains

RESOURCES: Mapping[Kind, ApiResource] = {
    "FinetuneSweep": SWEEPS,
    "FinetuneTrial": TRIALS,
    "FinetuneProvider": PROVIDERS,
}

R = TypeVar("R", FinetuneSweep, FinetuneTrial, FinetuneProvider)


def key_to(resource: FinetuneSweep | FinetuneTrial | FinetuneProvider | Remains) -> Key:
    """The key of a resource that the API server gave."""
    assert resource.metadata.namespace is not None, "an object of the API server has a namespace"
    return Key(resource.kind, resource.metadata.namespace, resource.name)


class GuardedWrites:
    """Writes of the three kinds.

    The answer of a write goes into memory, so that who writes reads what it wrote. Where the server says that
    memory is wrong, the object is read anew at once, rather than when the watch brings it.
    """

    def __init__(self, client: KubeClient, cache: ObjectCache) -> None:
        """Write through a client, remember in a cache."""
        self._client = client
        self._cache = cache

    async def create(self, key: Key, body: Mapping[str, Any]) -> Raw:
        """Create an object; AlreadyExists where its name is taken."""
        async with self._refreshing(key):
            raw = await self._client.create(RESOURCES[key.kind], key.namespace, body)
        self._cache.put(key.kind, raw)
        return raw

    async def delete(self, key: Key, *, uid: str | None) -> None:
        """Ask for an object's deletion; Conflict where another one has its name."""
        async with self._refreshing(key):
            answer = await self._client.delete(RESOURCES[key.kind], key.namespace, key.name, uid=uid)
        if answer.get("kind") == key.kind:
            self._cache.put(key.kind, answer)
        else:
            self._cache.drop_missing(key)

    async def write_status(self, resource: R, status: Mapping[str, Any]) -> R:
        """Replace the status of a resource as it was read; no write where nothing changes."""
        key = key_to(resource)
        raw = await self.patch_status(key, self._as_read(resource), status)
        return self.as_answered(key, raw, type(resource))

    async def patch_status(self, key: Key, raw: Raw, status: Mapping[str, Any]) -> Raw:
        """Replace the status of an object as it was read; no write where nothing changes."""
        changes = merge_patch(raw.get("status") or {}, without_nan(status))
        if not changes:
            return raw
        return await self._patch(key, raw, {"status": changes}, subresource="status")

    async def write_finalizers(self, resource: R, finalizers: list[str]) -> R:
        """Replace the finalizers of a resource as it was read."""
        raw = await self.patch_finalizers(resource, finalizers)
        return self.as_answered(key_to(resource), raw, type(resource))

    async def patch_finalizers(
        self, resource: FinetuneSweep | FinetuneTrial | FinetuneProvider | Remains, finalizers: list[str]
    ) -> Raw:
        """Replace the finalizers of an object, be it that the rest of it cannot be read."""
        key = key_to(resource)
        raw = await self._patch(key, self._as_read(resource), {"metadata": {"finalizers": finalizers}})
        if resource.deleting and not finalizers:
            self._cache.drop(key.kind, raw)  # the last one held it
        return raw

    async def write_annotations(self, resource: R, annotations: Mapping[str, str]) -> R:
        """Add annotations to a resource as it was read."""
        key = key_to(resource)
        changes = {"metadata": {"annotations": dict(annotations)}}
        return self.as_answered(key, await self._patch(key, self._as_read(resource), changes), type(resource))

    def as_answered(self, key: Key, raw: Raw, kind: type[R]) -> R:
        """The object as the server answered, even where the watch has brought a newer one meanwhile.

        Who acts on the write must hold what it wrote, not what somebody else made of it.
        """
        if self._cache.version(key) == version_of(raw):
            resource = self._cache.read(key, kind)
            assert resource is not None, "memory holds it"
            return resource
        return parse_resource(kind, raw)

    async def _patch(
        self, key: Key, raw: Raw, changes: dict[str, Any], *, subresource: str | None = None
    ) -> Raw:
        guard = {"resourceVersion": raw["metadata"]["resourceVersion"]}
        body = {**changes, "metadata": {**changes.get("metadata", {}), **guard}}
        async with self._refreshing(key):
            answer = await self._client.patch(
                RESOURCES[key.kind], key.namespace, key.name, body=body, subresource=subresource
            )
        self._cache.put(key.kind, answer)
        return answer

    def _as_read(self, resource: FinetuneSweep | FinetuneTrial | FinetuneProvider | Remains) -> Raw:
        """The raw object that was handed out as this one; Conflict or NotFound where memory has moved on."""
        key = key_to(resource)
        raw = self._cache.raw(key)
        if raw is None:
            raise NotFound(f"{key} is gone")
        if raw["metadata"]["resourceVersion"] != resource.metadata.resource_version:
            raise Conflict(f"{key} was changed since it was read")
        return raw

    @asynccontextmanager
    async def _refreshing(self, key: Key) -> AsyncIterator[None]:
        try:
            yield
        except (AlreadyExists, Conflict, NotFound):
            await self.refresh(key)
            raise

    async def refresh(self, key: Key) -> None:
        """Read an object anew."""
        try:
            raw = await self._client.get(RESOURCES[key.kind], key.namespace, key.name)
        except NotFound:
            self._cache.drop_missing(key)
        else:
            self._cache.put(key.kind, raw)
