from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.hosted_contract import Connect, HostedContract, Operations
from tests.fakes.hosted import HostedCompany
from tests.fakes.vertex_ai_server import VertexAIServer, config_for

from finetune_providers.base import ParameterValue, Provider
from finetune_providers.vertex_ai import create


class TestVertexAI(HostedContract):
    operations = Operations(
        create="create", observe="list", cancel="cancel", answer="answer", upload="upload"
    )

    @pytest.fixture
    def server(self) -> Iterator[VertexAIServer]:
        with VertexAIServer() as server:
            yield server
        assert server.violations == []

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        def connect(server: HostedCompany) -> Provider:
            assert isinstance(server, VertexAIServer)
            return create(config_for(server, tmp_path / "work"))

        return connect

    @pytest.fixture
    def base_model(self) -> str:
        return "gemini-2.5-flash"

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 3, "learningRateMultiplier": 1.5, "loraRank": 4}
