"""A store in a folder: what Kubernetes is to a cluster, for one sweep on one machine.

    sweep.yaml             the sweep with its status
    trials/<name>.yaml     one file for each trial
    providers/<name>.yaml  the providers with their status
    output/<name>.yaml     what applications read, as a ConfigMap
    events.jsonl           what happened, one event a line
    work/                  left to whoever works for the sweep
    .lock                  held by the one process that works here

Secrets are held in memory and never written. A write returns when it is on the disk; it is a matter of
milliseconds and done in place, so that no two changes can mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from finetune_operator.decisions import refused_status
from finetune_operator.errors import Problem
from finetune_operator.folder.documents import Manifest, read_documents
from finetune_operator.folder.events import EventLog
from finetune_operator.folder.opening import Contents, open_contents
from finetune_operator.folder.reading import read_sweep_of, read_trials_of
from finetune_operator.folder.shelf import Shelf
from finetune_operator.lifecycle.store import AlreadyExists, Conflict, Key, Listener, NotFound, Refused
from finetune_operator.resources import (
    API_VERSION,
    FINALIZER,
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    OwnerReference,
    SweepStatus,
    TrialStatus,
)
from finetune_operator.resources.provider import ProviderStatus
from finetune_operator.resources.remains import Remains

R = TypeVar("R", FinetuneSweep, FinetuneTrial)
T = TypeVar("T", FinetuneSweep, FinetuneTrial, FinetuneProvider)
Resource = FinetuneSweep | FinetuneTrial | FinetuneProvider


class FolderStore:
    """One sweep in a folder. Made by `open`, given back by `close`."""

    def __init__(self, contents: Contents, *, clock: Callable[[], datetime]) -> None:
        self._contents = contents
        self._clock = clock
        self.beside = contents.state.absolute().parent  # other sweeps' state folders, by the sweeps' names
        self._listeners: list[Listener] = []
        self._events = EventLog(contents.state / "events.jsonl")

    @classmethod
    def open(cls, state: Path, manifests: Sequence[Manifest], *, clock: Callable[[], datetime]) -> Self:
        """Open a state folder, or begin one, for the documents of a person's files.

        Args:
            state: The folder; made where it is missing.
            manifests: Exactly one FinetuneSweep, any number of FinetuneProvider, ConfigMap and Secret.
            clock: Gives the present time, timezone-aware.

        Raises:
            InvalidManifest: A document is wrong, or a field was changed that is fixed once the sweep exists.
            StateFolderInUse: Another process works in the folder.
            StateFolderError: A file in it cannot be used, or the folder holds something else.
        """
        return cls(open_contents(state, read_documents(manifests), clock=clock), clock=clock)

    def close(self) -> None:
        """Let another process have the folder. May be called again."""
        self._contents.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sweep(self) -> FinetuneSweep:
        """The one sweep, as it is now."""
        return self._contents.sweeps.all()[0]

    @property
    def sweep_key(self) -> Key:
        """The key of the one sweep."""
        return self._key(self.sweep)

    @property
    def work_dir(self) -> Path:
        """A folder for whoever works for the sweep."""
        return self._contents.state / "work"

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told of every change; also of a trial's sweep when the trial changes."""
        self._listeners.append(listener)

    async def get_sweep(self, key: Key) -> FinetuneSweep | None:
        """The sweep, or another one that has a state folder of its name beside this one; None where there is none."""
        own = self._contents.sweeps.get(key.name)
        return (own or read_sweep_of(self.beside, key)) if self._is_here(key) else None

    async def get_trial(self, key: Key) -> FinetuneTrial | None:
        """The trial, or None where there is none."""
        return self._contents.trials.get(key.name) if self._is_here(key) else None

    async def get_provider(self, key: Key) -> FinetuneProvider | None:
        """The provider, or None where there is none."""
        return self._contents.providers.get(key.name) if self._is_here(key) else None

    async def list_trials(self, sweep: Key) -> tuple[FinetuneTrial, ...]:
        """The trials of the sweep, or of another one beside it, in order of their index."""
        if not self._is_here(sweep):
            return ()
        own = [trial for trial in self._contents.trials.all() if trial.spec.sweep_ref.name == sweep.name]
        if not own and self._contents.sweeps.get(sweep.name) is None:
            return read_trials_of(self.beside, sweep)
        return tuple(sorted(own, key=lambda trial: trial.spec.index))

    async def unreadable_trials(self, sweep: Key) -> tuple[str, ...]:
        """None: opening refuses what cannot be read."""
        return ()

    async def list_account_trials(self, provider: Key) -> tuple[FinetuneTrial, ...]:
        """The trials that use a provider."""
        if not self._is_here(provider):
            return ()
        trials = self._contents.trials.all()
        return tuple(trial for trial in trials if trial.spec.provider_ref.name == provider.name)

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, str]:
        """The values of a Secret of the manifests.

        Raises:
            NotFound: There is no such Secret; says how to give it.
        """
        values = self._contents.documents.secrets.get(name)
        if values is None or namespace != self._contents.documents.namespace:
            raise NotFound(
                f"Secret {name} was not given: add a document `kind: Secret` with this name to the files, or "
                f"pipe it in, where - is one of the files: kubectl create secret generic {name} "
                "--from-literal=KEY=VALUE --dry-run=client -o yaml | finetune run FILE - (and plan likewise)"
            )
        return values

    async def get_config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The values of a ConfigMap of the manifests, or of an output.

        Raises:
            NotFound: There is no such ConfigMap.
        """
        values = self._contents.documents.config_maps.get(name)
        if values is None:
            values = self._contents.outputs.read(name)
        if values is None or namespace != self._contents.documents.namespace:
            raise NotFound(
                f"ConfigMap {name} was not given: add a document `kind: ConfigMap` with this name to the files"
            )
        return values

    async def create_trial(self, trial: FinetuneTrial, *, owner: FinetuneSweep) -> FinetuneTrial:
        """Create a trial that belongs to its sweep, with our finalizer; its name is the lock."""
        if self._contents.trials.get(trial.name) is not None:
            raise AlreadyExists(f"FinetuneTrial {trial.name} is there already")
        reference = OwnerReference(
            api_version=API_VERSION,
            kind=owner.kind,
            name=owner.name,
            uid=owner.metadata.uid or "",
            controller=True,
            block_owner_deletion=True,
        )
        update = {
            "namespace": self._contents.documents.namespace,
            "finalizers": (FINALIZER,),
            "owner_references": (reference,),
        }
        metadata = trial.metadata.model_copy(update=update)
        created = self._contents.trials.add(
            trial.model_copy(update={"metadata": metadata, "status": TrialStatus()}), clock=self._clock
        )
        self._tell(created)
        return created

    async def write_trial_status(self, trial: FinetuneTrial, status: TrialStatus) -> FinetuneTrial:
        """Replace the status of the trial as it was read."""
        return self._update(self._contents.trials, trial, status=status)

    async def write_sweep_status(self, sweep: FinetuneSweep, status: SweepStatus) -> FinetuneSweep:
        """Replace the status of the sweep as it was read."""
        return self._update(self._contents.sweeps, sweep, status=status)

    async def write_provider_status(self, provider: FinetuneProvider, status: ProviderStatus) -> None:
        """Replace the status of the provider as it was read."""
        self._update(self._contents.providers, provider, status=status)

    async def refuse(self, key: Key, problems: tuple[Problem, ...]) -> None:
        """Write `Accepted=False` on the sweep. Opening refuses one that cannot be read, so this is rare."""
        sweep = await self.get_sweep(key)
        if sweep is None:
            raise NotFound(f"{key} is gone")
        await self.write_sweep_status(
            sweep, refused_status(sweep.status, sweep.metadata.generation or 0, problems, now=self._clock())
        )

    async def add_finalizer(self, resource: R) -> R:
        """The resource with our finalizer; no write where it is there."""
        if resource.has_finalizer:
            return resource
        finalizers = (*(resource.metadata.finalizers or ()), FINALIZER)
        metadata = resource.metadata.model_copy(update={"finalizers": finalizers})
        return self._update(self._shelf_of(resource), resource, metadata=metadata)

    async def remove_finalizer(self, resource: R) -> None:
        """Take our finalizer away; a deleted object goes with it."""
        shelf = self._shelf_of(resource)
        stored = shelf.get(resource.name)
        if stored is None or stored.metadata.uid != resource.metadata.uid or not stored.has_finalizer:
            return
        shelf.current(resource)
        left = tuple(each for each in stored.metadata.finalizers or () if each != FINALIZER)
        if stored.deleting and not left:
            shelf.remove(stored.name)
            self._tell(stored)
            return
        metadata = stored.metadata.model_copy(update={"finalizers": left or None})
        self._update(shelf, stored, metadata=metadata)

    async def remains(self, key: Key) -> Remains | None:
        """Nothing: opening refuses what cannot be read."""
        return None

    async def let_go(self, remains: Remains) -> None:
        """Nothing to do: see `remains`."""

    async def annotate_trial(self, trial: FinetuneTrial, annotations: Mapping[str, str]) -> FinetuneTrial:
        """Add annotations to the trial as it was read."""
        merged = {**(trial.metadata.annotations or {}), **annotations}
        metadata = trial.metadata.model_copy(update={"annotations": merged})
        return self._update(self._contents.trials, trial, metadata=metadata)

    async def delete_trial(self, trial: FinetuneTrial) -> None:
        """Ask for a trial's deletion; it stays until its finalizer is removed."""
        stored = self._contents.trials.get(trial.name)
        if stored is None or stored.deleting:
            return
        if stored.metadata.uid != trial.metadata.uid:
            raise Conflict(f"FinetuneTrial {trial.name} was replaced by another one since it was read")
        if not stored.metadata.finalizers:
            self._contents.trials.remove(stored.name)
            self._tell(stored)
            return
        metadata = stored.metadata.model_copy(update={"deletion_timestamp": self._clock()})
        # Kubernetes counts the wish to be deleted as a change of what is asked for.
        self._update(self._contents.trials, stored, bump=True, metadata=metadata)

    async def write_output(self, sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> None:
        """Create or replace the ConfigMap that applications read, as a file."""
        if name in self._contents.documents.config_maps:
            raise Refused(f"ConfigMap {name} is one of the given documents; name another one for the output")
        self._contents.outputs.write(sweep, name, data)

    async def record_event(
        self,
        resource: FinetuneSweep | FinetuneTrial | Remains,
        reason: str,
        message: str,
        *,
        warning: bool = False,
    ) -> None:
        """Add a line to the events; best effort, never raises."""
        self._events.append(resource, reason, message, warning=warning, at=self._clock())

    def _shelf_of(self, resource: R) -> Shelf[R]:
        if isinstance(resource, FinetuneSweep):
            return self._contents.sweeps
        return self._contents.trials

    def _is_here(self, key: Key) -> bool:
        return key.namespace == self._contents.documents.namespace

    def _key(self, resource: Resource) -> Key:
        return Key(resource.kind, self._contents.documents.namespace, resource.name)

    def _update(self, shelf: Shelf[T], seen: T, *, bump: bool = False, **fields: Any) -> T:
        stored, written = shelf.replace(shelf.current(seen), bump=bump, **fields)
        if written:
            self._tell(stored)
        return stored

    def _tell(self, resource: Resource) -> None:
        keys = [self._key(resource)]
        if isinstance(resource, FinetuneTrial):
            keys.append(keys[0].sibling("FinetuneSweep", resource.spec.sweep_ref.name))
        for key in keys:
            for listener in self._listeners:
                listener(key)
