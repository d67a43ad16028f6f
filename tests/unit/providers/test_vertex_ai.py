"""Jobs at Vertex AI: what is sent, what is read from them, what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.patience import PATIENCE_S
from tests.contract.provider_contract import KEY, write_dataset
from tests.fakes.http_server import DROPPED, Fault, refused
from tests.fakes.vertex_ai_schema import document
from tests.fakes.vertex_ai_server import MODELS, REGION, VertexAIServer, config_for

from finetune_providers.base import JobRequest, JobState, MetricPoint, ParameterValue
from finetune_providers.errors import PermanentProviderError, UnexpectedResponse
from finetune_providers.vertex_ai import VertexAI
from finetune_providers.vertex_ai.wire import STATES, tuning_job

TUNING_JOB = "GoogleCloudAiplatformV1TuningJob"


@pytest.fixture
def server() -> Iterator[VertexAIServer]:
    with VertexAIServer() as server:
        yield server
    assert server.violations == []


@pytest.fixture
async def provider(server: VertexAIServer, tmp_path: Path) -> AsyncIterator[VertexAI]:
    provider = VertexAI(config_for(server, tmp_path / "work"))
    yield provider
    await provider.aclose()


@pytest.fixture
async def plain(provider: VertexAI, tmp_path: Path) -> JobRequest:
    dataset = write_dataset(tmp_path / "t.jsonl", repeat=3)
    training = await provider.upload(dataset, base_model="gemini-2.5-flash")
    return JobRequest(
        key=KEY, base_model="gemini-2.5-flash", hyperparameters={"epochs": 2}, training=training
    )


# -- the create call ----------------------------------------------------------------------------------------


async def test_the_create_call_says_all_of_the_request_and_no_more(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    request = replace(
        plain,
        hyperparameters={"epochs": 3, "learningRateMultiplier": 0.5, "loraRank": 8},
        validation=plain.training,
        labels={"sweep": "Support.Intents", "trial": "support.intents-0"},
    )
    await provider.submit(request)
    (body,) = server.bodies("create")
    assert body == {
        "baseModel": "gemini-2.5-flash",
        "tunedModelDisplayName": f"support.intents-0 {KEY}",
        "labels": {
            "finetune_key": KEY,
            "finetune_sweep": "support-intents",
            "finetune_trial": "support-intents-0",
        },
        "supervisedTuningSpec": {
            "trainingDatasetUri": request.training,
            "validationDatasetUri": request.training,
            "hyperParameters": {
                "epochCount": "3",
                "learningRateMultiplier": 0.5,
                "adapterSize": "ADAPTER_SIZE_EIGHT",
            },
            "exportLastCheckpointOnly": True,
        },
    }


async def test_what_is_not_asked_for_is_left_to_vertex_ai(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    await provider.submit(replace(plain, hyperparameters={}))
    (body,) = server.bodies("create")
    assert body["supervisedTuningSpec"].get("hyperParameters", {}) == {}
    assert "validationDatasetUri" not in body["supervisedTuningSpec"]


@pytest.mark.parametrize(
    ("hyperparameters", "native"),
    [
        ({"epochs": 7}, {"epochCount": "7"}),
        ({"learningRateMultiplier": 2}, {"learningRateMultiplier": 2.0}),
        ({"loraRank": 1}, {"adapterSize": "ADAPTER_SIZE_ONE"}),
        ({"loraRank": 2}, {"adapterSize": "ADAPTER_SIZE_TWO"}),
        ({"loraRank": 4}, {"adapterSize": "ADAPTER_SIZE_FOUR"}),
        ({"loraRank": 8}, {"adapterSize": "ADAPTER_SIZE_EIGHT"}),
        ({"loraRank": 16}, {"adapterSize": "ADAPTER_SIZE_SIXTEEN"}),
    ],
)
async def test_each_hyperparameter_arrives_under_its_own_name(
    server: VertexAIServer,
    provider: VertexAI,
    plain: JobRequest,
    hyperparameters: Mapping[str, ParameterValue],
    native: Mapping[str, Any],
) -> None:
    await provider.submit(replace(plain, hyperparameters=hyperparameters))
    (body,) = server.bodies("create")
    assert body["supervisedTuningSpec"]["hyperParameters"] == native


@pytest.mark.parametrize(
    ("hyperparameters", "field"),
    [
        ({"batchSize": 4}, "parameters.batchSize"),
        ({"learningRate": 1e-4}, "parameters.learningRate"),
        ({"loraRank": 3}, "parameters.loraRank"),
        ({"epochs": "many"}, "parameters.epochs"),
    ],
)
async def test_what_vertex_ai_does_not_take_is_refused_before_anything_is_sent(
    server: VertexAIServer,
    provider: VertexAI,
    plain: JobRequest,
    hyperparameters: Mapping[str, ParameterValue],
    field: str,
) -> None:
    with pytest.raises(PermanentProviderError) as caught:
        await provider.submit(replace(plain, hyperparameters=hyperparameters))
    assert caught.value.field == field
    assert server.count("create") == 0


@given(
    st.dictionaries(st.text(min_size=1, max_size=80), st.text(max_size=300), max_size=4),
    st.text(max_size=200),
)
def test_the_key_survives_whatever_a_sweep_is_called(labels: dict[str, str], trial: str) -> None:
    given_labels = {**labels, "trial": trial, "key": "no"}
    job = tuning_job(JobRequest(KEY, "gemini-2.5-flash", {}, "gs://b/o", labels=given_labels))
    assert job.labels["finetune_key"] == KEY
    assert job.tuned_model_display_name.endswith(KEY)
    assert len(job.tuned_model_display_name) <= 128
    for text in (*job.labels, *job.labels.values()):
        assert len(text) <= 63
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_a_label_s_name_is_cut_to_what_google_takes() -> None:
    job = tuning_job(JobRequest(KEY, "gemini-2.5-flash", {}, "gs://b/o", labels={"x" * 70: "y" * 70}))
    assert {len(name) for name in job.labels} == {len("finetune_key"), 63}


def test_a_key_that_is_no_label_buys_nothing() -> None:
    with pytest.raises(PermanentProviderError, match="no label"):
        tuning_job(JobRequest("Not A Label", "gemini-2.5-flash", {}, "gs://b/o"))


# -- states -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("JOB_STATE_QUEUED", JobState.PENDING),
        ("JOB_STATE_PENDING", JobState.PENDING),
        ("JOB_STATE_RUNNING", JobState.RUNNING),
        ("JOB_STATE_UPDATING", JobState.RUNNING),
        ("JOB_STATE_PAUSED", JobState.RUNNING),
        ("JOB_STATE_CANCELLING", JobState.RUNNING),
        ("JOB_STATE_FAILED", JobState.FAILED),
        ("JOB_STATE_EXPIRED", JobState.FAILED),
        ("JOB_STATE_CANCELLED", JobState.CANCELLED),
        ("JOB_STATE_UNSPECIFIED", JobState.RUNNING),
    ],
)
async def test_every_state_has_its_meaning(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest, word: str, state: JobState
) -> None:
    job = await provider.submit(plain)
    server.jobs[job.job_id].native_state = word
    seen = (await provider.observe([job.job_id]))[job.job_id]
    assert (seen.state, seen.native_state) == (state, word)


def test_every_state_of_google_s_document_is_known() -> None:
    words = document("aiplatform.v1").schemas[TUNING_JOB]["properties"]["state"]["enum"]
    assert {state.name for state in STATES} == set(words) - {"JOB_STATE_UNSPECIFIED"}


async def test_a_state_whose_word_cannot_be_read_is_unknown(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    job = await provider.submit(plain)
    server.jobs[job.job_id].native_state = "JOB_STATE_DREAMING"
    server.always("get", DROPPED)
    seen = (await provider.observe([job.job_id]))[job.job_id]
    assert (seen.state, seen.native_state) == (JobState.RUNNING, "unknown")


@pytest.mark.parametrize("word", ["JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"])
async def test_a_job_has_succeeded_where_its_model_can_be_asked(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest, word: str
) -> None:
    server.ends_in = word
    job = await provider.submit(plain)
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert (done.state, done.native_state) == (JobState.SUCCEEDED, word)
    assert done.fine_tuned_model == f"projects/123456789012/locations/{REGION}/endpoints/2001"
    assert done.trained_tokens == 2 * 1000  # the dataset's tokens, once an epoch


async def test_a_job_that_has_succeeded_may_get_its_endpoint_a_little_later(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    job = await provider.submit(plain)
    server.finish_training()
    server.without_endpoint = True
    seen = (await provider.observe([job.job_id]))[job.job_id]
    assert (seen.state, seen.fine_tuned_model) == (JobState.RUNNING, None)
    server.without_endpoint = False
    seen = (await provider.observe([job.job_id]))[job.job_id]
    assert (seen.state, seen.fine_tuned_model is None) == (JobState.SUCCEEDED, False)


@pytest.mark.parametrize("word", ["JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"])
async def test_a_job_without_an_endpoint_has_failed_and_names_the_model_that_is_left(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest, word: str
) -> None:
    server.ends_in, server.without_endpoint = word, True
    job = await provider.submit(plain)
    server.finish_training()
    looks = [(await provider.observe([job.job_id]))[job.job_id] for _ in range(5)]
    assert [each.state for each in looks] == [JobState.RUNNING] * 4 + [JobState.FAILED]
    assert looks[-1].fine_tuned_model is None
    assert looks[-1].message == (
        f"{word} without an endpoint that answers; "
        f"its model is projects/123456789012/locations/{REGION}/models/1001@1"
    )


# -- looking ------------------------------------------------------------------------------------------------


async def test_looking_ends_when_all_jobs_are_seen_and_asks_one_by_one_for_the_others(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    server.page_size = 2
    jobs = [await provider.submit(replace(plain, key=f"ft-{number}-a1")) for number in range(6)]
    await provider.observe([jobs[5].job_id, jobs[4].job_id])  # the newest come first
    assert server.count("list") == 1
    server.jobs[jobs[0].job_id].hidden_until_s = 1e9
    seen = await provider.observe([jobs[0].job_id, jobs[5].job_id])
    assert set(seen) == {jobs[0].job_id, jobs[5].job_id}
    assert server.count("list") == 4
    assert server.count("get") == 1


@pytest.mark.parametrize("call", ["find", "observe"])
async def test_a_list_of_jobs_without_an_end_is_not_followed(
    server: VertexAIServer, provider: VertexAI, call: str
) -> None:
    server.always("list", Fault(body=b'{"nextPageToken": "again"}'))
    async with asyncio.timeout(10):
        with pytest.raises(UnexpectedResponse, match="list of tuning jobs has no end"):
            await (provider.find(KEY) if call == "find" else provider.observe(["any"]))


async def test_a_filter_is_trusted_once_it_has_found_something(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    assert await provider.find("ft-none-a1") == ()
    job = await provider.submit(plain)
    assert [each.job_id for each in await provider.find(KEY)] == [job.job_id]
    assert await provider.find("ft-none-a1") == ()
    assert [each.one("filter") for each in server.requests if each.operation == "list"] == [
        'labels.finetune_key="ft-none-a1"',
        "",  # nothing was found yet, so that everything is looked through
        f'labels.finetune_key="{KEY}"',
        'labels.finetune_key="ft-none-a1"',
    ]


@pytest.mark.parametrize("filters", ["evaluated", "ignored", "refused", "blind"])
async def test_a_job_is_found_whatever_the_list_makes_of_a_filter(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest, filters: str
) -> None:
    server.filters, server.page_size = filters, 2
    jobs = [await provider.submit(replace(plain, key=f"ft-{number}-a1")) for number in range(5)]
    for number, job in enumerate(jobs):
        (found,) = await provider.find(f"ft-{number}-a1")
        assert (found.job_id, found.key) == (job.job_id, f"ft-{number}-a1")
    assert await provider.find("ft-5-a1") == ()


async def test_a_refused_filter_that_names_a_field_of_jobs_hides_none(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    job = await provider.submit(plain)
    server.fault("list", refused(400, code="Invalid filter; it may name base_model, state"))
    assert [each.job_id for each in await provider.find(KEY)] == [job.job_id]


async def test_a_job_that_lost_its_labels_is_found_by_its_name(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    job = await provider.submit(plain)
    del server.jobs[job.job_id].body["labels"]
    (found,) = await provider.find(KEY)
    assert (found.job_id, found.key) == (job.job_id, KEY)


# -- metrics ------------------------------------------------------------------------------------------------


async def test_metrics_have_canonical_names_and_are_read_once(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    server.metrics = {
        "/train_total_loss": [(1, 2.0), (2, 1.5)],
        "/train_num_predictions": [(1, 17.0)],
        "/eval_total_loss": [(2, 1.25)],
        "/eval_fraction_of_correct_next_step_preds": [(2, 0.5)],
    }
    job = await provider.submit(plain)
    await provider.observe([job.job_id])
    assert server.count("context") == 0
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert done.series == (
        MetricPoint(1, {"trainingLoss": 2.0}),
        MetricPoint(2, {"trainingLoss": 1.5, "validationLoss": 1.25, "validationTokenAccuracy": 0.5}),
    )
    assert (await provider.observe([job.job_id]))[job.job_id] == done
    assert server.count("scalars") == 1


@pytest.mark.parametrize(
    "metrics", [None, {}, {"/train_num_predictions": [(1, 17.0)]}], ids=["no board", "none", "other"]
)
async def test_a_job_without_metrics_has_an_empty_series(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest, metrics: dict[str, Any] | None
) -> None:
    server.with_tensorboard, server.metrics = metrics is not None, metrics or {}
    job = await provider.submit(plain)
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert (done.state, done.series, done.message) == (JobState.SUCCEEDED, (), "")


async def test_metrics_that_may_not_be_read_hold_nothing_up(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    server.always("context", refused(403))
    job = await provider.submit(plain)
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert (done.state, done.series) == (JobState.SUCCEEDED, ())
    assert "metrics could not be read" in done.message


async def test_metrics_that_cannot_be_read_now_are_asked_for_again_but_not_for_ever(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    first = await provider.submit(plain)
    server.finish_training()
    server.fault("scalars", refused(503))
    waiting = (await provider.observe([first.job_id]))[first.job_id]
    assert (waiting.state, waiting.fine_tuned_model) == (JobState.RUNNING, None)
    done = (await provider.observe([first.job_id]))[first.job_id]
    assert done.state is JobState.SUCCEEDED
    assert done.series
    second = await provider.submit(replace(plain, key="ft-2-a1"))
    server.finish_training()
    server.always("scalars", refused(503))
    looks = [(await provider.observe([second.job_id]))[second.job_id] for _ in range(60)]
    assert [each.state for each in looks] == [JobState.RUNNING] * 59 + [JobState.SUCCEEDED]
    assert "metrics could not be read" in looks[-1].message
    third = await provider.submit(replace(plain, key="ft-3-a1"))
    server.finish_training()
    server.always("context", refused(404))
    looks = [(await provider.observe([third.job_id]))[third.job_id] for _ in range(5)]
    assert [each.state for each in looks] == [JobState.RUNNING] * 4 + [JobState.SUCCEEDED]


# -- models that are offered, credentials, cancelling -------------------------------------------------------


async def test_the_catalog_agrees_with_what_the_models_take(provider: VertexAI) -> None:
    for name, sizes in MODELS.items():
        rules = provider.model_rules(name)
        assert rules is not None
        assert rules.parameters["loraRank"].allowed == sizes
        assert set(rules.parameters) == {"epochs", "learningRateMultiplier", "loraRank"}


async def test_a_model_that_is_not_tuned_in_the_region_is_refused(
    server: VertexAIServer, tmp_path: Path
) -> None:
    provider = VertexAI(config_for(server, tmp_path, region="asia-east1"))
    with pytest.raises(PermanentProviderError, match="us-central1 and europe-west4 only") as caught:
        await provider.check(["gemini-3.5-flash"])
    assert caught.value.field == "spec.region"
    assert server.requests == []
    await provider.aclose()


async def test_checking_is_one_call_that_proves_the_credentials(
    server: VertexAIServer, provider: VertexAI
) -> None:
    await provider.check(["gemini-2.5-flash", "gemini-2.5-pro"])
    assert [each.operation for each in server.requests] == ["login", "list"]
    server.always("list", refused(403))
    with pytest.raises(PermanentProviderError, match=r"roles/aiplatform\.user"):
        await provider.check(["gemini-2.5-flash"])


async def test_a_refusal_to_cancel_is_told_unless_the_job_has_ended(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    job = await provider.submit(plain)
    server.always("cancel", refused(400))
    with pytest.raises(PermanentProviderError):
        await provider.cancel(job.job_id)
    server.finish_training()
    await provider.cancel(job.job_id)


async def test_a_job_that_is_being_cancelled_needs_no_second_word(
    server: VertexAIServer, provider: VertexAI, plain: JobRequest
) -> None:
    job = await provider.submit(plain)
    server.jobs[job.job_id].native_state = "JOB_STATE_CANCELLING"
    server.always("cancel", refused(400))
    await provider.cancel(job.job_id)


async def test_a_purchase_waits_behind_nothing_else(provider: VertexAI, plain: JobRequest) -> None:
    """One that was never sent because all threads were busy would be in doubt."""
    done = threading.Event()
    busy = [asyncio.ensure_future(provider._calls.in_thread(done.wait, 2 * PATIENCE_S)) for _ in range(16)]
    try:
        job = await asyncio.wait_for(provider.submit(plain), PATIENCE_S)
    finally:
        done.set()
    assert job.key == KEY
    await asyncio.gather(*busy)
