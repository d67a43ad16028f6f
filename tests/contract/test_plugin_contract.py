"""The example plugin keeps the promises that every provider makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from tests.contract.plugin_package import install_plugin
from tests.contract.provider_contract import NewProvider, ProviderContract

from finetune_providers.base import ParameterValue, Provider, ProviderConfig
from finetune_providers.registry import create


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_plugin(tmp_path_factory.mktemp("plugin"))


class TestExamplePlugin(ProviderContract):
    @pytest.fixture
    async def new_provider(
        self, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[NewProvider]:
        monkeypatch.syspath_prepend(str(installed))
        made: list[Provider] = []

        def new() -> Provider:
            made.append(create(ProviderConfig(name="words", type="Example", work_dir=tmp_path / "work")))
            return made[-1]

        yield new
        for provider in made:
            await provider.aclose()

    @pytest.fixture
    def base_model(self) -> str:
        return "bag-of-words"

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 20, "learningRate": 0.5}

    @pytest.fixture
    def endless(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 100_000, "learningRate": 0.5}
