"""Where resources are kept: the one protocol behind which Kubernetes and a folder stand.

Nothing that uses a store knows which one it has. Every write is guarded by the `resource_version` of the
object it was decided on, so that of two writers who saw the same state one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from finetune_operator.errors import Problem, SweepError
from finetune_operator.resources import (
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialStatus,
)
from finetune_operator.resources.provider import ProviderStatus
from finetune_operator.resources.remains import Remains

Kind = Literal["FinetuneSweep", "FinetuneTrial", "FinetuneProvider"]
R = TypeVar("R", FinetuneSweep, FinetuneTrial)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which object."""

    kind: Kind
    namespace: str
    name: str

    def sibling(self, kind: Kind, name: str) -> Key:
        """Another object of the same namespace."""
        return Key(kind, self.namespace, name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Listener = Callable[[Key], None]
"""Called with the key of every object that was added, changed or removed."""


class Conflict(SweepError):
    """Somebody else changed the object since it was read: read again, decide again."""


class AlreadyExists(SweepError):
    """An object of that name is there already."""


class NotFound(SweepError):
    """The object is not there (any more)."""


class StoreUnavailable(SweepError):
    """The store could not be reached or refused to serve for now; try again later."""


class Refused(SweepError):
    """The store forbids the operation: a missing permission, or an object that belongs to somebody else."""


class Store(Protocol):
    """Reads, guarded writes and changes of the resources.

    Any method may raise StoreUnavailable. Objects handed out are immutable.
    """

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told of every change; also of a trial's sweep when the trial changes."""
        ...

    async def get_sweep(self, key: Key) -> FinetuneSweep | None:
        """The sweep, or None where there is none.

        Raises:
            InvalidManifest: It is there, but cannot be read.
        """
        ...

    async def get_trial(self, key: Key) -> FinetuneTrial | None: ...

    async def get_provider(self, key: Key) -> FinetuneProvider | None: ...

    async def list_trials(self, sweep: Key) -> tuple[FinetuneTrial, ...]:
        """The trials of a sweep (by `spec.sweepRef`), in order of their index."""
        ...

    async def unreadable_trials(self, sweep: Key) -> tuple[str, ...]:
        """The names of the sweep's trials that are there and cannot be read, in order; no list has them."""
        ...

    async def list_account_trials(self, provider: Key) -> tuple[FinetuneTrial, ...]:
        """The trials of all sweeps that use a FinetuneProvider (by `spec.providerRef`), in no particular order.

        Those that have ended and have no deployment may be left out.
        """
        ...

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, str]:
        """The values of a Secret.

        Raises:
            NotFound: There is no such Secret.
        """
        ...

    async def get_config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The text values of a ConfigMap.

        Raises:
            NotFound: There is no such ConfigMap.
        """
        ...

    async def create_trial(self, trial: FinetuneTrial, *, owner: FinetuneSweep) -> FinetuneTrial:
        """Create a trial that belongs to its sweep, with our finalizer; its name is the lock.

        Raises:
            AlreadyExists: A trial of that name is there.
        """
        ...

    async def write_trial_status(self, trial: FinetuneTrial, status: TrialStatus) -> FinetuneTrial:
        """Replace the status of the trial as it was read.

        Raises:
            Conflict: It was changed since.
            NotFound: It is gone.
        """
        ...

    async def write_sweep_status(self, sweep: FinetuneSweep, status: SweepStatus) -> FinetuneSweep:
        """Replace the status of the sweep as it was read; Conflict and NotFound as above."""
        ...

    async def write_provider_status(self, provider: FinetuneProvider, status: ProviderStatus) -> None:
        """Replace the status of the provider as it was read; Conflict and NotFound as above."""
        ...

    async def refuse(self, key: Key, problems: tuple[Problem, ...]) -> None:
        """Write `Accepted=False` on a sweep that could not even be read."""
        ...

    async def add_finalizer(self, resource: R) -> R:
        """The resource with our finalizer; no write where it is there. Conflict and NotFound as above."""
        ...

    async def remove_finalizer(self, resource: R) -> None:
        """Take our finalizer away; no write, no error where it or the object is gone. Conflict as above."""
        ...

    async def remains(self, key: Key) -> Remains | None:
        """What is left of a deleted sweep or trial that cannot be read; None where it can, or is not deleted."""
        ...

    async def let_go(self, remains: Remains) -> None:
        """Take our finalizer away from what cannot be read; no error where it is gone. Conflict as above."""
        ...

    async def annotate_trial(self, trial: FinetuneTrial, annotations: Mapping[str, str]) -> FinetuneTrial:
        """Add annotations to the trial as it was read; those of others stay. Conflict and NotFound as above."""
        ...

    async def delete_trial(self, trial: FinetuneTrial) -> None:
        """Ask for a trial's deletion; it stays until its finalizer is removed."""
        ...

    async def write_output(self, sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> None:
        """Create or replace the ConfigMap that applications read.

        Raises:
            Refused: A ConfigMap of that name is there and was not written for this sweep.
        """
        ...

    async def record_event(
        self,
        resource: FinetuneSweep | FinetuneTrial | Remains,
        reason: str,
        message: str,
        *,
        warning: bool = False,
    ) -> None:
        """Tell the story to people; best effort, never raises."""
        ...
