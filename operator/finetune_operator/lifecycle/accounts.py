"""Provider accounts in use: one provider object and one watcher for each FinetuneProvider."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from finetune_operator.lifecycle.job_slots import JobSlots, is_served
from finetune_operator.lifecycle.measured import Measure, MeasuredProvider
from finetune_operator.lifecycle.observer import AccountName, AccountVitals
from finetune_operator.lifecycle.store import Key, NotFound, Store
from finetune_operator.lifecycle.watcher import JobWatcher
from finetune_operator.resources import FinetuneProvider
from finetune_providers.base import Provider, ProviderConfig
from finetune_providers.errors import PermanentProviderError

ProviderFactory = Callable[[ProviderConfig], Provider]

EVALUATIONS_AT_ONCE = 2
SECRET_AGAIN_S = 60.0
LANE_WIDTH = 8
"""Trials of one account that may be in calls of its provider at once, so that one that hangs leaves workers free."""


@dataclass(slots=True)
class Account:
    """A provider account that can be used.

    Attributes:
        resource: The FinetuneProvider as it was read.
        provider: What speaks to the provider.
        watcher: What polls its jobs.
        slots: Who may have a job.
        evaluations: Bounds how many models answer at the same time.
        deployed: Trials whose models are on machines that may cost by the hour.
        full_until: When a quota that refused a job may have room again; all sweeps wait for it.
        full_because: What refused it, for those who wait.
        busy: Trials that are in calls of the provider right now.
        queued: Trials that wait for one of these to end, the first that came first.
        wake: Has a trial looked at.
    """

    resource: FinetuneProvider
    provider: Provider
    watcher: JobWatcher
    fingerprint: str
    secret_read_at: float
    slots: JobSlots
    evaluations: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EVALUATIONS_AT_ONCE))
    deployed: set[Key] = field(default_factory=set)
    full_until: datetime | None = None
    full_because: str = ""
    busy: int = 0
    queued: dict[Key, None] = field(default_factory=dict)
    wake: Callable[[Key], None] = lambda _: None

    @contextmanager
    def lane(self, trial: Key) -> Iterator[bool]:
        """A place in the account's lane; false where all are taken, and the trial is woken when its turn comes."""
        if self.busy >= LANE_WIDTH:
            self.queued[trial] = None
            yield False
            return
        self.queued.pop(trial, None)
        self.busy += 1
        try:
            yield True
        finally:
            self.busy -= 1
            if self.queued:
                first = next(iter(self.queued))
                del self.queued[first]
                self.wake(first)

    def full_for(self, now: datetime) -> float:
        """Seconds until another job is worth asking for."""
        return 0.0 if self.full_until is None else max(0.0, (self.full_until - now).total_seconds())


