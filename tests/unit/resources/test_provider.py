"""A provider's spec: what its type takes, its own base models, and what is told to nobody."""

from pathlib import Path
from typing import Any

import pytest

from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import API_VERSION, FinetuneProvider, ProviderSpec, parse_resource
from finetune_providers.base import ParameterRule, ProviderConfig
from finetune_providers.catalog import load_catalog
from samples import GOOD


def provider(**spec: Any) -> FinetuneProvider:
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "FinetuneProvider",
        "metadata": {"name": "p"},
        "spec": spec,
    }
    return parse_resource(FinetuneProvider, manifest)


def sample_spec(stem: str) -> ProviderSpec:
    manifest = next(good.manifest for good in GOOD if str(good) == stem)
    return parse_resource(FinetuneProvider, manifest).spec


def test_block_of_the_type_counts_more_than_options() -> None:
    role = "arn:aws:iam::123456789012:role/finetune"
    options = {"roleArn": "other", "pollIntervalSeconds": "5"}
    spec = provider(type="Bedrock", bedrock={"roleArn": role}, options=options).spec
    assert spec.type_options == {"roleArn": role, "pollIntervalSeconds": "5"}


def test_options_of_the_type_are_written_as_in_the_manifest() -> None:
    assert sample_spec("provider-azure-openai").type_options == {
        "subscription": "00000000-1111-2222-3333-aaaabbbbCCCC",
        "resourceGroup": "acme_(finetuning)",
        "account": "acme",
        "apiVersion": "2025-04-01-preview",
        "trainingType": "DeveloperTier",
        "deploymentSku": "developertier",
        "deploymentCapacity": 50,
    }


def test_type_of_another_package_has_options_alone() -> None:
    assert provider(type="Acme", options={"seats": "2"}).spec.type_options == {"seats": "2"}
    assert provider(type="Acme").spec.type_options == {}


def test_own_base_models_are_read_by_the_catalog() -> None:
    spec = sample_spec("provider-own-models")
    config = ProviderConfig("vertex", spec.type, Path(), models=spec.catalog_entries)
    catalog = load_catalog(config)
    known = load_catalog(ProviderConfig("vertex", spec.type, Path())).rules("gemini-2.5-flash")
    alike = catalog.rules("gemini-next-flash")
    assert known is not None
    assert alike is not None
    assert (alike.parameters, alike.note) == (known.parameters, "released after the operator")
    other = catalog.rules("gemini-other")
    assert other is not None
    assert other.parameters == {
        **known.parameters,
        "loraRank": ParameterRule("int", allowed=(4, 8), default=8),
    }


def test_every_form_of_a_parameter_means_to_the_catalog_what_it_says() -> None:
    spec = sample_spec("provider-own-models")
    rules = load_catalog(ProviderConfig("v", spec.type, Path(), models=spec.catalog_entries)).rules(
        "publishers/meta/models/llama"
    )
    assert rules is not None
    assert rules.traits == {"dialect": "contents", "dataset.version": "1"}
    assert rules.parameters == {
        "epochs": ParameterRule("int", minimum=1, maximum=10, default=5),
        "learningRate": ParameterRule(
            "float", minimum=0, maximum=0.1, exclusive_minimum=True, default=0.0001
        ),
        "learningRateMultiplier": ParameterRule("float"),
        "warmup": ParameterRule("float", allowed=(0.1, 0.5, 0.01)),
        "optimizer": ParameterRule("string", allowed=("adam", "8"), default="adam"),
        "style": ParameterRule("string"),
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"endpoint": "https://user:S3CRET@h"},
        {"endpoint": "https://h?key=S3CRET"},
        {"endpoints": {"login": "https://S3CRET@h"}},
        {"dataUri": "s3://S3CRET:S3CRET@bucket"},
    ],
    ids=str,
)
def test_an_address_that_is_wrong_is_not_shown_as_it_may_hold_a_secret(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidManifest) as refused:
        provider(type="Acme", **spec)
    assert "S3CRET" not in str(refused.value)
    assert "spec." in str(refused.value)
