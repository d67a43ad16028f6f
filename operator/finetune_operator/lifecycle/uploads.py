"""Datasets on their way to providers: in the background, once for all trials that wait for the same one."""

from __future__ import annotations

import time
from collections.abc import Callable

from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.background import BackgroundWork
from finetune_operator.lifecycle.store import Key
from finetune_providers.base import DatasetFile
from finetune_providers.errors import ProviderError

BELIEVED_FOR_S = 600.0
"""How long an upload is taken to be there; after that the provider is asked again, which uploads nothing twice."""


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

    def reference(
        self, account: Account, namespace: str, dataset: DatasetFile, *, base_model: str, waiter: Key
    ) -> str | None:
        """The provider's reference of a dataset, or None while it is uploaded; the waiter is looked at then.

        Raises:
            ProviderError: The upload failed; asked for again it is tried again.
        """
        name = ("upload", namespace, account.resource.name, dataset.scope, dataset.content_hash, base_model)
        reference, at, opened = self._known.get(name, ("", 0.0, None))
        if opened is account and self._clock() - at < BELIEVED_FOR_S:
            return reference
        outcome: tuple[Account, str | ProviderError] | None = self._background.outcome(name)
        self._background.forget(name)
        # What an account answered that was opened anew since says nothing of the one that is used now.
        if outcome is not None and outcome[0] is account:
            if isinstance(outcome[1], ProviderError):
                raise outcome[1]
            self._known[name] = (outcome[1], self._clock(), account)
            return outcome[1]
        self._waiting.setdefault(name, set()).add(waiter)
        self._background.start(
            name, lambda: _upload(account, dataset, base_model), then=lambda: self._wake(name)
        )
        return None

    def forget(self, scope: str) -> None:
        """The uploads of a scope are deleted, or about to be."""
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
        for waiter in self._waiting.pop(name, ()):
            self._enqueue(waiter)


async def _upload(
    account: Account, dataset: DatasetFile, base_model: str
) -> tuple[Account, str | ProviderError]:
    try:
        return account, await account.provider.upload(dataset, base_model=base_model)
    except ProviderError as error:
        return account, error
