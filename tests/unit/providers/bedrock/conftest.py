from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bedrock_server import BUCKET, KEY_ID, REGION, ROLE, BedrockServer

from finetune_providers.base import DatasetFile, JobRequest, Message, Provider, ProviderConfig
from finetune_providers.bedrock import create

KEY = "ft-0123456789abcdef0123-a1"
NOVA = "amazon.nova-lite-v1:0:300k"

Connect = Callable[..., Provider]
Write = Callable[..., DatasetFile]


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's own AWS configuration plays no part."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture
def server() -> Iterator[BedrockServer]:
    with BedrockServer() as server:
        yield server
    assert not server.violations


@pytest.fixture
def config(server: BedrockServer, tmp_path: Path) -> Callable[..., ProviderConfig]:
    def config(**changes: Any) -> ProviderConfig:
        options = {"roleArn": ROLE, **changes.pop("options", {})}
        plain: dict[str, Any] = {
            "name": "bedrock",
            "type": "Bedrock",
            "work_dir": tmp_path / "work",
            "options": options,
            "credentials": {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": server.secret},
            "endpoint": server.url,
            "region": REGION,
            "data_uri": f"s3://{BUCKET}/tuning",
        }
        return ProviderConfig(**{**plain, **changes})

    return config


@pytest.fixture
async def connect(config: Callable[..., ProviderConfig]) -> AsyncIterator[Connect]:
    made: list[Provider] = []

    def connect(**changes: Any) -> Provider:
        made.append(create(config(**changes)))
        return made[-1]

    yield connect
    for provider in made:
        await provider.aclose()


@pytest.fixture
def provider(connect: Connect) -> Provider:
    return connect()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(
        count: int = 10, *, conversations: Sequence[Sequence[Message]] = (), scope: str = "fts-1"
    ) -> DatasetFile:
        rows = list(conversations) or [
            [{"role": "user", "content": f"say {number}"}, {"role": "assistant", "content": f"{number}"}]
            for number in range(count)
        ]
        content = "".join(json.dumps({"messages": row}) + "\n" for row in rows).encode()
        digest = hashlib.sha256(content).hexdigest()
        path = tmp_path / f"{digest}.jsonl"
        path.write_bytes(content)
        return DatasetFile(path, digest, len(rows), scope)

    return write


@pytest.fixture
async def request_nova(provider: Provider, write: Write) -> JobRequest:
    return JobRequest(
        key=KEY,
        base_model=NOVA,
        hyperparameters={"epochs": 2, "learningRate": 1e-5},
        training=await provider.upload(write(), base_model=NOVA),
        validation=await provider.upload(write(3), base_model=NOVA),
        labels={"sweep": "support", "trial": "support-0"},
    )
