"""The store behind which Kubernetes stands.

Reads of the three kinds come from memory, which the watch and the answers of the store's own writes keep up to
date; a write is guarded by the resource version of what it was decided on, so memory that lags can delay a
decision but never spoil one.
"""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.client import (
    CONFIG_MAPS,
    EVENTS,
    PROVIDERS,
    SECRETS,
    SWEEPS,
    TRIALS,
    ApiResource,
    KubeClient,
    Raw,
)
from finetune_operator.cluster.manifests import (
    SWEEP_LABEL,
    event_manifest,
    label_value,
    output_manifest,
    trial_manifest,
)
from finetune_operator.cluster.patches import merge_patch
from finetune_operator.cluster.refusal import refused_status
from finetune_operator.errors import InvalidManifest, Problem, SweepError
from finetune_operator.lifecycle.store import (
    AlreadyExists,
    Conflict,
    Key,
    Kind,
    Listener,
    NotFound,
    Refused,
)
from finetune_operator.resources import (
    FINALIZER,
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialStatus,
)
from finetune_operator.resources.provider import ProviderStatus

_logger = logging.getLogger(__name__)

RESOURCES: Mapping[Kind, ApiResource] = {
    "FinetuneSweep": SWEEPS,
    "FinetuneTrial": TRIALS,
    "FinetuneProvider": PROVIDERS,
}

R = TypeVar("R", FinetuneSweep, FinetuneTrial, FinetuneProvider)


