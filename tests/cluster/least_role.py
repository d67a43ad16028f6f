"""What the operator does with each right of its role, one behaviour at a time, and what it does without."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.cluster.operator_account import Grant, Person
from tests.contract.patience import PATIENCE_S
from tests.contract.store_contract import CONFIG_MAP, PROVIDER, SECRET, SWEEP, a_trial, key_of

from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import EVENTS, PROVIDERS, SWEEPS, TRIALS, ApiResource, KubeClient
from finetune_operator.cluster.manifests import trial_manifest
from finetune_operator.cluster.store import KubeStore
from finetune_operator.cluster.watching import Change, WatchSettings, watch
from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.store import Conflict, Key, Kind
from finetune_operator.resources import (
    Condition,
    FinetuneProvider,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
    TrialStatus,
)
from finetune_operator.resources.provider import ProviderStatus

KINDS: Mapping[Kind, tuple[str, ApiResource]] = {
    "FinetuneSweep": (SWEEP, SWEEPS),
    "FinetuneTrial": (f"{SWEEP}-0", TRIALS),
    "FinetuneProvider": (PROVIDER, PROVIDERS),
}
"""The object of each kind in a scene."""


class NotSeen(AssertionError):
    """Something did not become of it, though no call was refused."""


@dataclass
class Scene:
    """A namespace with the contract's objects and a trial, all made by a person.

    Attributes:
        operator: The operator's client, with the role in question.
        access: The same credentials.
        store: The operator's store, whose memory a person's client has filled.
    """

    person: Person
    operator: KubeClient
    access: ClusterAccess
    namespace: str
    store: KubeStore

    @classmethod
    async def make(cls, person: Person, operator: KubeClient, access: ClusterAccess, namespace: str) -> Scene:
        """Make the trial, and a store that knows everything."""
        scout = KubeStore(person.client, namespaces=(namespace,))
        await scout.resync()
        sweep = await scout.get_sweep(Key("FinetuneSweep", namespace, SWEEP))
        assert sweep is not None
        await person.client.create(
            TRIALS, namespace, trial_manifest(a_trial(0, namespace=namespace), owner=sweep)
        )
        await scout.resync()
        store = KubeStore(operator, namespaces=(namespace,))
        store.cache = scout.cache
        store._writes._cache = scout.cache
        return cls(person, operator, access, namespace, store)

    async def sweep(self) -> FinetuneSweep:
        found = await self.store.get_sweep(Key("FinetuneSweep", self.namespace, SWEEP))
        assert found is not None
        return found

    async def trial(self) -> FinetuneTrial:
        found = await self.store.get_trial(key_of(a_trial(0, namespace=self.namespace)))
        assert found is not None
        return found

    async def provider(self) -> FinetuneProvider:
        found = await self.store.get_provider(Key("FinetuneProvider", self.namespace, PROVIDER))
        assert found is not None
        return found

    async def learn(self, kind: Kind, name: str, resource: ApiResource) -> None:
        """Bring the newest version into memory, as the watch would."""
        self.store.cache.put(kind, await self.person.client.get(resource, self.namespace, name))

    async def touch(self, kind: str, name: str) -> None:
        """A person changes something, and the operator does not hear of it."""
        mark = {"touched": str(datetime.now(UTC).timestamp())}
        await self.person.edit(kind, name, {"metadata": {"annotations": mark}})


Behaviour = Callable[[Scene], Awaitable[None]]


def starts_with_all(resource: ApiResource) -> Behaviour:
    async def starts(scene: Scene) -> None:
        await scene.operator.list(resource, scene.namespace)

    return starts


async def hears_of_changes(scene: Scene) -> None:
    stop, listed, heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
    missing = {"listed": {*KINDS}, "heard": {*KINDS}}

    def deliver(change: Change) -> None:
        missing["listed" if change.type is None else "heard"].discard(change.kind)
        for name, event in (("listed", listed), ("heard", heard)):
            if not missing[name]:
                event.set()

    settings = WatchSettings(scene.access, (scene.namespace,))
    watching = asyncio.ensure_future(watch(settings, deliver, knows=lambda kind, raw: False, stop=stop))
    try:
        with _refusals() as refused:
            await _either(refused, listed.wait())
            for kind, (name, _) in KINDS.items():
                await scene.touch(kind, name)
            await _either(refused, heard.wait())
    finally:
        stop.set()
        await watching


@contextmanager
def _refusals() -> Iterator[asyncio.Future[str]]:
    """The first refusal that Kopf meets: it logs it, and tries again for half a minute."""
    loop = asyncio.get_running_loop()
    refused: asyncio.Future[str] = loop.create_future()

    def take(text: str) -> None:
        if not refused.done():
            refused.set_result(text)

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is forbidden" in (text := record.getMessage()):
                loop.call_soon_threadsafe(take, text)

    ear, kopf = Ear(), logging.getLogger("kopf")
    kopf.addHandler(ear)
    try:
        yield refused
    finally:
        kopf.removeHandler(ear)


async def _either(refused: asyncio.Future[str], news: Awaitable[Any]) -> None:
    waiting = asyncio.ensure_future(news)
    await asyncio.wait({refused, waiting}, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        raise NotSeen(refused.result() if refused.done() else "no news")


async def takes_up_a_sweep(scene: Scene) -> None:
    await scene.store.add_finalizer(await scene.sweep())


async def lets_a_trial_go(scene: Scene) -> None:
    await scene.store.remove_finalizer(await scene.trial())


async def buys_a_trial(scene: Scene) -> None:
    await scene.store.create_trial(a_trial(1, namespace=scene.namespace), owner=await scene.sweep())


async def cancels_a_trial(scene: Scene) -> None:
    await scene.store.delete_trial(await scene.trial())


async def reports_on_a_sweep(scene: Scene) -> None:
    await scene.store.write_sweep_status(await scene.sweep(), SweepStatus(phase="Searching"))


async def journals_a_purchase(scene: Scene) -> None:
    await scene.store.write_trial_status(await scene.trial(), TrialStatus(phase=TrialPhase.SUBMITTING))


async def reports_on_a_provider(scene: Scene) -> None:
    await scene.store.write_provider_status(await scene.provider(), _provider_status("Valid"))


def _provider_status(reason: str) -> ProviderStatus:
    now = datetime.now(UTC).replace(microsecond=0)
    condition = Condition(
        type="Accepted", status="True", reason=reason, message="fine", last_transition_time=now
    )
    return ProviderStatus(conditions=(condition,))


async def reads_a_sweep_anew_after_a_conflict(scene: Scene) -> None:
    await scene.touch("FinetuneSweep", SWEEP)
    await _conflict(scene.store.write_sweep_status(await scene.sweep(), SweepStatus(phase="Failed")))
    assert (await scene.sweep()).metadata.annotations


async def reads_a_trial_anew_after_a_conflict(scene: Scene) -> None:
    await scene.touch("FinetuneTrial", f"{SWEEP}-0")
    status = TrialStatus(phase=TrialPhase.CANCELLED)
    await _conflict(scene.store.write_trial_status(await scene.trial(), status))


async def reads_a_provider_anew_after_a_conflict(scene: Scene) -> None:
    await scene.touch("FinetuneProvider", PROVIDER)
    await _conflict(scene.store.write_provider_status(await scene.provider(), _provider_status("Stale")))


async def _conflict(write: Awaitable[object]) -> None:
    try:
        await write
    except Conflict:
        return
    raise NotSeen("a stale write went through")


async def reads_credentials(scene: Scene) -> None:
    await scene.store.get_secret(scene.namespace, SECRET)


async def reads_a_dataset(scene: Scene) -> None:
    await scene.store.get_config_map(scene.namespace, CONFIG_MAP)


async def writes_an_output(scene: Scene) -> None:
    await scene.store.write_output(await scene.sweep(), "a-model", {"model": "ft:1"})


async def improves_an_output(scene: Scene) -> None:
    mark = {"finetune-operator.dev/sweep": SWEEP}
    made = {
        "kind": "ConfigMap",
        "metadata": {"name": "older-model", "labels": mark},
        "data": {"model": "ft:1"},
    }
    await scene.person.create(made)
    await scene.store.write_output(await scene.sweep(), "older-model", {"model": "ft:2"})


async def tells_the_story(scene: Scene) -> None:
    await scene.store.record_event(await scene.sweep(), "NewBest", "a test looks for this")
    listing = await scene.person.client.list(EVENTS, scene.namespace)
    if not [each for each in listing.items if each["message"] == "a test looks for this"]:
        raise NotSeen("no event")


S, T, P = "finetunesweeps", "finetunetrials", "finetuneproviders"

BEHAVIOURS: Mapping[str, tuple[Behaviour, frozenset[Grant]]] = {
    name: (behaviour, frozenset(needs))
    for name, behaviour, *needs in (
        ("hears of changes", hears_of_changes, *itertools.product((S, T, P), ("list", "watch"))),
        ("starts with all sweeps", starts_with_all(SWEEPS), (S, "list")),
        ("starts with all trials", starts_with_all(TRIALS), (T, "list")),
        ("starts with all providers", starts_with_all(PROVIDERS), (P, "list")),
        ("reports on a sweep", reports_on_a_sweep, (f"{S}/status", "patch")),
        ("reports on a provider", reports_on_a_provider, (f"{P}/status", "patch")),
        ("journals a purchase", journals_a_purchase, (f"{T}/status", "patch")),
        ("reads a sweep anew", reads_a_sweep_anew_after_a_conflict, (S, "get"), (f"{S}/status", "patch")),
        ("reads a trial anew", reads_a_trial_anew_after_a_conflict, (T, "get"), (f"{T}/status", "patch")),
        (
            "reads a provider anew",
            reads_a_provider_anew_after_a_conflict,
            (P, "get"),
            (f"{P}/status", "patch"),
        ),
        ("buys a trial", buys_a_trial, (T, "create"), (f"{S}/finalizers", "update")),
        ("takes up a sweep", takes_up_a_sweep, (S, "patch")),
        ("reads credentials", reads_credentials, ("secrets", "get")),
        ("reads a dataset", reads_a_dataset, ("configmaps", "get")),
        ("writes an output", writes_an_output, ("configmaps", "get"), ("configmaps", "create")),
        ("improves an output", improves_an_output, ("configmaps", "get"), ("configmaps", "patch")),
        ("tells the story", tells_the_story, ("events", "create")),
        ("cancels a trial", cancels_a_trial, (T, "delete")),
        ("lets a trial go", lets_a_trial_go, (T, "patch")),
    )
}


async def failures(scene: Scene) -> dict[str, str]:
    """Which behaviours fail, and with what words."""
    failed = {}
    for name, (behaviour, _) in BEHAVIOURS.items():
        for kind, (its, resource) in KINDS.items():
            await scene.learn(kind, its, resource)
        try:
            await behaviour(scene)
        except (SweepError, NotSeen) as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed
