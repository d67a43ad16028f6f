"""The promises of every hosted provider, held by `Cohere` against a server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.contract.hosted_contract import Connect, HostedContract, Operations
from tests.contract.provider_contract import Settle
from tests.fakes.cohere_server import CohereServer
from tests.fakes.hosted import HostedCompany

from finetune_providers.base import JobRequest, JobState, ParameterValue, Provider, ProviderConfig
from finetune_providers.cohere import create


async def no_wait(_: float) -> None:
    """Cohere's validation goes on with every look at it."""


class TestCohere(HostedContract):
    operations = Operations(create="create", observe="list", cancel="delete", answer="chat", upload="upload")
    shows_deleted = False

    @pytest.fixture
    def server(self) -> Iterator[HostedCompany]:
        with CohereServer() as server:
            server.shows_deleted = self.shows_deleted
            yield server
            assert server.violations == []

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        def connect(server: HostedCompany) -> Provider:
            return create(
                ProviderConfig(
                    name="cohere",
                    type="Cohere",
                    work_dir=tmp_path / "account",
                    credentials={"CO_API_KEY": server.secret},
                    endpoint=server.url,
                ),
                sleep=no_wait,
            )

        return connect

    @pytest.fixture
    def base_model(self) -> str:
        return "command-r-08-2024"

    @pytest.fixture
    def quick(self) -> Mapping[str, ParameterValue]:
        return {"epochs": 2, "batchSize": 4, "learningRate": 0.01}

    async def test_a_job_that_fails_says_why(
        self, server: HostedCompany, provider: Provider, request_quick: JobRequest, settle: Settle
    ) -> None:
        """Replaced: Cohere's API has no field for the reason of a failure, and says so instead."""
        server.next_failure = "the training file has too few tokens"
        job = await provider.submit(request_quick)
        done = await settle(provider, job.job_id)
        assert done.state is JobState.FAILED
        assert "gives no reason" in done.message
        assert done.fine_tuned_model is None


class TestCohereThatShowsDeletedModels(TestCohere):
    """Whether a deleted model can still be seen is not documented: nothing may depend on it."""

    shows_deleted = True
