from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.provider_contract import write_dataset
from tests.contract.tiny_model import write_tiny_model

from finetune_providers.base import JobRequest, ProviderConfig
from finetune_providers.local_lora import LocalProvider, create
from unit.local_lora.helpers import NewProvider, NewRequest


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
async def new_provider(work_dir: Path) -> AsyncIterator[NewProvider]:
    """Makes providers over one account and closes them at the end."""
    made: list[LocalProvider] = []

    def new(**changes: Any) -> LocalProvider:
        config = {"name": "here", "type": "Local", "work_dir": work_dir, "options": {"device": "cpu"}}
        made.append(create(ProviderConfig(**{**config, **changes})))
        return made[-1]

    yield new
    for provider in made:
        await provider.aclose()


@pytest.fixture
def new_request(tmp_path: Path, tiny_model: str) -> NewRequest:
    """Makes a request over the small dataset; hyperparameters are given by name."""

    async def new(provider: LocalProvider, key: str, *, model: str = tiny_model, **values: Any) -> JobRequest:
        training = await provider.upload(write_dataset(tmp_path / "train.jsonl", repeat=4), base_model="any")
        validation = await provider.upload(write_dataset(tmp_path / "valid.jsonl"), base_model="any")
        chosen = {"epochs": 2, "batchSize": 4, "learningRate": 1e-2, "loraRank": 4, **values}
        return JobRequest(key, model, hyperparameters=chosen, training=training, validation=validation)

    return new