class KubeStore:
    """A `Store` over the API server.

    Attributes:
        cache: What is known of the three kinds' objects; the watch feeds it.
    """

    def __init__(self, client: KubeClient, *, namespaces: tuple[str, ...] = ()) -> None:
        """A store that knows nothing yet; `resync` fills it.

        Args:
            client: The way to the API server.
            namespaces: The only namespaces to serve; all of them where there is none.
        """
        self.cache = ObjectCache()
        self._client = client
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._instance = socket.gethostname()

    async def resync(self) -> int:
        """List all objects and take in what was missed, deletions included.

        Returns:
            How many objects had changed.
        """
        changes = 0
        for kind, resource in RESOURCES.items():
            for namespace in self._scopes:
                listing = await self._client.list(resource, namespace)
                changes += self.cache.reconcile(kind, listing, namespace=namespace)
        return changes

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told of every change; also of a trial's sweep when the trial changes."""
        self.cache.subscribe(listener)

    async def get_sweep(self, key: Key) -> FinetuneSweep | None:
        """The sweep; InvalidManifest where it cannot be read."""
        return self.cache.read(key, FinetuneSweep)

    async def get_trial(self, key: Key) -> FinetuneTrial | None:
        """The trial; InvalidManifest where it cannot be read."""
        return self.cache.read(key, FinetuneTrial)

    async def get_provider(self, key: Key) -> FinetuneProvider | None:
        """The provider; InvalidManifest where it cannot be read."""
        return self.cache.read(key, FinetuneProvider)

    async def list_trials(self, sweep: Key) -> tuple[FinetuneTrial, ...]:
        """The trials of a sweep in order of their index, without those that cannot be read."""
        return tuple(sorted(self.cache.trials_of(sweep), key=lambda trial: trial.spec.index))

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, str]:
        """The values of a Secret that are text; read anew each time, kept nowhere."""
        secret = await self._client.get(SECRETS, namespace, name)
        values = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
        return {key: text for key, value in values.items() if (text := _text(value)) is not None}

    async def get_config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The text values of a ConfigMap."""
        config_map = await self._client.get(CONFIG_MAPS, namespace, name)
        return dict(config_map.get("data") or {})

    async def create_trial(self, trial: FinetuneTrial, *, owner: FinetuneSweep) -> FinetuneTrial:
        """Create a trial that belongs to its sweep; AlreadyExists where its name is taken."""
        key = _key(owner).sibling("FinetuneTrial", trial.name)
        try:
            raw = await self._client.create(TRIALS, key.namespace, trial_manifest(trial, owner))
        except AlreadyExists:
            await self._refresh(key)
            raise
        self.cache.put("FinetuneTrial", raw)
        return self._now(key, FinetuneTrial)

    async def write_trial_status(self, trial: FinetuneTrial, status: TrialStatus) -> FinetuneTrial:
        """Replace the status of the trial as it was read."""
        return await self._write_status(trial, status.to_dict())

    async def write_sweep_status(self, sweep: FinetuneSweep, status: SweepStatus) -> FinetuneSweep:
        """Replace the status of the sweep as it was read."""
        return await self._write_status(sweep, status.to_dict())

    async def write_provider_status(self, provider: FinetuneProvider, status: ProviderStatus) -> None:
        """Replace the status of the provider as it was read."""
        await self._write_status(provider, status.to_dict())

    async def refuse(self, key: Key, problems: tuple[Problem, ...]) -> None:
        """Write `Accepted=False` on a sweep that could not even be read; no write where it stands there."""
        raw = self.cache.raw(key)
        if raw is not None:
            await self._patch_status(key, raw, refused_status(raw, problems, now=datetime.now(UTC)))

    async def add_finalizer(self, resource: R) -> R:
        """The resource with our finalizer."""
        if resource.has_finalizer:
            return resource
        finalizers = [*(resource.metadata.finalizers or ()), FINALIZER]
        await self._patch_finalizers(resource, finalizers)
        return self._now(_key(resource), type(resource))

    async def remove_finalizer(self, resource: FinetuneSweep | FinetuneTrial) -> None:
        """Take our finalizer away."""
        if not resource.has_finalizer:
            return
        finalizers = [each for each in resource.metadata.finalizers or () if each != FINALIZER]
        try:
            raw = await self._patch_finalizers(resource, finalizers)
        except NotFound:
            return
        if resource.deleting and not finalizers:
            self.cache.drop(resource.kind, raw)

    async def delete_trial(self, trial: FinetuneTrial) -> None:
        """Ask for a trial's deletion."""
        key = _key(trial)
        try:
            async with self._refreshing(key):
                answer = await self._client.delete(TRIALS, key.namespace, key.name, uid=trial.metadata.uid)
        except (NotFound, Conflict):
            return  # it is gone, and perhaps another one has its name
        if answer.get("kind") == "FinetuneTrial":
            self.cache.put("FinetuneTrial", answer)
        else:
            self.cache.drop_missing(key)

    async def write_output(self, sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> None:
        """Create or replace the ConfigMap that applications read; Refused where it is somebody else's."""
        namespace = _key(sweep).namespace
        wanted = output_manifest(sweep, name, data)
        try:
            current = await self._client.get(CONFIG_MAPS, namespace, name)
        except NotFound:
            await self._client.create(CONFIG_MAPS, namespace, wanted)
            return
        if (current["metadata"].get("labels") or {}).get(SWEEP_LABEL) != label_value(sweep.name):
            raise Refused(
                f"ConfigMap {namespace}/{name} is there and was not written for sweep {sweep.name}: name "
                f"another one in spec.output.configMap, delete it, or label it {SWEEP_LABEL}="
                f"{label_value(sweep.name)}"
            )
        if changes := merge_patch(current.get("data") or {}, data):
            guard = {"resourceVersion": current["metadata"]["resourceVersion"]}
            await self._client.patch(
                CONFIG_MAPS, namespace, name, body={"metadata": guard, "data": changes}
            )

    async def record_event(
        self,
        resource: FinetuneSweep | FinetuneTrial,
        reason: str,
        message: str,
        *,
        warning: bool = False,
    ) -> None:
        """Post an Event; what comes of it is only logged."""
        key = _key(resource)
        now = datetime.now(UTC)
        event = event_manifest(
            resource, reason, message, warning=warning, now=now, instance=self._instance
        )
        try:
            await self._client.create(EVENTS, key.namespace, event)
        except SweepError as error:
            _logger.warning("%s: event %s was not posted: %s", key, reason, error)

    async def _write_status(self, resource: R, status: Mapping[str, Any]) -> R:
        key = _key(resource)
        await self._patch_status(key, self._as_read(resource), status)
        return self._now(key, type(resource))

    async def _patch_status(self, key: Key, raw: Raw, status: Mapping[str, Any]) -> None:
        changes = merge_patch(raw.get("status") or {}, status)
        if changes:
            await self._patch(key, raw, {"status": changes}, subresource="status")

    async def _patch_finalizers(self, resource: R, finalizers: list[str]) -> Raw:
        raw = self._as_read(resource)
        return await self._patch(_key(resource), raw, {"metadata": {"finalizers": finalizers}})

    async def _patch(
        self, key: Key, raw: Raw, changes: dict[str, Any], *, subresource: str | None = None
    ) -> Raw:
        guard = {"resourceVersion": raw["metadata"]["resourceVersion"]}
        body = {**changes, "metadata": {**changes.get("metadata", {}), **guard}}
        async with self._refreshing(key):
            answer = await self._client.patch(
                RESOURCES[key.kind], key.namespace, key.name, body=body, subresource=subresource
            )
        self.cache.put(key.kind, answer)
        return answer

    def _as_read(self, resource: FinetuneSweep | FinetuneTrial | FinetuneProvider) -> Raw:
        """The raw object that was handed out as this one; Conflict or NotFound where memory has moved on."""
        key = _key(resource)
        raw = self.cache.raw(key)
        if raw is None:
            raise NotFound(f"{key} is gone")
        if raw["metadata"]["resourceVersion"] != resource.metadata.resource_version:
            raise Conflict(f"{key} was changed since it was read")
        return raw

    def _now(self, key: Key, kind: type[R]) -> R:
        """The object after a write; a newer one where the watch was faster."""
        resource = self.cache.read(key, kind)
        if resource is None:
            raise NotFound(f"{key} was deleted meanwhile")
        return resource

    @asynccontextmanager
    async def _refreshing(self, key: Key) -> AsyncIterator[None]:
        """Where the server says that memory is wrong, put it right at once rather than wait for the watch."""
        try:
            yield
        except (Conflict, NotFound):
            await self._refresh(key)
            raise

    async def _refresh(self, key: Key) -> None:
        try:
            raw = await self._client.get(RESOURCES[key.kind], key.namespace, key.name)
        except NotFound:
            self.cache.drop_missing(key)
        else:
            self.cache.put(key.kind, raw)


def _key(resource: FinetuneSweep | FinetuneTrial | FinetuneProvider) -> Key:
    assert resource.metadata.namespace is not None, "an object of the API server has a namespace"
    return Key(resource.kind, resource.metadata.namespace, resource.name)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
