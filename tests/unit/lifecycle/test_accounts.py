"""What a provider is told of its FinetuneProvider, and which edits make a new connection."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.company import Company, CompanyProvider, factory
from tests.unit.lifecycle.bench import Bench
from tests.unit.lifecycle.conftest import MakeBench

from finetune_operator.lifecycle.accounts import Account, Accounts
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import FinetuneProvider, FinetuneTrial, TrialPhase, parse_resource
from finetune_operator.resources.common import NameRef
from finetune_providers.base import Provider, ProviderConfig
from finetune_providers.errors import PermanentProviderError
from samples import GOOD


class OneProvider:
    """A store with one FinetuneProvider, which a test edits."""

    def __init__(self, stem: str) -> None:
        self.manifest = copy.deepcopy(next(good.manifest for good in GOOD if str(good) == stem))
        self.edits = 0

    async def get_provider(self, key: Key) -> FinetuneProvider:
        self.edits += 1
        metadata = {
            **self.manifest["metadata"],
            "namespace": key.namespace,
            "resourceVersion": str(self.edits),
        }
        return parse_resource(FinetuneProvider, {**self.manifest, "metadata": metadata})

    async def list_account_trials(self, provider: Key) -> tuple[FinetuneTrial, ...]:
        return ()

    async def get_secret(self, namespace: str, name: str) -> Mapping[str, str]:
        return {"key": f"{namespace}/{name}"}


class Opened:
    """Accounts over that store, and the configurations that providers were made of."""

    def __init__(self, store: OneProvider, work_dir: Path) -> None:
        self.store = store
        self.configs: list[ProviderConfig] = []
        self._make = factory(Company())
        typed: Any = store
        self.accounts = Accounts(typed, work_dir, self._remember, changed=lambda _: None)

    def _remember(self, config: ProviderConfig) -> Provider:
        self.configs.append(config)
        return self._make(config)

    async def get(self) -> Account:
        return await self.accounts.get("a", self.store.manifest["metadata"]["name"])


async def test_provider_is_told_all_that_its_resource_says(tmp_path: Path) -> None:
    opened = Opened(OneProvider("provider-bedrock"), tmp_path)
    await opened.get()
    (config,) = opened.configs
    assert config == ProviderConfig(
        name="bedrock-us",
        type="Bedrock",
        options={
            "pollIntervalSeconds": "30",
            "customization.type": "",
            "roleArn": "arn:aws:iam::123456789012:role/finetune/bedrock",
            "customerKmsKey": "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-1111-2222-333344445555",
        },
        credentials={"key": "a/bedrock"},
        work_dir=tmp_path / "providers" / "a" / "bedrock-us",
        max_concurrent_jobs=2,
        requests_per_minute=60,
        endpoint="https://bedrock.vpce-0a1.us-east-1.vpce.amazonaws.com",
        endpoints={
            "storage": "http://127.0.0.1:9000",
            "inference": "https://bedrock-runtime.us-east-1.amazonaws.com",
            "management": "https://[2001:db8::1]:8443/manage",
            "login": "https://sts.us-east-1.amazonaws.com",
        },
        region="us-east-1",
        data_uri="s3://acme-finetuning/datasets",
    )
    await opened.accounts.close()


async def test_slash_at_the_end_of_an_address_is_no_part_of_it(tmp_path: Path) -> None:
    opened = Opened(OneProvider("provider-azure-openai"), tmp_path)
    await opened.get()
    assert [config.endpoint for config in opened.configs] == ["https://acme.openai.azure.com"]
    await opened.accounts.close()


async def test_project_and_own_base_models_are_handed_on(tmp_path: Path) -> None:
    opened = Opened(OneProvider("provider-own-models"), tmp_path)
    await opened.get()
    (config,) = opened.configs
    assert (config.project, config.data_uri) == ("acme.com:finetuning-1", "gs://acme-finetuning")
    assert config.models["gemini-next-flash"] == {
        "like": "gemini-2.5-flash",
        "note": "released after the operator",
    }
    assert len(config.models) == 3
    await opened.accounts.close()


@pytest.mark.parametrize(
    ("edit", "connections"),
    [
        ({}, 1),
        ({"prices": []}, 1),
        ({"prices": [{"trainingPerMillionTokens": "9.00", "servingPerHour": "1.00"}]}, 1),
        ({"prices": [{"trainingPerMillionTokens": "2.00", "source": "a page", "asOf": "2026-11-25"}]}, 1),
        ({"region": "us-west-2"}, 2),
        ({"endpoint": "https://other.example.com"}, 2),
        ({"requestsPerMinute": 61}, 2),
        ({"options": {"pollIntervalSeconds": "31"}}, 2),
        ({"models": [{"name": "new", "like": "amazon.nova-lite-v1:0:300k"}]}, 2),
    ],
    ids=str,
)
async def test_a_price_needs_no_new_connection_and_what_reaches_the_provider_does(
    edit: dict[str, Any], connections: int, tmp_path: Path
) -> None:
    opened = Opened(OneProvider("provider-bedrock"), tmp_path)
    await opened.get()
    opened.store.manifest["spec"].update(edit)
    account = await opened.get()
    assert len(opened.configs) == connections
    # The resource is the new one in any case: prices are read from it.
    assert account.resource.metadata.resource_version == "2"
    await opened.accounts.close()


class Rotating:
    """A bench whose provider's key lies in a Secret, and a company that knows which key it takes."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key = "old"
        self.accepted = "old"
        self.bench = bench
        bench.edit_provider(credentials_secret_ref=NameRef(name="acme"))

        async def secret(namespace: str, name: str) -> Mapping[str, str]:
            return {"key": self.key}

        monkeypatch.setattr(bench.store, "get_secret", secret)
        monkeypatch.setattr(bench.context.accounts, "_make_provider", self._make)

    def _make(self, config: ProviderConfig) -> Provider:
        provider = CompanyProvider(self.bench.company)
        for name in ("submit", "deploy"):
            setattr(provider, name, self._checked(getattr(provider, name), config))
        inference = provider.inference

        def asked(model: str) -> Any:
            self._check(config)
            return inference(model)

        provider.inference = asked  # type: ignore[method-assign]
        return provider

    def _checked(self, method: Any, config: ProviderConfig) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._check(config)
            return await method(*args, **kwargs)

        return call

    def _check(self, config: ProviderConfig) -> None:
        if config.credentials["key"] != self.accepted:
            raise PermanentProviderError("401, the key was revoked", field="spec.credentialsSecretRef")

    def rotate(self) -> None:
        self.key = self.accepted = "new"


ONE = {"limits": {"maxTrials": 1}}


async def test_a_key_that_is_rotated_before_a_purchase_fails_no_trial(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**ONE)
    rotating = Rotating(bench, monkeypatch)
    await bench.launched()
    rotating.rotate()
    await bench.until(bench.trial_key(), lambda: bench.store._contents.trials.all()[0].status.create)
    assert (await bench.trial()).phase is TrialPhase.PENDING
    bench.later(2)
    await bench.training()
    assert len(bench.company.purchases) == 1


@pytest.mark.parametrize("deployed", [False, True])
async def test_a_key_that_is_rotated_during_an_evaluation_fails_no_trial(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, deployed: bool
) -> None:
    bench = await make_bench(**ONE)
    bench.company.capabilities = replace(bench.company.capabilities, needs_deployment=deployed)
    rotating = Rotating(bench, monkeypatch)
    await bench.launched()

    async def evaluating() -> bool:
        return (await bench.trial()).phase is TrialPhase.EVALUATING

    await bench.until(bench.trial_key(), evaluating)
    rotating.rotate()
    await bench.evaluated()
    assert (await bench.trial()).phase is TrialPhase.SUCCEEDED


async def test_a_key_that_is_revoked_fails_the_trial_that_it_was_used_for(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**ONE)
    rotating = Rotating(bench, monkeypatch)
    await bench.launched()
    rotating.accepted = "new"
    await bench.evaluated()
    assert (await bench.trial()).status.reason == "CreateRefused"


async def test_a_key_that_is_rotated_before_the_base_model_is_asked_does_not_cost_its_score(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**ONE)
    rotating = Rotating(bench, monkeypatch)
    await bench.launched()
    await bench.evaluated()
    rotating.rotate()
    await bench.until(bench.sweep_key, lambda: bench.store.sweep.status.finished)
    best = bench.store.sweep.status.best
    assert best is not None
    assert best.base_score == bench.company.base_quality


async def test_a_connection_that_cannot_be_closed_keeps_no_job_from_being_watched(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await make_bench(**ONE)
    bench.company.hold = True
    await bench.launched()
    await bench.training()
    await bench.look(bench.trial_key())

    async def broken(_: CompanyProvider) -> None:
        raise RuntimeError("the connection is broken")

    with monkeypatch.context() as patched:
        patched.setattr(CompanyProvider, "aclose", broken)
        bench.edit_provider(requests_per_minute=61)
        bench.told.clear()
        with suppress(RuntimeError):
            await bench.look(bench.provider_key)
    assert bench.trial_key() in bench.told