class Accounts:
    """Opens accounts when they are first needed and opens them anew when their resource changes."""

    def __init__(
        self,
        store: Store,
        work_dir: Path,
        make_provider: ProviderFactory,
        *,
        changed: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
        load: Callable[[str], None] = lambda _: None,
        measure: Callable[[AccountName], Measure] | None = None,
    ) -> None:
        """Make an empty set.

        Args:
            store: Where providers and Secrets are.
            work_dir: Folder in which each account gets its own.
            make_provider: Makes providers from their configuration.
            changed: Is told the trial whose job ended, or whose turn it is.
            clock: Monotonic seconds.
            load: Imports what a type of provider needs; blocking. What it refuses, `make_provider` refuses too.
            measure: Measures an account's calls; None where nobody wants to know.
        """
        self._store = store
        self._work_dir = work_dir
        self._make_provider = make_provider
        self._changed = changed
        self._clock = clock
        self._load = load
        self._measure = measure
        self._open: dict[Key, Account] = {}
        # One for each account: a Secret that is slow to read holds up nobody else's trials.
        self._locks: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, namespace: str, name: str) -> Account:
        """The account of a FinetuneProvider.

        Raises:
            NotFound: There is no such FinetuneProvider, or its Secret is missing.
            PermanentProviderError: Its type or options are wrong.
        """
        key = Key("FinetuneProvider", namespace, name)
        async with self._locks[key]:
            resource = await self._store.get_provider(key)
            if resource is None:
                raise NotFound(
                    f"there is no FinetuneProvider {name!r} in namespace {namespace!r}; create it, or correct the "
                    "reference"
                )
            account = self._open.get(key)
            if account is not None and self._is_fresh(account, resource):
                return account
            read_at = self._clock()
            credentials = await self._credentials(namespace, resource)
            fingerprint = _fingerprint(resource, credentials)
            if account is not None and account.fingerprint == fingerprint:
                account.resource, account.secret_read_at = resource, read_at
                return account
            with suppress(PermanentProviderError):
                await asyncio.to_thread(self._load, resource.spec.type)
            provider, watcher = self._connect(key, self._config(key, resource, credentials))
            slots, deployed = await self._in_use(key, resource, account)
            self._open[key] = Account(
                resource,
                provider,
                watcher,
                fingerprint,
                read_at,
                slots,
                deployed=deployed,
                wake=self._changed,
            )
            if account is not None:
                try:
                    await _close(account)
                finally:
                    for trial in account.watcher.trials:
                        self._changed(trial)
            return self._open[key]

    def _connect(self, key: Key, config: ProviderConfig) -> tuple[Provider, JobWatcher]:
        provider = self._make_provider(config)
        about = {"namespace": key.namespace, "provider": key.name}
        if self._measure is None:
            return provider, JobWatcher(provider, self._changed, about=about)
        measure = self._measure(AccountName(key, config.type))
        measured = MeasuredProvider(provider, measure)
        return measured, JobWatcher(measured, self._changed, ended=measure.job_ended, about=about)

    def vitals(self, now: datetime) -> tuple[AccountVitals, ...]:
        """How the open accounts are."""
        return tuple(
            AccountVitals(
                AccountName(key, account.resource.spec.type),
                jobs=len(account.watcher.trials),
                poll_age_s=account.watcher.poll_age_s,
                full_for_s=account.full_for(now),
            )
            for key, account in self._open.items()
        )

    async def replaced(self, account: Account) -> bool:
        """Whether another account took this one's place, or does now that its Secret is read anew.

        A refusal by one that was replaced, as by a key that was rotated, says nothing of the one used now.

        Raises:
            NotFound, PermanentProviderError: As `get`.
        """
        account.secret_read_at = -math.inf
        metadata = account.resource.metadata
        return await self.get(metadata.namespace or "default", metadata.name) is not account

    async def _in_use(
        self, key: Key, resource: FinetuneProvider, before: Account | None
    ) -> tuple[JobSlots, set[Key]]:
        """The account's slots and the trials with models on machines: as they were, or as the trials say."""
        if before is not None:
            before.slots.limit = resource.spec.max_concurrent_jobs
            return before.slots, before.deployed
        slots = JobSlots(resource.spec.max_concurrent_jobs, wake=self._changed)
        trials = {
            key.sibling("FinetuneTrial", trial.name): trial
            for trial in await self._store.list_account_trials(key)
        }
        slots.take_in(trials.items())
        return slots, {trial_key for trial_key, trial in trials.items() if is_served(trial)}

    def leave(self, trial: Key) -> None:
        """A trial has no job and asks for none: whoever waits for its slot may have it."""
        for key, account in self._open.items():
            if key.namespace == trial.namespace:
                account.slots.give_back(trial)

    def forget_trial(self, trial: Key) -> None:
        """A trial has ended or is gone: it keeps no slot, no watch and no place on machines."""
        self.leave(trial)
        for account in self._open.values():
            account.deployed.discard(trial)
            account.watcher.unwatch_trial(trial)

    def last_known(self, namespace: str, name: str) -> Account | None:
        """The account as it was used last, though its FinetuneProvider or its Secret may be gone by now."""
        return self._open.get(Key("FinetuneProvider", namespace, name))

    def _is_fresh(self, account: Account, resource: FinetuneProvider) -> bool:
        """Whether nothing changed since the account was opened, as far as is worth asking."""
        same = account.resource.metadata.resource_version == resource.metadata.resource_version
        return same and self._clock() - account.secret_read_at < SECRET_AGAIN_S

    def watched(self) -> tuple[Account, ...]:
        """All open accounts."""
        return tuple(self._open.values())

    async def close(self) -> None:
        """Close all accounts."""
        for account in self._open.values():
            await _close(account)
        self._open.clear()

    async def _credentials(self, namespace: str, resource: FinetuneProvider) -> Mapping[str, str]:
        reference = resource.spec.credentials_secret_ref
        return {} if reference is None else await self._store.get_secret(namespace, reference.name)

    def _config(self, key: Key, resource: FinetuneProvider, credentials: Mapping[str, str]) -> ProviderConfig:
        spec = resource.spec
        endpoints = spec.endpoints.to_dict() if spec.endpoints is not None else {}
        return ProviderConfig(
            name=key.name,
            type=spec.type,
            work_dir=self._work_dir / "providers" / key.namespace / key.name,
            options=spec.type_options,
            credentials=credentials,
            max_concurrent_jobs=spec.max_concurrent_jobs,
            requests_per_minute=spec.requests_per_minute,
            # A path is put behind each of them: https://host/v1/ and https://host/v1 are the same place.
            endpoint=None if spec.endpoint is None else spec.endpoint.rstrip("/"),
            endpoints={service: url.rstrip("/") for service, url in endpoints.items()},
            region=spec.region,
            project=spec.project,
            data_uri=None if spec.data_uri is None else spec.data_uri.rstrip("/"),
            models=spec.catalog_entries,
        )


async def _close(account: Account) -> None:
    await account.watcher.close()
    await account.provider.aclose()


def _fingerprint(resource: FinetuneProvider, credentials: Mapping[str, str]) -> str:
    # Prices, with their source and date, are read from the resource each time; a new one needs no new connection.
    spec = resource.spec.model_copy(update={"prices": ()}).to_dict()
    text = json.dumps([spec, dict(credentials)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
