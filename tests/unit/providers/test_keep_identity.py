"""The operator's own cloud identity is shown to no address that a manifest names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetune_providers import registry
from finetune_providers.base import ProviderConfig
from finetune_providers.errors import PermanentProviderError

THEIRS = "https://collects-tokens.example"
WITHOUT_SECRET = {
    "AzureOpenAI": ProviderConfig(
        name="azure",
        type="AzureOpenAI",
        work_dir=Path("work"),
        options={"subscription": "s", "resourceGroup": "g", "account": "a"},
    ),
    "VertexAI": ProviderConfig(
        name="vertex",
        type="VertexAI",
        work_dir=Path("work"),
        project="acme",
        region="us-central1",
        data_uri="gs://acme/tuning",
    ),
    "Bedrock": ProviderConfig(
        name="bedrock",
        type="Bedrock",
        work_dir=Path("work"),
        region="us-east-1",
        data_uri="s3://acme/tuning",
        options={"roleArn": "arn:aws:iam::123456789012:role/a"},
    ),
}


@pytest.mark.parametrize("kind", WITHOUT_SECRET)
@pytest.mark.parametrize("service", ["endpoint", "storage", "inference", "management", "login"])
def test_no_token_of_the_operator_goes_to_an_address_of_a_manifest(kind: str, service: str) -> None:
    config = WITHOUT_SECRET[kind]
    named = {"endpoint": THEIRS} if service == "endpoint" else {"endpoints": {service: THEIRS}}
    registry.create(replace(config, lends_identity=False))
    registry.create(replace(config, lends_identity=True, **named))  # type: ignore[arg-type]
    with pytest.raises(PermanentProviderError, match="--trust-endpoints"):
        registry.create(replace(config, lends_identity=False, **named))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("secret", "refused"),
    [
        ({"AZURE_OPENAI_ENDPOINT": THEIRS}, True),
        ({"AZURE_OPENAI_ENDPOINT": THEIRS, "AZURE_OPENAI_API_KEY": "k"}, False),
        ({"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_OPENAI_ENDPOINT": THEIRS}, True),
        (
            {
                "AZURE_TENANT_ID": "t",
                "AZURE_CLIENT_ID": "c",
                "AZURE_CLIENT_SECRET": "s",
                "AZURE_OPENAI_ENDPOINT": THEIRS,
            },
            False,
        ),
    ],
)
def test_a_secret_that_holds_an_address_but_no_identity_changes_nothing(
    secret: dict[str, str], refused: bool
) -> None:
    config = replace(WITHOUT_SECRET["AzureOpenAI"], credentials=secret, lends_identity=False)
    if not refused:
        registry.create(config)
        return
    with pytest.raises(PermanentProviderError, match="--trust-endpoints"):
        registry.create(config)
