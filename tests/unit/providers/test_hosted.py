"""What every hosted provider reads of its account in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune_providers.base import ProviderConfig
from finetune_providers.errors import PermanentProviderError
from finetune_providers.registry import create

ACCOUNTS: dict[str, dict[str, Any]] = {
    "AzureOpenAI": {
        "credentials": {"AZURE_OPENAI_API_KEY": "key-of-a-test"},
        "options": {"subscription": "s", "resourceGroup": "g", "account": "a"},
    },
    "Bedrock": {
        "credentials": {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "key-of-a-test"},
        "options": {"roleArn": "arn:aws:iam::123456789012:role/tuner"},
        "region": "us-east-1",
        "data_uri": "s3://bucket/folder",
    },
    "Cohere": {"credentials": {"CO_API_KEY": "key-of-a-test"}},
    "GoogleAIStudio": {"credentials": {"GEMINI_API_KEY": "key-of-a-test"}},
    "OpenAI": {"credentials": {"OPENAI_API_KEY": "key-of-a-test"}},
    "VertexAI": {"project": "p", "region": "us-central1", "data_uri": "gs://bucket/folder"},
}


def config_of(kind: str, tmp_path: Path, *, poll: object = None) -> ProviderConfig:
    account = dict(ACCOUNTS[kind])
    options = dict(account.pop("options", {}))
    if poll is not None:
        options["pollIntervalSeconds"] = poll
    return ProviderConfig(name="account", type=kind, work_dir=tmp_path, options=options, **account)


@pytest.mark.parametrize("kind", ACCOUNTS)
@pytest.mark.parametrize(
    "poll",
    ["0", "-1", "nan", "inf", "-inf", "1e300", "soon", "", "30 s", 0, -0.5, True, False, float("nan"), []],
)
def test_a_poll_interval_that_is_none_is_refused(kind: str, poll: object, tmp_path: Path) -> None:
    with pytest.raises(PermanentProviderError, match="number of seconds above 0 and up to 86,400") as caught:
        create(config_of(kind, tmp_path, poll=poll))
    assert caught.value.field == "spec.options.pollIntervalSeconds"


@pytest.mark.parametrize("kind", ACCOUNTS)
@pytest.mark.parametrize(("poll", "seconds"), [(None, 30.0), ("0.5", 0.5), ("86400", 86_400.0), (7, 7.0)])
async def test_how_often_jobs_are_looked_at_can_be_said(
    kind: str, poll: object, seconds: float, tmp_path: Path
) -> None:
    provider = create(config_of(kind, tmp_path, poll=poll))
    assert provider.capabilities.poll_interval_s == seconds
    await provider.aclose()


@pytest.mark.parametrize("kind", ACCOUNTS)
async def test_what_is_sold_is_what_the_catalog_says(kind: str, tmp_path: Path) -> None:
    provider = create(config_of(kind, tmp_path))
    assert provider.offer.message
    names = provider.model_names()
    assert names
    assert all(provider.model_rules(name) is not None for name in names)
    assert provider.model_rules("no model of theirs") is None
    await provider.aclose()
