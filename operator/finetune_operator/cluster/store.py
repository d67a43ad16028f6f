"""The store behind which Kubernetes stands.

Reads of the three kinds come from memory, which the watch and the answers of the store's own writes keep up to
date; a write is guarded by the resource version of what it was decided on, so memory that lags can delay a
decision but never spoil one.
"""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from finetune_operator.cluster.cache import ObjectCache
from finetune_operator.cluster.client import CONFIG_MAPS, EVENTS, SECRETS, KubeClient, Raw
from finetune_operator.cluster.entries import Parsed
from finetune_operator.cluster.event_log import EventLog
from finetune_operator.cluster.guarded import GuardedWrites, key_to
from finetune_operator.cluster.listings import Listings
from finetune_operator.cluster.manifests import event_manifest, output_manifest, trial_manifest
from finetune_operator.cluster.patches import merge_patch
from finetune_operator.cluster.refusal import refused_status
from finetune_operator.errors import InvalidManifest, Problem, SweepError
from finetune_operator.lifecycle.job_slots import is_served
from finetune_operator.lifecycle.store import (
    AlreadyExists,
    Conflict,
    Key,
    Listener,
    NotFound,
    R,
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
from finetune_operator.resources.labels import SWEEP_LABEL, label_value
from finetune_operator.resources.provider import ProviderStatus
from finetune_operator.resources.remains import Remains

_logger = logging.getLogger(__name__)

ROUTINE = frozenset({"Submitting", "Training", "Evaluating", "Succeeded"})
"""Of a trial these are not posted: its status and conditions tell the same, and for longer than an hour."""
_TOLD_AT_THE_END = "BaseModelMeasured"
"""Nor is this of a sweep: the event of its end says it, and its status does."""


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
        for of in (_is_settled, _is_over):
            self.cache.expect(of)
        self._client = client
        self._writes = GuardedWrites(client, self.cache)
        self._instance = socket.gethostname()
        self._listings = Listings(client, self.cache, self._writes, scopes=namespaces or (None,))
        self._events = EventLog()

    async def resync(self) -> int:
        """List all objects and take in what was missed, deletions included.

        Returns:
            How many objects had changed.
        """
        return await self._listings.resync()

    def unfinished(self) -> Iterator[Key]:
        """The objects with which something may be left to do; what ended is passed over."""
        for key in self.cache.all_keys():
            if not self._settled(key):
                yield key

    def _settled(self, key: Key) -> bool:
        """Whether nothing is left to do: it ended, we hold it no more, and nobody has edited it since."""
        try:
            return self.cache.fact(key, _is_settled) is not False
        except InvalidManifest:
            # Of a sweep it is said in its status.
            return key.kind == "FinetuneProvider" or (
                key.kind == "FinetuneTrial" and self.cache.remains(key) is None
            )

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told of every change; also of a trial's sweep when the trial changes."""
        self.cache.subscribe(listener)

    async def get_sweep(self, key: Key) -> FinetuneSweep | None:
        """The sweep; InvalidManifest where it cannot be read."""
        return self.cache.read(key, FinetuneSweep)

    async def get_trial(self, key: Key) -> FinetuneTrial | None:
        """The trial; None also where it cannot be read, as lists leave it out then."""
        return self._trial(key)

    def _trial(self, key: Key) -> FinetuneTrial | None:
        try:
            return self.cache.read(key, FinetuneTrial)
        except InvalidManifest:
            return None  # said in the log when it was parsed

    async def get_provider(self, key: Key) -> FinetuneProvider | None:
        """The provider; InvalidManifest where it cannot be read."""
        return self.cache.read(key, FinetuneProvider)

    async def list_trials(self, sweep: Key) -> tuple[FinetuneTrial, ...]:
        """The trials of a sweep in order of their index, without those that cannot be read."""
        return tuple(sorted(self.cache.trials_of(sweep), key=lambda trial: trial.spec.index))

    async def unreadable_trials(self, sweep: Key) -> tuple[str, ...]:
        """The names of the sweep's trials that cannot be read."""
        return tuple(sorted(self.cache.unreadable_of(sweep)))

    async def list_account_trials(self, provider: Key) -> tuple[FinetuneTrial, ...]:
        """The trials that use a provider and may hold something there, without those that cannot be read."""
        return tuple(self.cache.account_trials(provider, but=_is_over))

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
        key = key_to(owner).sibling("FinetuneTrial", trial.name)
        raw = await self._writes.create(key, trial_manifest(trial, owner))
        return self._writes.as_answered(key, raw, FinetuneTrial)

    async def write_trial_status(self, trial: FinetuneTrial, status: TrialStatus) -> FinetuneTrial:
        """Replace the status of the trial as it was read."""
        return await self._writes.write_status(trial, status.to_dict())

    async def write_sweep_status(self, sweep: FinetuneSweep, status: SweepStatus) -> FinetuneSweep:
        """Replace the status of the sweep as it was read."""
        return await self._writes.write_status(sweep, status.to_dict())

    async def write_provider_status(self, provider: FinetuneProvider, status: ProviderStatus) -> None:
        """Replace the status of the provider as it was read."""
        await self._writes.write_status(provider, status.to_dict())

    async def refuse(self, key: Key, problems: tuple[Problem, ...]) -> None:
        """Write `Accepted=False` on a sweep that could not even be read; no write where it stands there."""
        raw = self.cache.raw(key)
        if raw is not None:
            await self._writes.patch_status(key, raw, refused_status(raw, problems, now=datetime.now(UTC)))

    async def add_finalizer(self, resource: R) -> R:
        """The resource with our finalizer."""
        if resource.has_finalizer:
            return resource
        finalizers = [*(resource.metadata.finalizers or ()), FINALIZER]
        return await self._writes.write_finalizers(resource, finalizers)

    async def remove_finalizer(self, resource: R) -> None:
        """Take our finalizer away."""
        if not resource.has_finalizer:
            return
        finalizers = [each for each in resource.metadata.finalizers or () if each != FINALIZER]
        with suppress(NotFound):
            await self._writes.write_finalizers(resource, finalizers)

    async def remains(self, key: Key) -> Remains | None:
        """What is left of a deleted sweep or trial that cannot be read."""
        return self.cache.remains(key)

    async def let_go(self, remains: Remains) -> None:
        """Take our finalizer away from what cannot be read."""
        finalizers = [each for each in remains.metadata.finalizers or () if each != FINALIZER]
        with suppress(NotFound):
            await self._writes.patch_finalizers(remains, finalizers)

    async def annotate_trial(self, trial: FinetuneTrial, annotations: Mapping[str, str]) -> FinetuneTrial:
        """Add annotations to the trial as it was read."""
        return await self._writes.write_annotations(trial, annotations)

    async def delete_trial(self, trial: FinetuneTrial) -> None:
        """Ask for a trial's deletion; nothing to do where it is gone, even if another one has its name."""
        with suppress(NotFound, Conflict):
            await self._writes.delete(key_to(trial), uid=trial.metadata.uid)

    async def write_output(self, sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> None:
        """Create or replace the ConfigMap that applications read; Refused where it is somebody else's."""
        namespace = key_to(sweep).namespace
        wanted = output_manifest(sweep, name, data)
        try:
            current = await self._client.get(CONFIG_MAPS, namespace, name)
        except NotFound:
            await self._create_output(namespace, wanted)
            return
        if (current["metadata"].get("labels") or {}).get(SWEEP_LABEL) != label_value(sweep.name):
            raise Refused(
                f"ConfigMap {namespace}/{name} is there and was not written for sweep {sweep.name}: name "
                f"another one in spec.output.configMap, delete it, or label it {SWEEP_LABEL}="
                f"{label_value(sweep.name)}"
            )
        if changes := merge_patch(current.get("data") or {}, data):
            guard = {"resourceVersion": current["metadata"]["resourceVersion"]}
            await self._client.patch(CONFIG_MAPS, namespace, name, body={"metadata": guard, "data": changes})

    async def _create_output(self, namespace: str, config_map: Raw) -> None:
        try:
            await self._client.create(CONFIG_MAPS, namespace, config_map)
        except AlreadyExists as error:
            raise Conflict(str(error)) from error  # somebody was faster; whose it is, the next look tells

    async def record_event(
        self,
        resource: FinetuneSweep | FinetuneTrial | Remains,
        reason: str,
        message: str,
        *,
        warning: bool = False,
    ) -> None:
        """Post an Event, the same one at most once an hour; what comes of it is only logged.

        Each is a write; of a trial where all goes well none is posted.
        """
        routine = ROUTINE if isinstance(resource, FinetuneTrial) else {_TOLD_AT_THE_END}
        if reason in routine and not warning:
            return
        key = key_to(resource)
        told = (str(resource.metadata.uid), reason, message)
        if not self._events.is_news(told):
            return
        now = datetime.now(UTC)
        event = event_manifest(resource, reason, message, warning=warning, now=now, instance=self._instance)
        try:
            await self._client.create(EVENTS, key.namespace, event)
        except SweepError as error:
            self._events.forget(told)
            _logger.warning("%s: event %s was not posted: %s", key, reason, error)


def _seen(resource: FinetuneSweep | FinetuneProvider) -> bool:
    return resource.status.observed_generation == resource.metadata.generation


def _is_settled(resource: Parsed) -> bool:
    """Whether nothing is left to do, as far as a resource that can be read says."""
    if isinstance(resource, FinetuneTrial):
        return resource.terminal and not resource.has_finalizer
    if isinstance(resource, FinetuneProvider):
        return _accepted(resource)
    return _seen(resource) and resource.status.finished and not resource.has_finalizer


def _is_over(resource: Parsed) -> bool:
    """Whether a trial holds nothing at its provider."""
    return isinstance(resource, FinetuneTrial) and resource.terminal and not is_served(resource)


def _accepted(provider: FinetuneProvider) -> bool:
    conditions = provider.status.conditions
    return _seen(provider) and any(each.type == "Accepted" and each.status == "True" for each in conditions)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
