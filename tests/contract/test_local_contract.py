from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from tests.contract.provider_contract import NewProvider, ProviderContract
from tests.contract.tiny_model import write_tiny_model

from finetune_providers.base import ParameterValue, Provider, ProviderConfig
from finetune_providers.registry import create


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.mark.lora
class TestLocalProvider(ProviderContract):
    @pytest.fixture
    def base_model(self, tiny_model: str) -> str:
        return tiny_model

    @pytest.fixture
    async def new_provider(self, tmp_path: Path) -> AsyncIterator[NewProvider]:
        made: list[Provider] = []

        def new() -> Provider:
            config = ProviderConfig(
                name="here", type="Local", work_dir=tmp_path / "work", options={"device": "cpu"}
            )
            made.append(create(config))
            return made[-1]

        yield new
        for provider in made:
            await provider.aclose()

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 12, "batchSize": 4, "learningRate": 1e-2, "loraRank": 16, "loraAlpha": 32}

    @pytest.fixture
    def endless(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 100, "batchSize": 1, "learningRate": 1e-4}
