from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.hosted_contract import Connect, HostedContract, Operations
from tests.fakes.azure_openai_server import SUBSCRIPTION, AzureOpenAIServer, Identity
from tests.fakes.hosted import HostedCompany

from finetune_providers.azure_openai import create
from finetune_providers.base import ParameterValue, Provider, ProviderConfig


class AzureContract(HostedContract):
    operations = Operations(
        create="jobs.create",
        observe="jobs.list",
        cancel="jobs.cancel",
        answer="chat",
        upload="files.create",
        deploy="arm.put",
    )

    @pytest.fixture
    def server(self) -> Iterator[AzureOpenAIServer]:
        with AzureOpenAIServer() as server:
            yield server
        assert server.violations == []

    @pytest.fixture
    def credentials(self) -> Mapping[str, str]:
        return {}

    @pytest.fixture
    def connect(self, tmp_path: Path, credentials: Mapping[str, str]) -> Connect:
        def connect(server: HostedCompany) -> Provider:
            config = ProviderConfig(
                name="azure",
                type="AzureOpenAI",
                work_dir=tmp_path / "work",
                endpoint=server.url,
                endpoints={"management": server.url},
                credentials=credentials,
                options={"subscription": SUBSCRIPTION, "resourceGroup": "ml", "account": "acme-openai"},
            )
            return create(config, credential=Identity(server.secret))

        return connect

    @pytest.fixture
    def base_model(self) -> str:
        return "gpt-4.1-mini-2025-04-14"

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 2, "batchSize": 4, "learningRateMultiplier": 0.1}


class TestAzureOpenAI(AzureContract):
    """With an identity of Microsoft Entra alone."""


class TestAzureOpenAIWithKey(AzureContract):
    """With the resource's key for the data plane, and an identity for deployments."""

    @pytest.fixture
    def credentials(self) -> Mapping[str, str]:
        return {"AZURE_OPENAI_API_KEY": AzureOpenAIServer.secret}
