"""What is special about the provider `Cohere`: its bodies, its states, its list, its metrics, its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.cohere_server import CohereServer
from tests.fakes.http_server import DROPPED, Fault, refused
from tests.unit.providers.cohere_bench import KEY, MODEL, answer_of, config_of, provider_of, request_of

from finetune_operator.evaluation import check_dataset
from finetune_operator.resources import FinetuneSweep, load_yaml_documents, parse_resource
from finetune_providers.base import DatasetFile
from finetune_providers.cohere import BASE_URL, CohereProvider, create
from finetune_providers.cohere.wire import native_parameters, options
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    NotReached,
    PermanentProviderError,
    TransientProviderError,
)

EXAMPLE = Path(__file__).parents[3] / "examples" / "cohere.yaml"


@pytest.fixture
def server() -> Iterator[CohereServer]:
    with CohereServer() as server:
        yield server
        assert server.violations == []


@pytest.fixture
async def provider(server: CohereServer, tmp_path: Path) -> AsyncIterator[CohereProvider]:
    provider = provider_of(server, tmp_path / "account")
    yield provider
    await provider.aclose()


# -- the account ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["", "  ", "two words", "a\nb", "clé"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(
    server: CohereServer, tmp_path: Path, written: str
) -> None:
    with pytest.raises(PermanentProviderError, match="CO_API_KEY") as caught:
        create(config_of(server, tmp_path, credentials={"CO_API_KEY": written}))
    assert caught.value.field == "spec.credentialsSecretRef"
    assert not written.strip() or written not in str(caught.value)


async def test_space_around_the_key_is_not_part_of_it(server: CohereServer, tmp_path: Path) -> None:
    provider = provider_of(server, tmp_path, credentials={"CO_API_KEY": f" {server.secret}\n"})
    await provider.check([MODEL])
    await provider.aclose()


@pytest.mark.parametrize("written", ["soon", "0", "-1", "inf", "nan"])
def test_a_poll_interval_that_is_none_is_refused(server: CohereServer, tmp_path: Path, written: str) -> None:
    with pytest.raises(PermanentProviderError, match="seconds above 0") as caught:
        create(config_of(server, tmp_path, options={"pollIntervalSeconds": written}))
    assert caught.value.field == "spec.options.pollIntervalSeconds"


async def test_nothing_is_taken_from_the_environment(
    server: CohereServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_API_KEY", "somebody-else-s")
    monkeypatch.setenv("COHERE_API_KEY", "somebody-else-s")
    monkeypatch.setenv("CO_API_URL", "http://127.0.0.1:9")
    with pytest.raises(PermanentProviderError):
        create(config_of(server, tmp_path, credentials={}))
    provider = provider_of(server, tmp_path)
    await provider.check([MODEL])
    assert server.requests[-1].headers["Authorization"] == f"Bearer {server.secret}"
    elsewhere = provider_of(server, tmp_path, endpoint=None)
    assert elsewhere._client._client_wrapper.get_base_url() == BASE_URL
    await provider.aclose()
    await elsewhere.aclose()


async def test_a_check_is_one_small_call(server: CohereServer, provider: CohereProvider) -> None:
    await provider.check([MODEL])
    (request,) = server.requests
    assert (request.operation, request.one("page_size")) == ("list", "1")


async def test_a_key_that_is_not_accepted_is_named(server: CohereServer, tmp_path: Path) -> None:
    provider = provider_of(server, tmp_path, credentials={"CO_API_KEY": "another"})
    with pytest.raises(PermanentProviderError, match="check CO_API_KEY in the Secret"):
        await provider.check([MODEL])
    await provider.aclose()


async def test_a_service_that_is_gone_is_called_so_and_no_job_is_called_gone(
    server: CohereServer, provider: CohereProvider
) -> None:
    server.always("list", refused(404))
    for call in (provider.check([MODEL]), provider.observe(["any"]), provider.find(KEY)):
        with pytest.raises(PermanentProviderError, match="ended the service") as caught:
            await call
        assert not isinstance(caught.value, JobNotFound)


# -- the create call ------------------------------------------------------------------------------------------


async def test_a_create_call_says_exactly_this(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    request = await request_of(provider, tmp_path, epochs=3, learningRate=0.001)
    await provider.submit(replace(request, labels={"sweep": "s"}, seed=7, validation="another"))
    assert server.bodies("create") == [
        {
            "name": KEY,
            "settings": {
                "base_model": {"base_type": "BASE_TYPE_CHAT", "name": MODEL},
                "dataset_id": request.training,
                "hyperparameters": {"train_epochs": 3, "learning_rate": 0.001},
            },
        }
    ]


@pytest.mark.parametrize(
    ("name", "value", "native", "sent"),
    [
        ("epochs", 4.0, "train_epochs", 4),
        ("batchSize", 8, "train_batch_size", 8),
        ("learningRate", 0.1, "learning_rate", 0.1),
        ("earlyStoppingThreshold", 0.05, "early_stopping_threshold", 0.05),
        ("earlyStoppingPatience", 3, "early_stopping_patience", 3),
        ("loraRank", 16, "lora_rank", 16),
        ("loraAlpha", 32, "lora_alpha", 32),
        ("loraTargetModules", "LORA_TARGET_MODULES_QV", "lora_target_modules", "LORA_TARGET_MODULES_QV"),
    ],
)
async def test_every_parameter_has_its_native_name_and_type(
    server: CohereServer,
    provider: CohereProvider,
    tmp_path: Path,
    name: str,
    value: object,
    native: str,
    sent: object,
) -> None:
    rules = provider.model_rules(MODEL)
    assert rules is not None
    assert rules.parameters[name].permits(value)  # type: ignore[arg-type]
    await provider.submit(await request_of(provider, tmp_path, **{name: value}))
    (body,) = server.bodies("create")
    assert body["settings"]["hyperparameters"] == {native: sent}
    assert type(body["settings"]["hyperparameters"][native]) is type(sent)


def test_the_catalog_offers_no_parameter_that_is_not_sent(provider: CohereProvider) -> None:
    for name in provider.model_names():
        rules = provider.model_rules(name)
        assert rules is not None
        native_parameters(dict.fromkeys(rules.parameters, 1))


async def test_a_parameter_that_is_not_taken_is_never_dropped(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    request = await request_of(provider, tmp_path, epochs=1, warmupSteps=3)
    with pytest.raises(PermanentProviderError, match="does not take warmupSteps") as caught:
        await provider.submit(request)
    assert caught.value.field == "parameters.warmupSteps"
    assert server.count("create") == 0


async def test_a_model_of_the_account_s_own_has_its_own_name_and_type(
    server: CohereServer, tmp_path: Path
) -> None:
    server.base_models.add("command-x")
    models = {"mine": {"like": MODEL, "traits": {"name": "command-x"}}, "command-x": {"like": MODEL}}
    models["command-x"]["traits"] = {"name": "command-x"}
    provider = provider_of(server, tmp_path, models=models)
    request = await request_of(provider, tmp_path)
    await provider.submit(replace(request, base_model="mine"))
    assert server.bodies("create")[0]["settings"]["base_model"]["name"] == "command-x"
    await provider.aclose()


async def test_a_redirected_create_call_is_not_made_a_second_time(
    server: CohereServer, provider: CohereProvider, tmp_path: Path
) -> None:
    request = await request_of(provider, tmp_path)
    server.fault("create", refused(307))
    with pytest.raises(PermanentProviderError, match="redirection"):
        await provider.submit(request)
    assert server.count("create") == 1
    assert not provider._http.follow_redirects


async def test_no_connection_means_that_nothing_was_bought(server: CohereServer, tmp_path: Path) -> None:
    provider = provider_of(server, tmp_path)
    request = await request_of(provider, tmp_path)
    nowhere = provider_of(server, tmp_path, endpoint="http://127.0.0.1:9")
    with pytest.raises(NotReached):
        await nowhere.submit(request)
    with pytest.raises(NotReached):
        await nowhere.observe(["any"])
    await provider.aclose()
    await nowhere.aclose()


@pytest.mark.parametrize(
    "fault", [refused(408), refused(409), refused(429), refused(500), refused(503), DROPPED]
)
@pytest.mark.parametrize(
    "operation", ["create", "list", "get", "delete", "upload", "datasets", "dataset", "chat", "metrics"]
)
async def test_the_sdk_repeats_nothing_by_itself(
    server: CohereServer, provider: CohereProvider, tmp_path: Path, operation: str, fault: Fault
) -> None:
    request = await request_of(provider, tmp_path)
    job = await provider.submit(request)
    calls: dict[str, Any] = {
        "create": lambda: provider.submit(request),
        "list": lambda: provider.observe([job.job_id]),
        "get": lambda: provider.cancel(job.job_id),
        "delete": lambda: provider.cancel(job.job_id),
        "upload": lambda: request_of(provider, tmp_path),
        "datasets": lambda: provider.delete_data("fts-1"),
        "dataset": lambda: request_of(provider, tmp_path),
        "chat": lambda: answer_of(provider, MODEL),
        "metrics": lambda: provider._metrics.of_job(job.job_id),
    }
    if operation == "upload":
        await provider.delete_data("fts-0123456789abcdef")
    before = server.count(operation)
    server.always(operation, fault)
    with pytest.raises((TransientProviderError, AmbiguousProviderError)):
        await calls[operation]()
    assert server.count(operation) == before + 1


def test_every_call_has_a_time_out_and_connects_sooner() -> None:
    assert options(60.0) == {"max_retries": 0, "timeout": httpx.Timeout(60.0, connect=10.0)}


# -- the example ----------------------------------------------------------------------------------------------


async def test_the_example_is_one_that_the_provider_takes(provider: CohereProvider, tmp_path: Path) -> None:
    account, sweep, data = load_yaml_documents(EXAMPLE.read_text(encoding="utf-8"))
    assert account["spec"]["type"] == "Cohere"
    (candidate,) = parse_resource(FinetuneSweep, sweep).spec.candidates
    await provider.check(candidate.base_models)
    for model in candidate.base_models:
        rules = provider.model_rules(model)
        assert rules is not None
        assert set(candidate.parameters) <= set(rules.parameters)
    path = tmp_path / "train.jsonl"
    path.write_text(data["data"]["train.jsonl"], encoding="utf-8")
    summary = check_dataset(path, field="training")
    dataset = DatasetFile(path, summary.content_hash, summary.examples)
    await provider.check_data(MODEL, training=dataset, validation=None)
    assert summary.examples >= 10
    path.write_text(data["data"]["eval.jsonl"], encoding="utf-8")
    assert check_dataset(path, field="evaluation").examples >= 3
