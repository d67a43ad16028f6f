from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.identity import CredentialUnavailableError
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from azure.mgmt.cognitiveservices.models import (
    Deployment as ManagedDeployment,
)
from azure.mgmt.cognitiveservices.models import DeploymentModel, DeploymentProperties, Sku
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob
from tests.contract.provider_contract import DEPLOYMENT, KEY, conversation, write_dataset
from tests.fakes.azure_openai_server import RESOURCE, SUBSCRIPTION, AzureOpenAIServer, Identity
from tests.fakes.http_server import DROPPED, MALFORMED, Answer, Fault, refused
from tests.fakes.openai_common import parse_examples

from finetune_providers.azure_openai import AzureOpenAIProvider, create
from finetune_providers.azure_openai import identity as identity_module
from finetune_providers.base import (
    DatasetFile,
    Deployment,
    DeploymentState,
    JobRequest,
    JobState,
    OfferState,
    ProviderConfig,
)
from finetune_providers.conversations import write_converted
from finetune_providers.errors import (
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.openai_protocol.data import converted
from finetune_providers.openai_protocol.parsing import snapshot_of

MODEL = "gpt-4.1-mini-2025-04-14"
OLDER = "gpt-4o-mini-2024-07-18"


class StaticToken:
    """The same for the synchronous SDK of the management API."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(AzureOpenAIServer.secret, 2**40)


def entra_error(message: str, status: int) -> ClientAuthenticationError:
    """What azure-identity raises where Entra answers with an error."""
    error = ClientAuthenticationError(f"Microsoft Entra ID error '{message}'")
    error.status_code = status
    return error


@pytest.fixture
def server() -> Iterator[AzureOpenAIServer]:
    with AzureOpenAIServer() as server:
        yield server
    assert server.violations == []


@pytest.fixture
def config(server: AzureOpenAIServer, tmp_path: Path) -> ProviderConfig:
    return ProviderConfig(
        name="azure",
        type="AzureOpenAI",
        work_dir=tmp_path / "work",
        endpoint=server.url,
        endpoints={"management": server.url},
        credentials={"AZURE_OPENAI_API_KEY": server.secret},
        options={"subscription": SUBSCRIPTION, "resourceGroup": "ml", "account": "acme-openai"},
    )


@pytest.fixture
def identity(server: AzureOpenAIServer) -> Identity:
    return Identity(server.secret)


def made(config: ProviderConfig, identity: Identity | None) -> AzureOpenAIProvider:
    provider = create(config, credential=identity)
    assert isinstance(provider, AzureOpenAIProvider)
    provider.file_wait_s = 0.0
    provider._deployments.look_wait_s = 0.0
    return provider


@pytest.fixture
async def provider(config: ProviderConfig, identity: Identity) -> AsyncIterator[AzureOpenAIProvider]:
    provider = made(config, identity)
    yield provider
    await provider.aclose()


@pytest.fixture
async def request_(provider: AzureOpenAIProvider, tmp_path: Path) -> JobRequest:
    return JobRequest(
        key=KEY,
        base_model=MODEL,
        hyperparameters={"epochs": 2, "batchSize": 4, "learningRateMultiplier": 0.1},
        training=await provider.upload(write_dataset(tmp_path / "t.jsonl", repeat=4), base_model=MODEL),
        validation=await provider.upload(write_dataset(tmp_path / "v.jsonl"), base_model=MODEL),
        seed=7,
        labels={"sweep": "intents", "trial": "intents-3"},
    )


async def tuned(server: AzureOpenAIServer, provider: AzureOpenAIProvider, request: JobRequest) -> str:
    job = await provider.submit(request)
    server.finish_training()
    return (await provider.observe([job.job_id]))[job.job_id].fine_tuned_model or ""


# -- jobs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (None, {}),
        ("Standard", {"trainingType": "Standard"}),
        ("GlobalStandard", {"trainingType": "GlobalStandard"}),
        ("DeveloperTier", {"trainingType": "developerTier"}),
    ],
)
async def test_the_create_call_says_exactly_what_was_asked(
    server: AzureOpenAIServer,
    config: ProviderConfig,
    identity: Identity,
    request_: JobRequest,
    written: str | None,
    sent: Mapping[str, str],
) -> None:
    options = {**config.options, **({"trainingType": written} if written else {})}
    provider = made(replace(config, options=options), identity)
    job = await provider.submit(request_)
    await provider.aclose()
    assert server.bodies("jobs.create") == [
        {
            "model": MODEL,
            "training_file": request_.training,
            "validation_file": request_.validation,
            "method": {
                "type": "supervised",
                "supervised": {
                    "hyperparameters": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.1}
                },
            },
            "seed": 7,
            "suffix": KEY,
            **sent,
        }
    ]
    asked = next(request for request in server.requests if request.operation == "jobs.create")
    assert asked.path == "/openai/fine_tuning/jobs"
    assert asked.query == {"api-version": ["2025-04-01-preview"]}
    assert asked.headers["api-key"] == server.secret
    assert "Authorization" not in asked.headers
    assert (job.state, job.native_state, job.key) == (JobState.PENDING, "pending", KEY)


@pytest.mark.parametrize("key", ["", "k" * 41, "a.b", "a b", "ä"])
async def test_a_key_that_is_no_suffix_buys_nothing(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest, key: str
) -> None:
    with pytest.raises(PermanentProviderError, match="suffix"):
        await provider.submit(replace(request_, key=key))
    assert server.count("jobs.create") == 0


async def test_jobs_are_found_by_their_suffix_over_all_pages_without_a_filter(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    server.page_size = 2
    oldest = await provider.submit(request_)
    for number in range(5):
        await provider.submit(replace(request_, key=f"{KEY}-{number}"))
    server.requests.clear()
    assert [job.job_id for job in await provider.find(KEY)] == [oldest.job_id]
    assert server.count("jobs.list") == 3
    assert all(set(request.query) <= {"api-version", "limit", "after"} for request in server.requests)


def test_a_suffix_is_known_from_the_model_s_name_where_the_job_does_not_show_it(
    provider: AzureOpenAIProvider,
) -> None:
    name = f"{MODEL}.ft-{'0a' * 16}"
    for model, key in ((f"{name}-{KEY}", KEY), (name, None), ("other", None), (None, None)):
        assert provider._key_of(FineTuningJob.construct(fine_tuned_model=model)) == key
    both = FineTuningJob.construct(fine_tuned_model=f"{name}-other", suffix=KEY)
    assert provider._key_of(both) == KEY


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("created", JobState.PENDING),
        ("pending", JobState.PENDING),
        ("notRunning", JobState.PENDING),
        ("running", JobState.RUNNING),
        ("pausing", JobState.RUNNING),
        ("paused", JobState.RUNNING),
        ("resuming", JobState.RUNNING),
        ("succeeded", JobState.SUCCEEDED),
        ("failed", JobState.FAILED),
        ("cancelled", JobState.CANCELLED),
        ("canceled", JobState.CANCELLED),
    ],
)
def test_every_state_of_azure_has_its_word(native: str, state: JobState) -> None:
    assert snapshot_of(FineTuningJob.construct(id="ftjob-1", status=native), key=None).state is state


async def test_an_answer_without_the_fields_that_azure_leaves_out_is_understood(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider
) -> None:
    # The answer of Azure's own example, post_finetuning_job.json.
    shown = {
        "hyperparameters": {"n_epochs": -1},
        "method": {"type": "supervised"},
        "status": "pending",
        "model": "curie",
        "training_file": "file-181a1cbdcdcf4677ada87f63a0928099",
        "id": "ft-72a2792ef7d24ba7b82c7fe4a37e379f",
        "created_at": 1646126127,
        "object": "fine_tuning.job",
    }
    server.fault("jobs.get", Fault(body=json.dumps(shown).encode()))
    (job,) = (await provider.observe(["ft-72a2792ef7d24ba7b82c7fe4a37e379f"])).values()
    assert (job.state, job.key, job.fine_tuned_model, job.finished_at) == (JobState.PENDING, None, None, None)


async def test_a_long_series_that_begins_with_the_oldest_event_is_read_to_its_end(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    server.page_size = 5
    job = await provider.submit(replace(request_, hyperparameters={"epochs": 20, "batchSize": 2}))
    server.finish_training()
    series = (await provider.observe([job.job_id]))[job.job_id].series
    assert len(series) == 100
    steps = [point.step for point in series]
    assert max(later - earlier for earlier, later in pairwise(steps)) <= 3  # of 240


async def test_uploads_are_found_across_pages_that_do_not_say_whether_more_follow(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, tmp_path: Path
) -> None:
    server.page_size = 2
    datasets = [write_dataset(tmp_path / f"{n}.jsonl", repeat=n) for n in range(1, 6)]
    ids = [await provider.upload(dataset, base_model=MODEL) for dataset in datasets]
    assert [await provider.upload(dataset, base_model=MODEL) for dataset in datasets] == ids
    await provider.delete_data(datasets[0].scope)
    assert server.files == {}


async def test_a_full_resource_waits_whatever_the_status_says(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    server.most_jobs = 1
    await provider.submit(request_)
    with pytest.raises(QuotaExceeded, match="delete jobs and files"):
        await provider.submit(replace(request_, key="another"))
    assert len(server.jobs) == 1


async def test_a_deleted_model_frees_its_job_s_place(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    model = await tuned(server, provider, request_)
    await provider.submit(replace(request_, key="another"))
    await provider.delete_model(model)
    await provider.delete_model(model)
    assert [job.body["suffix"] for job in server.listed()] == ["another"]
    assert server.count("jobs.delete") == 1


# -- data -------------------------------------------------------------------------------------------------


async def test_uploads_begin_with_a_byte_order_mark(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    file_id = await provider.upload(dataset, base_model=MODEL)
    assert server.contents[file_id] == b"\xef\xbb\xbf" + dataset.path.read_bytes()
    assert server.files[file_id]["filename"].split(".")[1] == "azure-openai"


async def test_an_upload_waits_until_azure_has_processed_it(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest, tmp_path: Path
) -> None:
    server.processing_s = 5.0
    dataset = write_dataset(tmp_path / "more.jsonl", repeat=5)
    with pytest.raises(TransientProviderError, match="has not processed"):
        await provider.upload(dataset, base_model=MODEL)
    (file_id,) = [
        name for name, file in server.files.items() if dataset.content_hash[:32] in file["filename"]
    ]
    server.clock.advance(3)
    provider.file_wait_s = 0.01
    asyncio.get_running_loop().call_later(0.03, server.clock.advance, 3)
    assert await provider.upload(dataset, base_model=MODEL) == file_id
    await provider.submit(replace(request_, training=file_id))


async def test_an_upload_that_azure_does_not_show_at_once_is_waited_for(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, tmp_path: Path
) -> None:
    server.processing_s = 5.0
    server.always("files.get", refused(404))
    dataset = write_dataset(tmp_path / "more.jsonl", repeat=5)
    with pytest.raises(TransientProviderError):
        await provider.upload(dataset, base_model=MODEL)
    server.always("files.get", None)
    server.clock.advance(6)
    await provider.upload(dataset, base_model=MODEL)
    assert server.count("files.create") == 1


async def test_a_job_over_a_file_that_is_not_processed_yet_waits(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    server.processing_s = 60.0
    with pytest.raises(QuotaExceeded, match="completed file import"):
        await provider.submit(request_)
    server.clock.advance(61)
    await provider.submit(request_)


async def test_a_dataset_that_azure_cannot_process_says_why(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl", scope="bad")
    server.broken_files.add(f"bad.azure-openai.{dataset.content_hash[:32]}.jsonl")
    with pytest.raises(PermanentProviderError, match="line 1 is no JSON") as caught:
        await provider.upload(dataset, base_model=MODEL)
    assert caught.value.field == "training"


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=30)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_file_with_its_mark_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("file")
    examples = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in pairs
    ]
    lines = "".join(json.dumps({"messages": each}) + "\n" for each in examples)
    (folder / "in.jsonl").write_text(lines, encoding="utf-8")
    dataset = DatasetFile(folder / "in.jsonl", "0" * 64, len(examples))
    written = write_converted(dataset, folder / "out.jsonl", converted, bom=True)
    content = written.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert parse_examples(content) == examples


# -- deployments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_model", "options", "sku"),
    [
        (MODEL, {}, {"name": "developertier", "capacity": 50}),
        (OLDER, {}, {"name": "standard", "capacity": 50}),
        (MODEL, {"deploymentSku": "standard", "deploymentCapacity": 2}, {"name": "standard", "capacity": 2}),
        (MODEL, {"deploymentCapacity": "7"}, {"name": "developertier", "capacity": 7}),
    ],
)
async def test_a_deployment_is_asked_for_with_what_suits_its_base_model(
    server: AzureOpenAIServer,
    config: ProviderConfig,
    identity: Identity,
    request_: JobRequest,
    base_model: str,
    options: Mapping[str, object],
    sku: Mapping[str, object],
) -> None:
    provider = made(replace(config, options={**config.options, **options}), identity)
    model = await tuned(server, provider, replace(request_, base_model=base_model))
    deployment = await provider.deploy(model, name=DEPLOYMENT)
    assert deployment == Deployment(DEPLOYMENT, DeploymentState.CREATING, DEPLOYMENT, "Creating")
    assert server.bodies("arm.put") == [
        {"sku": sku, "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}}}
    ]
    asked = server.requests[-1]
    assert asked.path == f"{RESOURCE}/deployments/{DEPLOYMENT}"
    assert asked.query == {"api-version": ["2025-09-01"]}
    await provider.deploy(model, name=DEPLOYMENT)
    assert server.count("arm.put") == 1
    await provider.aclose()


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("Accepted", DeploymentState.CREATING),
        ("Creating", DeploymentState.CREATING),
        ("Deleting", DeploymentState.CREATING),
        ("Moving", DeploymentState.CREATING),
        ("Pondering", DeploymentState.CREATING),
        ("Succeeded", DeploymentState.ACTIVE),
        ("Failed", DeploymentState.FAILED),
        ("Canceled", DeploymentState.FAILED),
        ("Disabled", DeploymentState.FAILED),
    ],
)
async def test_every_state_of_a_deployment_has_its_word(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, native: str, state: DeploymentState
) -> None:
    shown = {"properties": {"provisioningState": native, "model": {"name": "m"}}}
    server.fault("arm.get", Fault(body=json.dumps(shown).encode()))
    deployment = await provider.deploy("m", name=DEPLOYMENT)
    assert (deployment.state, deployment.native_state) == (state, native)
    assert bool(deployment.message) == (state is DeploymentState.FAILED)


async def test_a_deployment_of_another_model_is_not_taken_for_ours(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    await provider.deploy(await tuned(server, provider, request_), name=DEPLOYMENT)
    with pytest.raises(PermanentProviderError, match="of another model"):
        await provider.deploy("another", name=DEPLOYMENT)


async def test_a_deployment_that_fails_is_told_as_such(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    model = await tuned(server, provider, request_)
    server.next_deployment_fails = True
    await provider.deploy(model, name=DEPLOYMENT)
    server.clock.advance(3600)
    failed = await provider.deploy(model, name=DEPLOYMENT)
    assert failed.state is DeploymentState.FAILED
    assert "activity log" in failed.message


async def test_quota_that_is_used_up_is_waited_for_and_says_what_to_lower(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    model = await tuned(server, provider, request_)
    server.quota = 49
    with pytest.raises(QuotaExceeded, match="deploymentCapacity"):
        await provider.deploy(model, name=DEPLOYMENT)
    assert server.deployments == {}
    server.quota = 50
    await provider.deploy(model, name=DEPLOYMENT)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refused(400, code="InvalidResourceProperties"), PermanentProviderError),
        (refused(401), PermanentProviderError),
        (refused(403, code="AuthorizationFailed"), PermanentProviderError),
        (refused(404, code="ResourceGroupNotFound"), PermanentProviderError),
        (refused(409, code="RequestConflict"), TransientProviderError),
        (refused(412), TransientProviderError),
        (refused(429, retry_after="0.01"), QuotaExceeded),
        (refused(400, code="InsufficientQuota"), QuotaExceeded),
        (refused(400, code="DeploymentLimitExceeded"), QuotaExceeded),
        (refused(500), TransientProviderError),
        (refused(503), TransientProviderError),
        (DROPPED, TransientProviderError),
        (MALFORMED, UnexpectedResponse),
        (Fault(body=b"{}"), UnexpectedResponse),
        (Fault(body=b"[]"), UnexpectedResponse),
        (Fault(body=b'{"properties": {}}'), UnexpectedResponse),
        (Fault(body=b""), UnexpectedResponse),
    ],
)
async def test_what_goes_wrong_with_a_deployment_has_its_meaning(
    server: AzureOpenAIServer,
    provider: AzureOpenAIProvider,
    request_: JobRequest,
    fault: Fault,
    kind: type[ProviderError],
) -> None:
    model = await tuned(server, provider, request_)
    # aiohttp itself repeats a PUT once on a connection that it had open: the same name makes no second deployment.
    server.fault("arm.put", fault, *([fault] if fault is DROPPED else []))
    with pytest.raises(ProviderError) as caught:
        await provider.deploy(model, name=DEPLOYMENT)
    assert type(caught.value) is kind
    assert (await provider.deploy(model, name=DEPLOYMENT)).name == DEPLOYMENT  # the same call is safe


@pytest.mark.parametrize("fault", [refused(403), refused(500), DROPPED], ids=["403", "500", "dropped"])
async def test_a_deployment_is_made_only_where_azure_says_that_there_is_none(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, fault: Fault
) -> None:
    server.always("arm.get", fault)
    with pytest.raises(ProviderError):
        await provider.deploy("m", name=DEPLOYMENT)
    assert server.count("arm.put") == 0


async def test_a_refusal_without_azure_s_shape_is_understood_by_its_status(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "error", lambda status, *_, **__: Answer(b"<html>", status))
    for status, kind in ((403, PermanentProviderError), (502, TransientProviderError)):
        server.fault("arm.get", refused(status))
        with pytest.raises(kind, match="no reason given"):
            await provider.deploy("m", name=DEPLOYMENT)


async def test_a_management_api_that_is_not_there_was_not_reached(
    config: ProviderConfig, identity: Identity
) -> None:
    provider = made(replace(config, endpoints={"management": "http://127.0.0.1:1"}), identity)
    with pytest.raises(NotReached):
        await provider.deploy("m", name=DEPLOYMENT)
    await provider.aclose()


async def test_a_deployment_that_azure_has_deleted_itself_is_no_error(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    model = await tuned(server, provider, request_)
    await provider.deploy(model, name=DEPLOYMENT)
    server.clock.advance(25 * 3600)
    await provider.undeploy(DEPLOYMENT)
    await provider.undeploy(DEPLOYMENT)
    server.fault("arm.delete", refused(404, code="ResourceNotFound"))
    await provider.undeploy(DEPLOYMENT)
    assert (await provider.deploy(model, name=DEPLOYMENT)).state is DeploymentState.CREATING


async def test_a_deployment_counts_as_deleted_once_it_is_gone(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    await provider.deploy(await tuned(server, provider, request_), name=DEPLOYMENT)
    with pytest.raises(TransientProviderError, match="in progress"):
        await provider.undeploy(DEPLOYMENT)  # it is still being created
    server.clock.advance(700)
    server.deleting_s = 60.0
    with pytest.raises(TransientProviderError, match="may still cost"):
        await provider.undeploy(DEPLOYMENT)
    server.clock.advance(61)
    await provider.undeploy(DEPLOYMENT)


async def test_a_deletion_that_was_accepted_and_failed_is_asked_for_again(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    await provider.deploy(await tuned(server, provider, request_), name=DEPLOYMENT)
    server.clock.advance(700)
    server.deletion_fails = True
    with pytest.raises(TransientProviderError, match="may still cost"):
        await provider.undeploy(DEPLOYMENT)
    server.deletion_fails = False
    await provider.undeploy(DEPLOYMENT)
    assert server.hosted(DEPLOYMENT) is None


def test_the_fake_is_one_that_azure_s_own_management_client_understands(
    server: AzureOpenAIServer, config: ProviderConfig, tmp_path: Path
) -> None:
    async def train() -> str:
        provider = made(config, Identity(server.secret))
        training = await provider.upload(write_dataset(tmp_path / "t.jsonl", repeat=4), base_model=MODEL)
        model = await tuned(server, provider, JobRequest(KEY, MODEL, {"epochs": 1}, training))
        await provider.aclose()
        return model

    model = asyncio.run(train())
    server.deploying_s = 0.0
    wanted = ManagedDeployment(
        sku=Sku(name="developertier", capacity=50),
        properties=DeploymentProperties(model=DeploymentModel(format="OpenAI", name=model, version="1")),
    )
    with CognitiveServicesManagementClient(
        StaticToken(), SUBSCRIPTION, base_url=server.url, polling_interval=0
    ) as client:
        where, http = ("ml", "acme-openai"), {"enforce_https": False}
        done = client.deployments.begin_create_or_update(*where, "one", wanted, **http).result()
        assert done.properties.provisioning_state == "Succeeded"
        assert client.deployments.get(*where, "one", **http).properties.model.name == model
        assert [each.name for each in client.deployments.list(*where, **http)] == ["one"]
        too_much = ManagedDeployment(sku=Sku(name="standard", capacity=900), properties=wanted.properties)
        with pytest.raises(HttpResponseError, match="InsufficientQuota"):
            client.deployments.begin_create_or_update(*where, "two", too_much, **http)
        client.deployments.begin_delete(*where, "one", **http).result()
        with pytest.raises(ResourceNotFoundError):
            client.deployments.get(*where, "one", **http)


async def test_the_management_client_and_we_send_the_same(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    model = await tuned(server, provider, request_)
    await provider.deploy(model, name="ours")
    wanted = ManagedDeployment(
        sku=Sku(name="developertier", capacity=50),
        properties=DeploymentProperties(model=DeploymentModel(format="OpenAI", name=model, version="1")),
    )

    def deploy() -> None:
        with CognitiveServicesManagementClient(StaticToken(), SUBSCRIPTION, base_url=server.url) as client:
            client.deployments.begin_create_or_update(
                "ml", "acme-openai", "theirs", wanted, polling=False, enforce_https=False
            )

    await asyncio.to_thread(deploy)
    ours, theirs = [request for request in server.requests if request.operation == "arm.put"]
    assert ours.json == theirs.json
    assert ours.query == theirs.query
    assert ours.path.removesuffix("ours") == theirs.path.removesuffix("theirs")


# -- answers ----------------------------------------------------------------------------------------------


async def test_a_base_model_answers_only_where_somebody_deployed_it(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    async with provider.inference(MODEL) as session:
        with pytest.raises(PermanentProviderError, match="only through a deployment") as caught:
            await session.answer([conversation("red")], max_output_tokens=4)
    assert caught.value.field == "baseModels"
    model = await tuned(server, provider, request_)
    await provider.deploy(model, name=MODEL)  # somebody's deployment of that name
    server.clock.advance(3600)
    async with provider.inference(MODEL) as session:
        assert len(await session.answer([conversation("red")], max_output_tokens=4)) == 1
    assert server.requests[-1].path == f"/openai/deployments/{MODEL}/chat/completions"


async def test_a_new_deployment_may_need_five_minutes_and_not_more(
    server: AzureOpenAIServer,
    provider: AzureOpenAIProvider,
    request_: JobRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.known_after_s = 200.0
    model = await tuned(server, provider, request_)
    await provider.deploy(model, name=DEPLOYMENT)
    server.clock.advance(700)
    assert (await provider.deploy(model, name=DEPLOYMENT)).state is DeploymentState.ACTIVE

    async def ask() -> str:
        async with provider.inference(DEPLOYMENT) as session:
            return (await session.answer([conversation("red")], max_output_tokens=4))[0]

    with pytest.raises(TransientProviderError, match="some minutes"):
        await ask()
    server.clock.advance(200)
    assert await ask() == "warm"
    # Long after it has answered, it is gone: that is given the same time again, and then up.
    await provider.undeploy(DEPLOYMENT)
    with pytest.raises(TransientProviderError):
        await ask()
    later = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(PermanentProviderError, match=r"does not exist.*developer tier after 24 hours"):
        await ask()


async def test_a_prompt_that_the_content_filter_holds_back_is_an_empty_answer(
    server: AzureOpenAIServer, provider: AzureOpenAIProvider, request_: JobRequest
) -> None:
    model = await tuned(server, provider, request_)
    await provider.deploy(model, name=DEPLOYMENT)
    server.clock.advance(700)
    server.filtered.add(conversation("red")[0]["content"])
    async with provider.inference(DEPLOYMENT) as session:
        assert await session.answer([conversation("red")], max_output_tokens=4) == [""]
        assert await session.answer([conversation("blue")], max_output_tokens=4) == ["cold"]
    body = server.bodies("chat")[-1]
    assert (body["temperature"], body["max_tokens"]) == (0, 4)


# -- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["subscription", "resourceGroup", "account"])
def test_what_serving_needs_is_asked_for_before_anything_is_paid(config: ProviderConfig, name: str) -> None:
    options = {key: value for key, value in config.options.items() if key != name}
    with pytest.raises(PermanentProviderError, match="only through a deployment") as caught:
        create(replace(config, options=options))
    assert caught.value.field == f"spec.azureOpenAI.{name}"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("trainingType", "Cheap", "Standard, GlobalStandard, DeveloperTier"),
        ("deploymentCapacity", "0", "no number from 1"),
        ("deploymentCapacity", "-3", "no number from 1"),
        ("deploymentCapacity", "many", "no number from 1"),
    ],
)
def test_a_wrong_setting_names_its_field(
    config: ProviderConfig, option: str, value: object, said: str
) -> None:
    with pytest.raises(PermanentProviderError, match=said) as caught:
        create(replace(config, options={**config.options, option: value}))
    assert caught.value.field == f"spec.azureOpenAI.{option}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_OPENAI_API_KEY", "4711…ab"),
        ("AZURE_OPENAI_API_KEY", "4711\nab"),
        ("AZURE_OPENAI_ENDPOINT", "4711"),
        ("AZURE_OPENAI_ENDPOINT", "http://[4711"),
    ],
)
def test_what_is_wrong_in_the_secret_is_named_and_not_shown(
    config: ProviderConfig, name: str, value: str
) -> None:
    with pytest.raises(PermanentProviderError, match=name) as caught:
        create(replace(config, endpoint=None, credentials={**config.credentials, name: value}))
    assert caught.value.field == "spec.credentialsSecretRef"
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"AZURE_CLIENT_SECRET": "s"}, "no AZURE_TENANT_ID and no AZURE_CLIENT_ID"),
        ({"AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"}, "no AZURE_CLIENT_ID"),
        (
            {"AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "no tenant!", "AZURE_CLIENT_ID": "c"},
            "AZURE_TENANT_ID",
        ),
    ],
)
def test_half_a_service_principal_is_none(
    config: ProviderConfig, secret: Mapping[str, str], said: str
) -> None:
    with pytest.raises(PermanentProviderError, match=said) as caught:
        create(replace(config, credentials=secret))
    assert caught.value.field == "spec.credentialsSecretRef"


async def test_a_service_principal_of_the_secret_is_used_and_else_what_the_machine_has(
    config: ProviderConfig,
) -> None:
    principal = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"}
    for secret, kind in (
        (principal, ClientSecretCredential),
        ({}, DefaultAzureCredential),
        ({"AZURE_CLIENT_ID": "c"}, DefaultAzureCredential),
    ):
        provider = made(replace(config, credentials=secret), None)
        assert type(provider._identity) is kind
        await provider.aclose()


async def test_a_service_principal_of_this_process_s_environment_is_nobody_s(
    config: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, "leaked")
    provider = made(replace(config, credentials={}), None)
    kinds = {type(each).__name__ for each in provider._identity.credentials}  # type: ignore[union-attr]
    assert "ManagedIdentityCredential" in kinds
    assert "EnvironmentCredential" not in kinds
    await provider.aclose()


async def test_an_identity_among_several_is_chosen_by_its_id(
    config: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, object]] = []
    monkeypatch.setattr(identity_module, "DefaultAzureCredential", lambda **given: asked.append(given))
    for secret, chosen in (({}, set()), ({"AZURE_CLIENT_ID": "c"}, {"c"})):
        identity_module.credential_of(replace(config, credentials=secret))
        assert {value for name, value in asked[-1].items() if name.endswith("client_id")} == chosen
        assert asked[-1]["authority"] == "https://login.microsoftonline.com"


async def test_a_key_does_not_follow_to_where_an_answer_points(
    server: AzureOpenAIServer, config: ProviderConfig, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AzureOpenAIServer() as elsewhere:
        pointing = Answer(None, 307, {"Location": f"{elsewhere.url}/openai/fine_tuning/jobs"})
        monkeypatch.setattr(server, "error", lambda *_, **__: pointing)
        server.always("jobs.list", refused(307))
        provider = made(config, identity)
        with pytest.raises(UnexpectedResponse, match="307"):
            await provider.check([MODEL])
        await provider.aclose()
        assert elsewhere.requests == []


async def test_without_a_key_the_data_plane_is_asked_with_a_token(
    server: AzureOpenAIServer, config: ProviderConfig, identity: Identity
) -> None:
    provider = made(replace(config, credentials={}), identity)
    await provider.check([MODEL])
    await provider.aclose()
    assert identity.scopes == [
        "https://cognitiveservices.azure.com/.default",
        "https://management.azure.com/.default",
    ]
    assert all(request.headers["Authorization"] == f"Bearer {server.secret}" for request in server.requests)


async def test_nothing_of_this_process_s_environment_is_sent(
    server: AzureOpenAIServer, config: ProviderConfig, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_AD_TOKEN",
        "OPENAI_API_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "AZURE_OPENAI_ENDPOINT",
        "OPENAI_API_VERSION",
    ):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Leaked: leaked")
    for credentials in ({}, config.credentials):
        provider = made(replace(config, credentials=credentials), identity)
        await provider.check([MODEL])
        await provider.aclose()
    assert len(server.requests) == 4
    assert "leaked" not in "".join(f"{request.headers} {request.query}" for request in server.requests)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClientAuthenticationError("AADSTS7000215: Invalid client secret"), PermanentProviderError),
        (CredentialUnavailableError("no managed identity"), PermanentProviderError),
        (ServiceRequestError("no route"), NotReached),
    ],
)
async def test_without_a_token_nothing_is_bought_and_the_reason_is_told(
    server: AzureOpenAIServer,
    config: ProviderConfig,
    request_: JobRequest,
    error: Exception,
    kind: type[ProviderError],
) -> None:
    provider = made(replace(config, credentials={}), Identity("", error))
    for call in (provider.submit(request_), provider.deploy("m", name=DEPLOYMENT)):
        with pytest.raises(ProviderError) as caught:
            await call
        assert type(caught.value) is kind
        assert "Microsoft Entra" in str(caught.value)
    assert server.count("jobs.create") == 0
    await provider.aclose()


@pytest.mark.parametrize(
    ("error", "had_token", "kind"),
    [
        (entra_error("(invalid_client) AADSTS7000222: expired", 401), True, PermanentProviderError),
        (entra_error("(invalid_client) AADSTS7000222: expired", 401), False, PermanentProviderError),
        (entra_error("(temporarily_unavailable) AADSTS90033: try again", 503), False, NotReached),
        (entra_error("(temporarily_unavailable) AADSTS90033: try again", 400), False, NotReached),
        (entra_error("(server_error) AADSTS90006", 500), False, NotReached),
        (entra_error("too many requests", 429), False, NotReached),
        (ClientAuthenticationError("Unexpected response from Microsoft Entra ID: <html>"), False, NotReached),
        # What gave tokens yesterday is there; today it does not answer.
        (CredentialUnavailableError("no response from the IMDS endpoint"), True, NotReached),
        (CredentialUnavailableError("no response from the IMDS endpoint"), False, PermanentProviderError),
    ],
)
async def test_a_login_that_fails_for_a_while_ends_no_trial(
    server: AzureOpenAIServer,
    config: ProviderConfig,
    request_: JobRequest,
    error: Exception,
    had_token: bool,
    kind: type[ProviderError],
) -> None:
    identity = Identity(server.secret)
    provider = made(replace(config, credentials={}), identity)
    if had_token:
        await provider.check([MODEL])
    identity._error = error
    for call in (provider.submit(request_), provider.deploy("m", name=DEPLOYMENT)):
        with pytest.raises(ProviderError) as caught:
            await call
        assert type(caught.value) is kind
    assert server.count("jobs.create") == 0
    await provider.aclose()


async def test_the_check_looks_at_both_planes(
    server: AzureOpenAIServer, config: ProviderConfig, identity: Identity, provider: AzureOpenAIProvider
) -> None:
    server.requests.clear()
    await provider.check([MODEL])
    assert [request.operation for request in server.requests] == ["jobs.list", "arm.list"]
    server.fault("arm.list", refused(403, code="AuthorizationFailed"))
    with pytest.raises(PermanentProviderError, match="Cognitive Services OpenAI Contributor"):
        await provider.check([MODEL])
    elsewhere = made(replace(config, options={**config.options, "account": "other"}), identity)
    with pytest.raises(PermanentProviderError, match="check subscription, resourceGroup and account"):
        await elsewhere.check([MODEL])
    await elsewhere.aclose()


async def test_the_endpoint_is_the_resource_s_own_where_none_is_written(
    server: AzureOpenAIServer, config: ProviderConfig, identity: Identity
) -> None:
    provider = made(replace(config, endpoint=None), identity)
    assert str(provider._client.base_url) == "https://acme-openai.openai.azure.com/openai/"
    await provider.aclose()
    secret = {**config.credentials, "AZURE_OPENAI_ENDPOINT": f"{server.url}/"}
    provider = made(replace(config, endpoint=None, credentials=secret), identity)
    await provider.check([MODEL])
    await provider.aclose()


async def test_another_version_of_the_api_can_be_spoken(
    server: AzureOpenAIServer, config: ProviderConfig, identity: Identity
) -> None:
    provider = made(replace(config, options={**config.options, "apiVersion": "2031-01-01"}), identity)
    with pytest.raises(PermanentProviderError):
        await provider.check([MODEL])
    assert server.requests[-1].query["api-version"] == ["2031-01-01"]
    await provider.aclose()


def test_azure_sells_to_those_who_are_there(provider: AzureOpenAIProvider) -> None:
    assert provider.offer.state is OfferState.CLOSING
    assert "2027-04-01" in provider.offer.message
    assert provider.capabilities.needs_deployment
    assert provider.capabilities.lookup_window_s is None


async def test_datasets_have_azure_s_limits(provider: AzureOpenAIProvider, tmp_path: Path) -> None:
    with pytest.raises(PermanentProviderError, match="Azure OpenAI takes 10 or more"):
        await provider.check_data(MODEL, training=write_dataset(tmp_path / "six.jsonl"), validation=None)
