"""What may be edited in a live object: the real API server carries it out or refuses it with what to do instead."""

import itertools
import json
from typing import Any

import pytest
from kubernetes import client

from samples.server import Manifest, Server, refusals, sample


@pytest.mark.parametrize(
    "patch",
    [
        {"limits": {"maxTrials": 9}},
        {"limits": {"parallelTrials": 2, "maxFailedTrials": 0}},
        {"limits": {"maxDuration": "1h"}},
        {"limits": {"budget": {"maxCost": "10.50"}}},
        {"limits": {"budget": None}},
        {"limits": {"budget": {"maxCost": "9", "atLimit": "CancelRunning"}}},
        {"earlyStopping": {"median": {"minTrials": 2, "minSteps": 10}}},
        {"earlyStopping": None},
        {"confirm": {"top": 2, "repeats": 1}},
        {"confirm": None},
        {"suspend": True},
        {"deletionPolicy": "Orphan"},
        {"keepModels": "Best"},
        {"keepData": True},
        {"output": {"configMap": "best-model"}},
        {"output": None},
    ],
    ids=json.dumps,
)
def test_what_does_not_decide_the_search_may_be_edited(
    patch: Manifest, server: Server, edited: Manifest
) -> None:
    spec = server.merge(edited, {"spec": patch})["spec"]
    assert spec == merged(spec, patch)


