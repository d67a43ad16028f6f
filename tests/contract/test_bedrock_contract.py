"""Bedrock, over a server that holds every request and every answer against AWS's own service models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.hosted_contract import Connect, HostedContract, Operations
from tests.fakes.bedrock_server import BUCKET, KEY_ID, REGION, ROLE, SESSION_TOKEN, BedrockServer
from tests.fakes.hosted import HostedCompany

from finetune_providers.base import ParameterValue, Provider, ProviderConfig
from finetune_providers.registry import create


class TestBedrock(HostedContract):
    unpacks = False  # botocore takes an answer as it comes
    operations = Operations(
        create="create", observe="list", cancel="stop", answer="converse", upload="put", deploy="deploy"
    )

    @pytest.fixture
    def server(self) -> Iterator[BedrockServer]:
        with BedrockServer() as server:
            server.session_token = SESSION_TOKEN
            yield server
        assert not server.violations

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        def connect(server: HostedCompany) -> Provider:
            return create(
                ProviderConfig(
                    name="bedrock",
                    type="Bedrock",
                    work_dir=tmp_path / "work",
                    options={"roleArn": ROLE},
                    credentials={
                        "AWS_ACCESS_KEY_ID": KEY_ID,
                        "AWS_SECRET_ACCESS_KEY": server.secret,
                        "AWS_SESSION_TOKEN": SESSION_TOKEN,
                    },
                    endpoint=server.url,
                    region=REGION,
                    data_uri=f"s3://{BUCKET}/tuning",
                )
            )

        return connect

    @pytest.fixture
    def base_model(self) -> str:
        return "amazon.nova-lite-v1:0:300k"

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 2, "learningRate": 2e-5, "learningRateWarmupSteps": 5}
