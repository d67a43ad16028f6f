"""One bad sweep holds up no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.contract.patience import PATIENCE_S
from tests.fakes.company import Company, factory

from finetune_operator.evaluation import fetch, sources
from finetune_operator.lifecycle.accounts import Accounts
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import (
    API_VERSION,
    DataSource,
    FinetuneProvider,
    FinetuneTrial,
    parse_resource,
)


async def test_a_source_that_does_not_answer_takes_no_thread_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def dribble(uri: str, **_: Any) -> Iterator[bytes]:
        released.wait(2 * PATIENCE_S)
        yield b""

    monkeypatch.setattr(sources, "_read", dribble)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    source = DataSource(uri="https://tarpit.example/train.jsonl")
    fetching = asyncio.ensure_future(
        fetch(
            source, field="spec.dataset.training", into=tmp_path, config_map=lambda *_: asyncio.sleep(0, "")
        )
    )
    await asyncio.sleep(0.05)
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "decided"), PATIENCE_S) == "decided"
    finally:
        released.set()
        await asyncio.gather(fetching, return_exceptions=True)


class SlowSecrets:
    """A store whose one Secret does not come."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def get_provider(self, key: Key) -> FinetuneProvider:
        reference = {"credentialsSecretRef": {"name": "s"}} if key.name == "slow" else {}
        metadata = {"name": key.name, "namespace": key.namespace, "resourceVersion": "1"}
        manifest = {"apiVersion": API_VERSION, "kind": "FinetuneProvider", "metadata": metadata}
        return parse_resource(FinetuneProvider, {**manifest, "spec": {"type": "Acme", **reference}})

    async def list_account_trials(self, provider: Key) -> tuple[FinetuneTrial, ...]:
        return ()

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, str]:
        self.asked.set()
        await asyncio.Event().wait()
        return {}


async def test_a_secret_that_is_slow_to_read_holds_up_its_own_account_only(tmp_path: Path) -> None:
    store: Any = SlowSecrets()
    accounts = Accounts(store, tmp_path, factory(Company()), changed=lambda _: None)
    waiting = asyncio.ensure_future(accounts.get("a", "slow"))
    await store.asked.wait()
    account = await asyncio.wait_for(accounts.get("b", "quick"), PATIENCE_S)
    assert account.resource.name == "quick"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await accounts.close()