def merged(value: Any, patch: Any) -> Any:
    """A value with a merge-patch in it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    result.update({key: merged(result.get(key), each) for key, each in patch.items()})
    return {key: each for key, each in result.items() if each is not None}


@pytest.fixture(scope="module")
def edited(server: Server) -> Manifest:
    """A sweep that the tests of editing share."""
    return server.create(sample("sweep-union-of-candidates", name="edited"))


_CANDIDATES = sample("sweep-union-of-candidates")["spec"]["candidates"]


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        ("objective", {"objective": {"goal": 0.9}}),
        ("objective", {"objective": {"direction": None}}),
        ("dataset", {"dataset": {"training": {"uri": "s3://acme/other.jsonl"}}}),
        ("dataset", {"dataset": {"validation": None}}),
        ("candidates", {"candidates": _CANDIDATES[:1]}),
        (
            "candidates",
            {"candidates": [*_CANDIDATES, {**_CANDIDATES[0], "name": "more", "baseModels": ["x"]}]},
        ),
        ("search", {"search": {"seed": 8}}),
        ("search", {"search": None}),
        ("search", {"search": {"firstPoints": [{"candidate": "nova"}]}}),
        ("warmStart", {"warmStart": {"sweepRefs": [{"name": "last-week"}]}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_decides_the_search_is_immutable(
    field: str, patch: Manifest, server: Server, edited: Manifest
) -> None:
    with pytest.raises(client.ApiException) as refused:
        server.merge(edited, {"spec": patch})
    assert refusals(refused.value) == {
        f"spec.{field}": (
            f"Forbidden: spec.{field} is immutable once the sweep exists: make a new sweep under another name. "
            "One that was refused and has no trials may be deleted and applied anew"
        )
    }


def test_where_a_search_starts_is_immutable(server: Server) -> None:
    started = server.create(sample("sweep-starts-and-stops-early", name="started"))
    point = {"candidate": "a", "baseModel": "smollm2-135m", "parameters": {"epochs": 3, "learningRate": 2e-4}}
    for field, patch in (
        ("search", {"search": {"firstPoints": [point, {"candidate": "a"}]}}),
        ("search", {"search": {"firstPoints": None}}),
        ("warmStart", {"warmStart": {"sweepRefs": [{"name": "last-week"}]}}),
        ("warmStart", {"warmStart": None}),
        ("objective", {"objective": {"costWeight": 0.02}}),
    ):
        with pytest.raises(client.ApiException) as refused:
            server.merge(started, {"spec": patch})
        assert refusals(refused.value)[f"spec.{field}"].startswith(f"Forbidden: spec.{field} is immutable")


def test_order_of_candidates_and_base_models_means_nothing_to_the_server(
    server: Server, edited: Manifest
) -> None:
    reordered = [
        {**candidate, "baseModels": candidate["baseModels"][::-1]} for candidate in reversed(_CANDIDATES)
    ]
    assert (
        server.merge(edited, {"spec": {"candidates": reordered}})["spec"]["candidates"][0]["name"] == "nova"
    )


def test_type_of_a_provider_is_immutable_and_its_limits_are_not(server: Server) -> None:
    provider = server.create(sample("provider-openai", name="edited"))
    assert server.merge(provider, {"spec": {"maxConcurrentJobs": 5}})["spec"]["maxConcurrentJobs"] == 5
    with pytest.raises(client.ApiException) as refused:
        server.merge(provider, {"spec": {"type": "Bedrock"}})
    assert refusals(refused.value)["spec.type"].startswith("Forbidden: spec.type is immutable")


@pytest.mark.parametrize("value", ["other", None], ids=["changed", "taken away"])
@pytest.mark.parametrize(
    ("name", "field", "other"),
    [
        ("provider-bedrock", "region", "us-west-2"),
        ("provider-bedrock", "dataUri", "s3://other"),
        ("provider-openai", "project", "proj_other"),
        ("provider-azure-openai", "endpoint", "https://other.openai.azure.com"),
    ],
)
def test_where_a_provider_s_jobs_are_is_immutable(
    server: Server, name: str, field: str, other: str, value: str | None
) -> None:
    manifest = sample(name, name=f"fixed-{next(_NUMBERS)}")
    manifest["spec"].setdefault(field, "proj_one")
    provider = server.create(manifest)
    with pytest.raises(client.ApiException) as refused:
        server.merge(provider, {"spec": {field: None if value is None else other}})
    message = refusals(refused.value)[f"spec.{field}"]
    assert message.startswith(f"Forbidden: spec.{field} is immutable once")
    assert message.endswith("make a new provider under another name")


AZURE = {
    "subscription": "99999999-1111-2222-3333-aaaabbbbcccc",
    "resourceGroup": "other",
    "account": "other",
}


@pytest.mark.parametrize("value", ["other", None], ids=["changed", "taken away"])
@pytest.mark.parametrize("field", AZURE)
def test_the_resource_of_azure_that_holds_jobs_and_deployments_is_immutable(
    server: Server, field: str, value: str | None
) -> None:
    provider = server.create(sample("provider-azure-openai", name=f"fixed-{next(_NUMBERS)}"))
    with pytest.raises(client.ApiException) as refused:
        server.merge(provider, {"spec": {"azureOpenAI": {field: None if value is None else AZURE[field]}}})
    message = refusals(refused.value)[f"spec.azureOpenAI.{field}"]
    assert message.startswith(f"Forbidden: spec.azureOpenAI.{field} is immutable once")
    assert message.endswith("make a new provider under another name")


def test_a_resource_of_azure_that_options_name_is_immutable_too(server: Server) -> None:
    manifest = sample("provider-azure-openai", name=f"fixed-{next(_NUMBERS)}")
    named = manifest["spec"]["azureOpenAI"].pop("account")
    manifest["spec"]["options"] = {"account": named}
    provider = server.create(manifest)
    with pytest.raises(client.ApiException) as refused:
        server.merge(provider, {"spec": {"options": {"account": "other"}}})
    assert set(refusals(refused.value)) == {"spec.azureOpenAI.account"}


def test_where_a_provider_s_jobs_are_is_not_given_later_either(server: Server) -> None:
    provider = server.create(sample("provider-minimal", name="fixed-without"))
    with pytest.raises(client.ApiException) as refused:
        server.merge(provider, {"spec": {"region": "us-west-2", "project": "p", "dataUri": "s3://other"}})
    assert set(refusals(refused.value)) == {"spec.region", "spec.project", "spec.dataUri"}


@pytest.mark.parametrize(
    "patch",
    [
        {"endpoint": "https://api.example.com"},
        {"endpoint": None},
        {"endpoints": {"storage": None}},
        {"requestsPerMinute": None},
        {"bedrock": {"roleArn": "arn:aws:iam::123456789012:role/other"}},
        {"options": {"pollIntervalSeconds": "5"}},
        {"models": [{"name": "new", "like": "amazon.nova-lite-v1:0:300k"}]},
    ],
    ids=json.dumps,
)
def test_a_typing_error_in_a_provider_can_be_corrected(
    patch: Manifest, server: Server, corrected: Manifest
) -> None:
    assert server.merge(corrected, {"spec": patch})["spec"] == merged(corrected["spec"], patch)


@pytest.fixture
def corrected(server: Server) -> Manifest:
    """A provider whose spec is full."""
    return server.create(sample("provider-bedrock", name=f"typo-{next(_NUMBERS)}"))


_NUMBERS = itertools.count()


@pytest.mark.parametrize(
    "patch",
    [
        {"seed": 9},
        {"estimatedCost": None},
        {"currency": "USD"},
        {"hyperparameters": {"epochs": 4}},
        {"hyperparameters": {"learningRate": 2e-5}},
        {"hyperparameters": {"batchSize": 8}},
        {"hyperparameters": {"epochs": None, "rank": 3}},
        {"hyperparameters": {"more": "x"}},
    ],
    ids=json.dumps,
)
def test_trial_is_one_purchase(patch: Manifest, server: Server, bought: Manifest) -> None:
    with pytest.raises(client.ApiException) as refused:
        server.merge(bought, {"spec": patch})
    assert refusals(refused.value) == {"spec": "Forbidden: a trial is one purchase: its spec is immutable"}


@pytest.fixture(scope="module")
def bought(server: Server) -> Manifest:
    """A trial that the tests of its immutability share."""
    return server.create(sample("trial", name="bought-0"))
