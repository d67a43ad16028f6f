from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.hosted_contract import Connect, HostedContract, Operations
from tests.fakes.google_ai_studio_server import BASE_MODEL, GoogleAIStudioServer
from tests.fakes.hosted import HostedCompany

from finetune_providers.base import ParameterValue, Provider, ProviderConfig
from finetune_providers.registry import create


class TestGoogleAIStudio(HostedContract):
    operations = Operations(create="create", observe="list", cancel="delete", answer="answer")

    @pytest.fixture
    def server(self) -> Iterator[GoogleAIStudioServer]:
        with GoogleAIStudioServer() as server:
            yield server
        assert not server.violations

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        def connect(server: HostedCompany) -> Provider:
            return create(
                ProviderConfig(
                    name="studio",
                    type="GoogleAIStudio",
                    work_dir=tmp_path / "work",
                    credentials={"GEMINI_API_KEY": server.secret},
                    endpoint=server.url,
                )
            )

        return connect

    @pytest.fixture
    def base_model(self) -> str:
        return BASE_MODEL

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 3, "batchSize": 4, "learningRateMultiplier": 0.5}
