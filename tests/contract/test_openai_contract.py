from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.hosted_contract import Connect, HostedContract, Operations
from tests.fakes.hosted import HostedCompany
from tests.fakes.openai_server import OpenAIServer

from finetune_providers.base import ParameterValue, Provider, ProviderConfig
from finetune_providers.registry import create


class TestOpenAI(HostedContract):
    operations = Operations(
        create="jobs.create",
        observe="jobs.list",
        cancel="jobs.cancel",
        answer="chat",
        upload="files.create",
    )

    @pytest.fixture
    def server(self) -> Iterator[OpenAIServer]:
        with OpenAIServer() as server:
            yield server
        assert server.violations == []

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        def connect(server: HostedCompany) -> Provider:
            return create(
                ProviderConfig(
                    name="openai",
                    type="OpenAI",
                    work_dir=tmp_path / "work",
                    endpoint=f"{server.url}/v1",
                    credentials={"OPENAI_API_KEY": server.secret},
                )
            )

        return connect

    @pytest.fixture
    def base_model(self) -> str:
        return "gpt-4.1-mini-2025-04-14"

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 2, "batchSize": 4, "learningRateMultiplier": 0.5}
