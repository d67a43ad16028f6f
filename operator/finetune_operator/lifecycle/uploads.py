"""Datasets on their way to providers: in the background, once for all trials that wait for the same one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.store import Key
from finetune_providers.base import DatasetFile
from finetune_providers.errors import ProviderError

BELIEVED_FOR_S = 600.0
"""How long an upload is taken to be there; after that the provider is asked again, which uploads nothing twice."""


FAILURE_IS_NEWS_S = 30.0
"""For so long those that waited for an upload are told that it failed; who comes later has it tried again."""


@dataclass(slots=True)
class _Failure:
    error: ProviderError
    account: Account
    at: float
    untold: set[Key]


class Uploads:
    """What was uploaded by this process, and what is being uploaded."""

    def __init__(
        self,
        background: BackgroundWork,
        *,
        enqueue: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Upload in the background and have trials that wait looked at."""
        self._background = background
        self._enqueue = enqueue
        self._clock = clock
        self._known: dict[tuple[str, ...], tuple[str, float, Account]] = {}
        self._waiting: dict[tuple[str, ...], set[Key]] = {}
        self._woken: dict[tuple[str, ...], set[Key]] = {}
        self._failed: dict[tuple[str, ...], _Failure] = {}

    def reference(
        self, account: Account, namespace: str, dataset: DatasetFile, *, base_model: str, waiter: Key
    ) -> str | None:
        """The provider's reference of a dataset, or None while it is uploaded; the waiter is looked at then.

        Raises:
            ProviderError: The upload failed, which each that waited for it is told; asked for again it is tried again.
        """
        name = ("upload", namespace, account.resource.name, dataset.scope, dataset.content_hash, base_model)
        reference, at, opened = self._known.get(name, ("", 0.0, None))
        if opened is account and self._clock() - at < BELIEVED_FOR_S:
            return reference
        if (error := self._take_failure(name, account, waiter)) is not None:
            raise error
        outcome: tuple[Account, str | ProviderError] | None = self._background.outcome(name)
        self._background.forget(name)
        # What an account answered that was opened anew since says nothing of the one that is used now.
        if outcome is not None and outcome[0] is account:
            waited = self._woken.pop(name, set())
            if isinstance(outcome[1], ProviderError):
                self._failed[name] = _Failure(outcome[1], account, self._clock(), waited - {waiter})
                raise outcome[1]
            self._known[name] = (outcome[1], self._clock(), account)
            return outcome[1]
        self._waiting.setdefault(name, set()).add(waiter)
        self._background.start(
            name, lambda: _upload(account, dataset, base_model), then=lambda: self._wake(name)
        )
        return None

    def _take_failure(self, name: tuple[str, ...], account: Account, waiter: Key) -> ProviderError | None:
        """Why the upload failed that the waiter waited for; told once."""
        failure = self._failed.get(name)
        if failure is None:
            return None
        if failure.account is not account or self._clock() - failure.at > FAILURE_IS_NEWS_S:
            del self._failed[name]
            return None
        if waiter not in failure.untold:
            return None
        failure.untold.discard(waiter)
        return failure.error

    def forget(self, scope: str) -> None:
        """The uploads of a scope are deleted, or about to be."""
        for name in [each for each in (*self._failed, *self._woken) if each[3] == scope]:
            self._failed.pop(name, None)
            self._woken.pop(name, None)
        for name in [each for each in self._known if each[3] == scope]:
            del self._known[name]
        for name in self._begun(scope):
            self._background.forget(name)

    def go_on(self, scope: str, *, waiter: Key) -> bool:
        """Whether uploads of a forgotten scope go on; the waiter is looked at when one has ended."""
        names = self._begun(scope)
        for name in names:
            self._waiting.setdefault(name, set()).add(waiter)
        return bool(names)

    def _begun(self, scope: str) -> list[tuple[str, ...]]:
        names = self._background.names()
        return [
            each for each in names if isinstance(each, tuple) and each[0] == "upload" and each[3] == scope
        ]

    def _wake(self, name: tuple[str, ...]) -> None:
        waiters = self._woken[name] = self._waiting.pop(name, set())
        for waiter in waiters:
            self._enqueue(waiter)


async def _upload(
    account: Account, dataset: DatasetFile, base_model: str
) -> tuple[Account, str | ProviderError]:
    try:
        return account, await account.provider.upload(dataset, base_model=base_model)
    except ProviderError as error:
        return account, error
