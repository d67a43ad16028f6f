"""Sweeps of a cluster, with the rights of the person who asks: get and list suffice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from finetune_operator.cli.reader import (
    NotAllowed,
    SweepAndTrials,
    Unreachable,
    no_such_sweep,
    no_such_trial,
)
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.answers import Unauthenticated
from finetune_operator.cluster.client import SWEEPS, TRIALS, ApiResource, KubeClient, Raw
from finetune_operator.errors import InvalidManifest, SweepError
from finetune_operator.lifecycle.store import Conflict, NotFound, Refused, StoreUnavailable
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, parse_resource
from finetune_operator.resources.common import Resource
from finetune_operator.resources.labels import SWEEP_LABEL, label_value

R = TypeVar("R", bound=Resource)

NEEDED = "get and list of finetunesweeps and finetunetrials, as the role `view` has them with the chart"


NEEDED_TO_ANSWER = "patch of finetunetrials"


class Changed(SweepError):
    """Somebody else was faster."""


class UnknownToUs(SweepError):
    """An object of the cluster is not as this version knows it."""


class ClusterReader:
    """Reads sweeps and trials of one namespace, or sweeps of all."""

    def __init__(self, client: KubeClient, namespace: str | None, *, cluster: str) -> None:
        """Take over a client, which `close` closes.

        Args:
            client: Calls the API server.
            namespace: Where to look; None for all namespaces.
            cluster: The context, in words; may be empty.
        """
        self._client = client
        self._namespace = namespace
        self._cluster = cluster
        self._unreadable: list[str] = []

    @classmethod
    async def connect(cls, access: ClusterAccess, namespace: str | None) -> Self:
        """A reader; nothing is sent yet.

        Raises:
            NoCluster: There are no credentials.
        """
        cluster = f" of context {access.context}" if access.context else ""
        return cls(await KubeClient.connect(access), namespace, cluster=cluster)

    @property
    def place(self) -> str:
        """The namespace and the context, where one was named."""
        return (
            "all namespaces" if self._namespace is None else f"namespace {self._namespace}"
        ) + self._cluster

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What the last `sweeps` left out."""
        return tuple(self._unreadable)

    async def sweeps(self) -> tuple[FinetuneSweep, ...]:
        """All sweeps, by namespace and name."""
        self._unreadable.clear()
        sweeps = []
        for raw in await self._list(SWEEPS, self._namespace):
            try:
                sweeps.append(_parsed(FinetuneSweep, raw))
            except UnknownToUs as error:
                self._unreadable.append(_line(error))
        return tuple(sorted(sweeps, key=lambda sweep: (sweep.metadata.namespace or "", sweep.name)))

    async def sweep(self, name: str) -> SweepAndTrials:
        """A sweep and its own trials; those of an earlier one of its name are left out."""
        namespace = self._namespace or ""
        try:
            with _in_plain_words():
                raw = await self._get(SWEEPS, name)
        except NotFound:
            known = [str(each["metadata"]["name"]) for each in await self._list(SWEEPS, namespace)]
            raise no_such_sweep(name, known, self.place) from None
        sweep = _parsed(FinetuneSweep, raw)
        found = await self._list(TRIALS, namespace, labels=f"{SWEEP_LABEL}={label_value(name)}")
        trials = [trial for each in found if (trial := _parsed(FinetuneTrial, each)).belongs_to(sweep)]
        return sweep, tuple(sorted(trials, key=lambda trial: trial.spec.index))

    def state_of(self, sweep: FinetuneSweep) -> Path | None:
        """A cluster has no folders."""
        return None

    async def trial(self, name: str) -> FinetuneTrial:
        """One trial."""
        namespace = self._namespace or ""
        try:
            with _in_plain_words():
                return _parsed(FinetuneTrial, await self._get(TRIALS, name))
        except NotFound:
            known = [str(each["metadata"]["name"]) for each in await self._list(TRIALS, namespace)]
            raise no_such_trial(name, known, self.place) from None

    async def annotate(self, trial: FinetuneTrial, annotations: Mapping[str, str]) -> str:
        """Add annotations to a trial as it was read."""
        version = trial.metadata.resource_version  # what was looked at, and nothing that came since
        body = {"metadata": {"resourceVersion": version, "annotations": dict(annotations)}}
        namespace = trial.metadata.namespace or self._namespace or ""
        try:
            with _in_plain_words(NEEDED_TO_ANSWER):
                await self._client.patch(TRIALS, namespace, trial.name, body=body)
        except (Conflict, NotFound) as error:
            raise Changed(f"trial {trial.name} changed since it was read: look again, then answer") from error
        return "The operator goes on with that."

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _get(self, resource: ApiResource, name: str) -> Raw:
        if not name:  # its path would be that of all of them
            raise NotFound("a name is empty")
        return await self._client.get(resource, self._namespace or "", name)

    async def _list(self, resource: ApiResource, namespace: str | None, *, labels: str = "") -> Sequence[Raw]:
        with _in_plain_words():
            return (await self._client.list(resource, namespace, labels=labels)).items


def _parsed(kind: type[R], raw: Raw) -> R:
    try:
        return parse_resource(kind, raw)
    except InvalidManifest as error:
        name = raw.get("metadata", {}).get("name", "")
        raise UnknownToUs(f"{kind.__name__} {name} is not as this version knows it: {error}") from error


@contextmanager
def _in_plain_words(needed: str = NEEDED) -> Iterator[None]:
    """The client's errors as one line that says what to do."""
    try:
        yield
    except Unauthenticated as error:
        raise NotAllowed(f"the API server does not know who you are: log in anew ({_line(error)})") from error
    except Refused as error:
        raise NotAllowed(f"a right is missing ({_line(error)}); needed: {needed}") from error
    except StoreUnavailable as error:
        raise Unreachable(f"the API server cannot be asked: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
