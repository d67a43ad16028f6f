from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.patience import PATIENCE_S
from tests.contract.provider_contract import KEY, conversation, write_dataset
from tests.fakes import openai_schema
from tests.fakes.http_server import Fault, refused
from tests.fakes.openai_server import OpenAIServer

from finetune_providers.base import (
    DatasetFile,
    JobRequest,
    JobState,
    MetricPoint,
    OfferState,
    ProviderConfig,
)
from finetune_providers.calls import Calls
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)
from finetune_providers.openai import OpenAIProvider, create, suffix
from finetune_providers.openai_protocol import DataLimits, Explainer
from finetune_providers.openai_protocol.data import converted
from finetune_providers.openai_protocol.parsing import series_of, snapshot_of

MODEL = "gpt-4.1-mini-2025-04-14"
EXPLAIN = Explainer("OpenAI", "check the key", "add credit")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server
    assert server.violations == []


@pytest.fixture
def config(server: OpenAIServer, tmp_path: Path) -> ProviderConfig:
    return ProviderConfig(
        name="openai",
        type="OpenAI",
        work_dir=tmp_path / "work",
        endpoint=f"{server.url}/v1",
        credentials={"OPENAI_API_KEY": server.secret},
    )


@pytest.fixture
async def provider(config: ProviderConfig) -> AsyncIterator[OpenAIProvider]:
    provider = create(config)
    assert isinstance(provider, OpenAIProvider)
    yield provider
    await provider.aclose()


@pytest.fixture
async def request_(provider: OpenAIProvider, tmp_path: Path) -> JobRequest:
    training = write_dataset(tmp_path / "train.jsonl", repeat=4)
    return JobRequest(
        key=KEY,
        base_model=MODEL,
        hyperparameters={"epochs": 2, "batchSize": 4, "learningRateMultiplier": 0.5},
        training=await provider.upload(training, base_model=MODEL),
        validation=await provider.upload(write_dataset(tmp_path / "valid.jsonl"), base_model=MODEL),
        seed=2**31 + 7,
        labels={"sweep": "intents", "trial": "intents-3"},
    )


# -- the create call ------------------------------------------------------------------------------------------


async def test_the_create_call_says_exactly_what_was_asked(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    assert server.bodies("jobs.create") == [
        {
            "model": MODEL,
            "training_file": request_.training,
            "validation_file": request_.validation,
            "method": {
                "type": "supervised",
                "supervised": {
                    "hyperparameters": {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}
                },
            },
            "seed": 7,
            "suffix": "intents-3",
            "metadata": {"sweep": "intents", "trial": "intents-3", "finetune-operator/key": KEY},
        }
    ]
    assert job.key == KEY
    assert job.created_at is not None


async def test_what_was_not_asked_is_left_to_openai(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    await provider.submit(replace(request_, hyperparameters={}, validation=None, labels={}))
    (body,) = server.bodies("jobs.create")
    assert body["method"] == {"type": "supervised", "supervised": {"hyperparameters": {}}}
    assert "validation_file" not in body
    assert body["suffix"] == KEY


@pytest.mark.parametrize(
    ("name", "value", "native"),
    [
        ("epochs", 3, {"n_epochs": 3}),
        ("epochs", 3.0, {"n_epochs": 3}),
        ("batchSize", 16, {"batch_size": 16}),
        ("learningRateMultiplier", 2, {"learning_rate_multiplier": 2.0}),
        ("learningRateMultiplier", 1e-5, {"learning_rate_multiplier": 1e-5}),
    ],
)
async def test_each_hyperparameter_has_openai_s_name_and_type(
    server: OpenAIServer,
    provider: OpenAIProvider,
    request_: JobRequest,
    name: str,
    value: float,
    native: Mapping[str, Any],
) -> None:
    await provider.submit(replace(request_, hyperparameters={name: value}))
    sent = server.bodies("jobs.create")[0]["method"]["supervised"]["hyperparameters"]
    assert sent == native
    assert [type(each) for each in sent.values()] == [type(each) for each in native.values()]


@pytest.mark.parametrize(
    ("name", "value"), [("loraRank", 8), ("learningRate", 1e-4), ("epochs", "auto"), ("epochs", 2.5)]
)
async def test_a_hyperparameter_that_openai_does_not_take_is_refused_before_any_call(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, name: str, value: float | str
) -> None:
    with pytest.raises(PermanentProviderError) as caught:
        await provider.submit(replace(request_, hyperparameters={name: value}))
    assert caught.value.field == f"parameters.{name}"
    assert server.count("jobs.create") == 0


@pytest.mark.parametrize(
    ("hyperparameters", "field"),
    [
        ({"epochs": 51}, "parameters.epochs"),
        ({"epochs": 0}, "parameters.epochs"),
        ({"batchSize": 257}, "parameters.batchSize"),
        ({"learningRateMultiplier": 0}, "parameters.learningRateMultiplier"),
    ],
)
async def test_what_openai_refuses_names_our_field(
    provider: OpenAIProvider, request_: JobRequest, hyperparameters: Mapping[str, float], field: str
) -> None:
    with pytest.raises(PermanentProviderError, match="Invalid") as caught:
        await provider.submit(replace(request_, hyperparameters=hyperparameters))
    assert caught.value.field == field


async def test_a_model_or_a_file_that_is_gone_is_no_missing_job(
    provider: OpenAIProvider, request_: JobRequest
) -> None:
    with pytest.raises(PermanentProviderError) as caught:
        await provider.submit(replace(request_, base_model="gpt-2"))
    assert (type(caught.value), caught.value.field) == (PermanentProviderError, "baseModels")
    with pytest.raises(PermanentProviderError) as caught:
        await provider.submit(replace(request_, training="file-none"))
    assert caught.value.field == "training"


async def test_a_closed_organisation_is_told_why(
    server: OpenAIServer, config: ProviderConfig, provider: OpenAIProvider, request_: JobRequest
) -> None:
    server.closed = True
    # The same provider, as it is at OpenAI's own address: there, the catalog says that OpenAI is closing.
    itself = create(replace(config, endpoint=None), client=provider._client)
    with pytest.raises(PermanentProviderError, match=r"no new fine-tuning jobs .* from 2027-01-06"):
        await itself.submit(request_)
    with pytest.raises(PermanentProviderError, match="organisation may not make new ones") as caught:
        await provider.submit(request_)
    assert "2027" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "insufficient_quota"), (400, "billing_hard_limit_reached"), (429, "billing_not_active")],
)
async def test_an_account_without_money_waits_and_says_that_it_is_about_money(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, status: int, code: str
) -> None:
    server.fault("jobs.create", refused(status, code=code))
    with pytest.raises(QuotaExceeded, match="no credit left or has reached its budget"):
        await provider.submit(request_)
    server.fault("jobs.create", refused(429, code="rate_limit_exceeded"))
    with pytest.raises(QuotaExceeded) as caught:
        await provider.submit(request_)
    assert "credit" not in str(caught.value)
    assert not server.jobs


async def test_a_job_over_a_file_that_openai_still_processes_waits(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    server.processing_s = 60.0
    with pytest.raises(QuotaExceeded, match="still being processed"):
        await provider.submit(request_)
    server.clock.advance(61)
    await provider.submit(request_)


async def test_a_server_that_is_not_there_was_not_reached(
    config: ProviderConfig, request_: JobRequest, tmp_path: Path
) -> None:
    nowhere = create(replace(config, endpoint="http://127.0.0.1:1/v1"))
    with pytest.raises(NotReached):
        await nowhere.submit(request_)
    await nowhere.aclose()


# -- errors -----------------------------------------------------------------------------------------------


def status_error(
    status: int, body: object, headers: Mapping[str, str] | None = None
) -> openai.APIStatusError:
    response = httpx2.Response(status, request=httpx2.Request("POST", "http://here"), headers=headers)
    return openai.APIStatusError("Error", response=response, body=body)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "", PermanentProviderError),
        (401, "invalid_api_key", PermanentProviderError),
        (403, "", PermanentProviderError),
        (404, "model_not_found", JobNotFound),
        (404, "", JobNotFound),
        (408, "", TransientProviderError),
        (409, "", TransientProviderError),
        (413, "", PermanentProviderError),
        (422, "", PermanentProviderError),
        (429, "rate_limit_exceeded", QuotaExceeded),
        (500, "", TransientProviderError),
        (503, "", TransientProviderError),
        (529, "", TransientProviderError),
    ],
)
@pytest.mark.parametrize("shape", ["company", "text", "nothing"])
def test_every_status_has_its_meaning_whatever_comes_with_it(
    status: int, code: str, kind: type[ProviderError], shape: str
) -> None:
    bodies = {"company": {"message": "no", "code": code or None}, "text": "<html>", "nothing": None}
    named = EXPLAIN(status_error(status, bodies[shape]))
    assert isinstance(named, kind)
    assert isinstance(named, PermanentProviderError) == issubclass(kind, PermanentProviderError)
    assert str(status) in str(named)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx2.ConnectError("no"), NotReached),
        (httpx2.ConnectTimeout("no"), NotReached),
        (httpx2.PoolTimeout("no"), NotReached),
        (httpx2.ProxyError("no"), NotReached),  # a proxy that makes no connection
        (httpx2.ReadTimeout("no"), TransientProviderError),
        (httpx2.ReadError("no"), TransientProviderError),
        (httpx2.WriteError("no"), TransientProviderError),
        (httpx2.RemoteProtocolError("no"), TransientProviderError),
        (None, TransientProviderError),
    ],
)
def test_only_a_connection_that_was_never_made_was_not_reached(
    cause: Exception | None, kind: type[ProviderError]
) -> None:
    error = openai.APIConnectionError(request=httpx2.Request("POST", "http://here"))
    error.__cause__ = cause
    assert type(EXPLAIN(error)) is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "nan", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "-5"}, 0.0),
        ({}, None),
    ],
)
def test_a_wait_in_milliseconds_is_understood(headers: Mapping[str, str], seconds: float | None) -> None:
    named = EXPLAIN(status_error(429, None, headers))
    assert isinstance(named, QuotaExceeded)
    assert named.retry_after_s == seconds


def test_a_defect_of_ours_is_not_explained_away() -> None:
    assert EXPLAIN(KeyError("job")) is None


@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"[]", b'"text"', b"{}", b'{"id": 7, "status": "queued"}', b'{"id": "j", "status": null}'],
)
async def test_an_answer_of_another_shape_is_ambiguous_at_create_and_unexpected_elsewhere(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, answer: bytes
) -> None:
    server.fault("jobs.create", Fault(takes_effect=True, body=answer))
    with pytest.raises(AmbiguousProviderError):
        await provider.submit(request_)
    server.always("jobs.get", Fault(body=answer))
    with pytest.raises(UnexpectedResponse):
        await provider.observe(["ftjob-old"])
    server.always("jobs.list", Fault(body=answer))
    with pytest.raises(UnexpectedResponse):
        await provider.find(KEY)
    server.always("chat", Fault(body=answer))
    async with provider.inference(MODEL) as session:
        with pytest.raises(UnexpectedResponse):
            await session.answer([conversation("red")], max_output_tokens=4)
    server.always("files.list", Fault(body=answer))
    with pytest.raises(UnexpectedResponse):
        await provider.delete_data("any")


async def test_a_page_of_a_proxy_is_unexpected(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    server.content_type = "text/html"  # type: ignore[misc]
    server.always("jobs.list", Fault(body=b"<html>Sign in</html>"))
    with pytest.raises(UnexpectedResponse):
        await provider.observe(["ftjob-old"])


# -- reading jobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "state"),
    [
        ("validating_files", JobState.PENDING),
        ("queued", JobState.PENDING),
        ("running", JobState.RUNNING),
        ("paused", JobState.RUNNING),
        ("succeeded", JobState.SUCCEEDED),
        ("failed", JobState.FAILED),
        ("cancelled", JobState.CANCELLED),
        ("something_new", JobState.RUNNING),
    ],
)
def test_every_state_has_its_word(native: str, state: JobState) -> None:
    job = openai.types.fine_tuning.FineTuningJob.construct(id="ftjob-1", status=native)
    snapshot = snapshot_of(job, key=None)
    assert (snapshot.state, snapshot.native_state) == (state, native)


async def test_many_jobs_are_observed_with_one_call(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    jobs = [await provider.submit(replace(request_, key=f"ft-{n}")) for n in range(5)]
    server.requests.clear()
    await provider.observe([job.job_id for job in jobs])
    assert [request.operation for request in server.requests] == ["jobs.list"]
    assert server.requests[0].query == {"limit": ["100"]}


async def test_observing_stops_at_the_page_where_all_jobs_were_seen(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    jobs = [await provider.submit(replace(request_, key=f"ft-{n}")) for n in range(6)]
    server.page_size = 2
    server.requests.clear()
    assert set(await provider.observe([jobs[5].job_id, jobs[3].job_id])) == {jobs[5].job_id, jobs[3].job_id}
    assert server.count("jobs.list") == 2


async def test_a_job_that_the_list_does_not_show_yet_is_asked_for_itself(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    server.list_lag_s = 60
    job = await provider.submit(request_)
    assert await provider.find(KEY) == ()
    assert (await provider.observe([job.job_id]))[job.job_id].key == KEY
    server.clock.advance(61)
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]


async def test_jobs_are_found_by_the_server_s_filter_and_compared_again(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await provider.submit(request_)
    await provider.submit(replace(request_, key="ft-another"))
    server.requests.clear()
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]
    assert server.requests[0].query["metadata[finetune-operator/key]"] == [KEY]
    # A service that does not know the filter lists every job.
    monkeypatch.setattr(provider, "_filter", lambda key: {})
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_service_that_refuses_the_filter_is_asked_for_every_job(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, status: int
) -> None:
    job = await provider.submit(request_)
    server.fault("jobs.list", refused(status))
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]
    server.always("jobs.list", refused(status))
    with pytest.raises(PermanentProviderError):
        await provider.find(KEY)


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_a_list_that_is_refused_for_another_reason_is_not_asked_for_again(
    server: OpenAIServer, provider: OpenAIProvider, status: int
) -> None:
    server.always("jobs.list", refused(status))
    with pytest.raises(ProviderError):
        await provider.find(KEY)
    assert server.count("jobs.list") == 1


async def test_a_server_that_repeats_its_page_does_not_hold_us_forever(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    page = {"object": "list", "has_more": True, "data": [server.shown_job(server.jobs[job.job_id])]}
    server.always("jobs.list", Fault(body=json.dumps(page).encode()))
    async with asyncio.timeout(PATIENCE_S):
        assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]
    assert server.count("jobs.list") == 2


async def test_a_failed_job_tells_openai_s_reason(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, tmp_path: Path
) -> None:
    few = await provider.upload(write_dataset(tmp_path / "few.jsonl", scope="few"), base_model=MODEL)
    job = await provider.submit(replace(request_, training=few))
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert done.state is JobState.FAILED
    assert "must have at least 10" in done.message


# -- metrics ----------------------------------------------------------------------------------------------


async def test_a_job_s_series_has_training_loss_by_step_and_full_validation_by_checkpoint(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)  # 24 examples in batches of 4, twice
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert [point.step for point in done.series] == list(range(1, 13))
    assert {tuple(sorted(point.values)) for point in done.series} == {
        ("trainingLoss",),
        ("trainingLoss", "validationLoss", "validationTokenAccuracy"),
    }
    sold = server.jobs[job.job_id]
    last = server.checkpoint(sold, 12)["metrics"]
    assert done.series[-1].values["validationLoss"] == pytest.approx(last["full_valid_loss"])
    assert [point.step for point in done.series if "validationLoss" in point.values] == [6, 12]
    assert done.trained_tokens == 50 * 24 * 2
    calls = len(server.requests)
    await provider.observe([job.job_id])
    assert len(server.requests) == calls + 1  # the series of an ended job does not change


async def test_the_series_of_a_job_that_nobody_asks_for_any_more_is_let_go(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    first, second = [await provider.submit(replace(request_, key=f"ft-{n}")) for n in range(2)]
    server.finish_training()
    await provider.observe([first.job_id, second.job_id])
    assert set(provider._metrics._series) == {first.job_id, second.job_id}
    await provider.observe([second.job_id])
    assert set(provider._metrics._series) == {second.job_id}


async def test_a_series_comes_over_many_pages_and_has_at_most_100_points(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    server.page_size = 40
    job = await provider.submit(replace(request_, hyperparameters={"epochs": 20, "batchSize": 2}))
    server.finish_training()
    series = (await provider.observe([job.job_id]))[job.job_id].series
    steps = [point.step for point in series]
    assert len(steps) == 100
    assert (steps[0], steps[-1]) == (1, 240)
    assert {216, 228, 240} <= set(steps)  # the checkpoints


async def test_of_a_very_long_series_the_newest_part_is_read(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(replace(request_, hyperparameters={"epochs": 50, "batchSize": 1}))
    server.jobs[job.job_id].more["examples"] = 50
    server.finish_training()
    series = (await provider.observe([job.job_id]))[job.job_id].series
    assert series[-1].step == 2500
    assert server.count("jobs.events") == 20


def test_validation_on_one_batch_counts_where_there_is_no_other() -> None:
    event = openai.types.fine_tuning.FineTuningJobEvent.construct
    events = [event(type="metrics", data={"step": 2, "train_loss": 1.0, "valid_loss": 2.0, "odd": 3.0})]
    assert series_of(events, []) == (MetricPoint(2, {"trainingLoss": 1.0, "validationLoss": 2.0}),)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"train_loss": 1.0},
        {"step": "3", "train_loss": 1.0},
        {"step": 3, "train_loss": "high"},
        [1],
        "x",
    ],
)
def test_events_of_another_shape_are_no_points(data: object) -> None:
    event = openai.types.fine_tuning.FineTuningJobEvent.construct(type="metrics", data=data)
    assert series_of([event, object()], [object()]) == ()


async def test_one_job_s_unreadable_metrics_hold_up_no_other_and_not_forever(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    first = await provider.submit(request_)
    second = await provider.submit(replace(request_, key="ft-another"))
    server.jobs[second.job_id].endless = True
    server.finish_training()
    server.always("jobs.events", refused(503))
    server.always("jobs.checkpoints", refused(503))
    for _ in range(4):
        seen = await provider.observe([first.job_id, second.job_id])
        assert seen[first.job_id].state is JobState.RUNNING
        assert seen[first.job_id].native_state == "succeeded"
        assert seen[second.job_id].state is JobState.RUNNING
    done = (await provider.observe([first.job_id]))[first.job_id]
    assert (done.state, done.series) == (JobState.SUCCEEDED, ())
    assert done.fine_tuned_model


async def test_a_key_that_may_not_read_metrics_still_gets_its_model(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    server.finish_training()
    server.always("jobs.events", refused(403))
    server.always("jobs.checkpoints", refused(403))
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert (done.state, done.series) == (JobState.SUCCEEDED, ())


async def test_a_service_without_checkpoints_still_tells_what_its_events_say(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    server.finish_training()
    server.always("jobs.checkpoints", refused(404))
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert done.state is JobState.SUCCEEDED
    assert [point.step for point in done.series] == list(range(1, 13))
    assert "validationLoss" in done.series[-1].values


async def test_a_service_that_never_answers_for_checkpoints_still_tells_what_its_events_say(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    server.finish_training()
    server.always("jobs.checkpoints", refused(501))
    for _ in range(4):
        assert (await provider.observe([job.job_id]))[job.job_id].state is JobState.RUNNING
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert done.state is JobState.SUCCEEDED
    assert len(done.series) == 12


async def test_a_job_that_succeeded_is_waited_for_until_its_model_has_a_name(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    server.finish_training()
    shown = server.shown_job(server.jobs[job.job_id])
    nameless = {**shown, "fine_tuned_model": None}
    page = {"object": "list", "has_more": False, "data": [nameless]}
    server.fault("jobs.list", *[Fault(body=json.dumps(page).encode())] * 3)
    for _ in range(3):
        seen = (await provider.observe([job.job_id]))[job.job_id]
        assert (seen.state, seen.native_state) == (JobState.RUNNING, "succeeded")
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert (done.state, done.fine_tuned_model) == (JobState.SUCCEEDED, shown["fine_tuned_model"])


async def test_a_job_that_never_names_its_model_is_not_waited_for_for_ever(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    server.finish_training()
    nameless = {**server.shown_job(server.jobs[job.job_id]), "fine_tuned_model": None}
    page = {"object": "list", "has_more": False, "data": [nameless]}
    server.always("jobs.list", Fault(body=json.dumps(page).encode()))
    states = [(await provider.observe([job.job_id]))[job.job_id].state for _ in range(20)]
    assert states == [JobState.RUNNING] * 19 + [JobState.SUCCEEDED]


# -- data -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
TURNS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4)


@given(system=st.none() | TEXT, turns=TURNS)
@settings(max_examples=60, deadline=None)
def test_every_conversation_becomes_a_line_that_openai_s_types_accept(
    system: str | None, turns: list[tuple[str, str]]
) -> None:
    messages: list[Any] = [] if system is None else [{"role": "system", "content": system}]
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    line = json.loads(json.dumps(converted(messages), ensure_ascii=False))
    assert line == {"messages": messages}
    assert openai_schema.messages_faults(line["messages"]) == []


async def test_an_upload_is_named_by_its_content_and_leaves_nothing_on_this_machine(
    server: OpenAIServer, provider: OpenAIProvider, config: ProviderConfig, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    file_id = await provider.upload(dataset, base_model=MODEL)
    assert server.files[file_id]["filename"] == f"{dataset.scope}.openai.{dataset.content_hash[:32]}.jsonl"
    assert server.contents[file_id] == dataset.path.read_bytes()
    assert [path for path in config.work_dir.rglob("*") if path.is_file()] == []


async def test_an_upload_that_openai_cannot_use_is_not_taken_as_there(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    first = await provider.upload(dataset, base_model=MODEL)
    server.broken_files.add(server.files[first]["filename"])
    again = await provider.upload(dataset, base_model=MODEL)
    assert again != first
    assert server.count("files.create") == 2


@pytest.mark.parametrize(
    "other",
    [
        {"purpose": "assistants"},
        {"status": "deleted"},
        {"status": "deleting"},
        {"expires_at": 1},
        {"expires_at": int(time.time()) + 600},
    ],
)
async def test_a_file_of_that_name_that_no_job_can_take_is_not_taken_as_there(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path, other: Mapping[str, object]
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    first = await provider.upload(dataset, base_model=MODEL)
    # As a service shows it that knows no filter by purpose.
    page = {"object": "list", "has_more": False, "data": [{**server.shown_file(first), **other}]}
    server.fault("files.list", Fault(body=json.dumps(page).encode()))
    assert await provider.upload(dataset, base_model=MODEL) != first
    if "purpose" in other:
        server.fault("files.list", Fault(body=json.dumps(page).encode()))
        await provider.delete_data(dataset.scope)
        assert first in server.files


@pytest.mark.parametrize(
    "other", [{}, {"expires_at": None}, {"expires_at": 0}, {"expires_at": 2**40}, {"status": None}]
)
async def test_a_file_that_does_not_go_away_soon_is_there(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path, other: Mapping[str, object]
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    first = await provider.upload(dataset, base_model=MODEL)
    page = {"object": "list", "data": [{**server.shown_file(first), **other}]}
    server.always("files.list", Fault(body=json.dumps(page).encode()))
    assert await provider.upload(dataset, base_model=MODEL) == first


async def test_a_list_that_changes_while_it_is_read_is_no_refusal(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path
) -> None:
    server.page_size = 1
    for repeat in (1, 2):
        await provider.upload(write_dataset(tmp_path / f"{repeat}.jsonl", repeat=repeat), base_model=MODEL)
    dataset = write_dataset(tmp_path / "more.jsonl", repeat=3)
    page = {"object": "list", "has_more": True, "data": [{"id": "file-deleted-meanwhile", "filename": "x"}]}
    server.fault("files.list", Fault(body=json.dumps(page).encode()))
    with pytest.raises(TransientProviderError, match="while it was read"):
        await provider.upload(dataset, base_model=MODEL)
    assert await provider.upload(dataset, base_model=MODEL)


async def test_a_service_that_knows_no_pages_has_one(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    page = {"object": "list", "data": [{"id": "file-other", "filename": "x"}]}
    server.always("files.list", Fault(body=json.dumps(page).encode()))
    assert await provider.upload(dataset, base_model=MODEL) in server.files
    assert server.count("files.list") == 2


async def test_a_service_that_calls_its_lists_text_is_understood(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    job = await provider.submit(request_)
    server.content_type = "text/plain"  # type: ignore[misc]
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]


async def test_thousands_of_files_are_few_calls(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    first = await provider.upload(dataset, base_model=MODEL)
    old = server.files[first]
    server.files = {f"file-{n}": {**old, "id": f"file-{n}", "filename": f"{n}"} for n in range(5000)}
    server.files = {first: old, **server.files}  # the oldest of all
    server.page_size = 10_000
    server.requests.clear()
    assert await provider.upload(dataset, base_model=MODEL) == first
    assert server.count("files.list") == 1


async def test_two_trials_that_upload_the_same_at_once_upload_it_once(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "train.jsonl")
    first, second = await asyncio.gather(
        provider.upload(dataset, base_model=MODEL), provider.upload(dataset, base_model=MODEL)
    )
    assert first == second
    assert server.count("files.create") == 1


async def test_uploads_are_found_and_deleted_across_pages(
    server: OpenAIServer, provider: OpenAIProvider, tmp_path: Path
) -> None:
    server.page_size = 2
    datasets = [
        write_dataset(tmp_path / f"{n}.jsonl", repeat=n, scope=scope)
        for n in range(1, 4)
        for scope in ("sweep-a", "sweep-ab")
    ]
    for dataset in datasets:
        await provider.upload(dataset, base_model=MODEL)
    await provider.upload(datasets[0], base_model=MODEL)
    assert server.count("files.create") == 6
    await provider.delete_data("sweep-a")
    assert {file["filename"].split(".")[0] for file in server.files.values()} == {"sweep-ab"}
    assert len(server.files) == 3


def dataset_of(path: Path, *conversations: list[dict[str, str]]) -> DatasetFile:
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in conversations))
    return DatasetFile(path, "0" * 64, len(conversations))


GOOD = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            [{"role": "tool", "content": "x"}, *GOOD],
            "line 4 has the role 'tool'; allowed: system, user, assistant",
        ),
        (GOOD[:1], "line 4 does not end with a message of the assistant"),
        ([], "line 4 does not end with a message of the assistant"),
        ([GOOD[0], {"role": "assistant", "content": ""}], "line 4 ends with an empty answer"),
    ],
)
async def test_a_conversation_that_teaches_nothing_is_named_by_its_line(
    provider: OpenAIProvider, tmp_path: Path, bad: list[dict[str, str]], said: str
) -> None:
    good = dataset_of(tmp_path / "good.jsonl", *[GOOD] * 10)
    wrong = dataset_of(tmp_path / "bad.jsonl", *[GOOD] * 3, bad, *[GOOD] * 9)
    with pytest.raises(PermanentProviderError, match=said) as caught:
        await provider.check_data(MODEL, training=wrong, validation=good)
    assert caught.value.field == "training"
    with pytest.raises(PermanentProviderError, match=said) as caught:
        await provider.check_data(MODEL, training=good, validation=wrong)
    assert caught.value.field == "validation"


async def test_ten_training_examples_and_one_of_validation_are_enough(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    nine, ten, one = (dataset_of(tmp_path / f"{n}.jsonl", *[GOOD] * n) for n in (9, 10, 1))
    await provider.check_data(MODEL, training=ten, validation=one)
    with pytest.raises(PermanentProviderError, match=r"has 9 examples; .* takes 10 or more") as caught:
        await provider.check_data(MODEL, training=nine, validation=None)
    assert caught.value.field == "training"


def test_a_file_above_the_limit_is_refused_by_the_bytes_that_are_sent(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "t.jsonl", *[GOOD] * 10)
    sent = 10 * (len(json.dumps(converted(GOOD))) + 1)  # type: ignore[arg-type]
    DataLimits("OpenAI", least_examples=10, most_bytes=sent).check(dataset, field="training")
    with pytest.raises(PermanentProviderError, match="at most"):
        DataLimits("OpenAI", least_examples=10, most_bytes=sent - 1).check(dataset, field="training")


# -- answers ----------------------------------------------------------------------------------------------


async def test_a_model_is_asked_greedily_with_the_whole_conversation(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    asked = [{"role": "system", "content": "be brief"}, *conversation("red")]
    async with provider.inference(MODEL) as session:
        assert (session.batch_size, session.concurrency) == (1, 4)
        await session.answer([asked], max_output_tokens=9)  # type: ignore[list-item]
    assert server.bodies("chat") == [{"model": MODEL, "messages": asked, "max_tokens": 9, "temperature": 0}]


async def test_an_answer_that_the_content_filter_holds_back_is_empty(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.filtered.add(conversation("red")[0]["content"])
    async with provider.inference(MODEL) as session:
        assert await session.answer([conversation("red")], max_output_tokens=4) == [""]
        server.fault("chat", refused(400, code="content_filter"))
        assert await session.answer([conversation("blue")], max_output_tokens=4) == [""]
        server.fault("chat", refused(400, code="other"))
        with pytest.raises(PermanentProviderError):
            await session.answer([conversation("blue")], max_output_tokens=4)


async def test_a_new_model_may_need_some_minutes_and_not_for_ever(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.loading_s = 120.0
    job = await provider.submit(request_)
    server.finish_training()
    model = (await provider.observe([job.job_id]))[job.job_id].fine_tuned_model or ""

    async def ask(name: str) -> str:
        async with provider.inference(name) as session:
            return (await session.answer([conversation("red")], max_output_tokens=4))[0]

    with pytest.raises(TransientProviderError, match="some minutes"):
        await ask(model)
    server.clock.advance(120)
    assert await ask(model) == "warm"
    with pytest.raises(TransientProviderError):
        await ask("ft:never")
    later = time.monotonic() + 601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(PermanentProviderError, match="does not exist"):
        await ask("ft:never")


async def test_a_base_model_that_is_gone_is_not_waited_for(
    server: OpenAIServer, provider: OpenAIProvider
) -> None:
    server.fault("chat", refused(404, code="model_not_found"))
    async with provider.inference(MODEL) as session:
        with pytest.raises(PermanentProviderError):
            await session.answer([conversation("red")], max_output_tokens=4)


async def test_answers_may_come_from_another_address(
    server: OpenAIServer, config: ProviderConfig, tmp_path: Path
) -> None:
    with OpenAIServer() as elsewhere:
        provider = create(replace(config, endpoints={"inference": f"{elsewhere.url}/v1"}))
        async with provider.inference(MODEL) as session:
            await session.answer([conversation("red")], max_output_tokens=4)
        await provider.check([MODEL])
        await provider.aclose()
        assert (elsewhere.count("chat"), server.count("chat"), server.count("jobs.list")) == (1, 0, 1)


# -- configuration ----------------------------------------------------------------------------------------


def test_a_secret_without_a_key_says_what_to_write(config: ProviderConfig) -> None:
    for credentials in ({}, {"OPENAI_API_KEY": " \n"}):
        with pytest.raises(PermanentProviderError, match="OPENAI_API_KEY") as caught:
            create(replace(config, credentials=credentials))
        assert caught.value.field == "spec.credentialsSecretRef"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
@pytest.mark.parametrize("value", ["sk-4711…ab", "sk-4711\nab", "sk-4711 ab", "sk-4711\x00ab"])
def test_what_cannot_be_a_header_is_refused_and_not_shown(
    config: ProviderConfig, name: str, value: str
) -> None:
    with pytest.raises(PermanentProviderError, match=name) as caught:
        create(replace(config, credentials={**config.credentials, name: value}))
    assert caught.value.field == "spec.credentialsSecretRef"
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["sk-4711", "http://[4711", "http://host:4711x/v1", "https://me:4711@host/v1"]
)
def test_an_address_in_the_secret_that_is_none_is_refused_and_not_shown(
    config: ProviderConfig, value: str
) -> None:
    secret = {**config.credentials, "OPENAI_BASE_URL": value}
    with pytest.raises(PermanentProviderError, match="OPENAI_BASE_URL in the Secret") as caught:
        create(replace(config, endpoint=None, credentials=secret))
    assert caught.value.field == "spec.credentialsSecretRef"
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "api.example.com",
        "ftp://example.com",
        "http://",
        "localhost:8000",
        "http://[::1",
        "http://host:99999999",
        "http://host:x",
    ],
)
def test_an_endpoint_that_is_no_address_is_refused(config: ProviderConfig, endpoint: str) -> None:
    with pytest.raises(PermanentProviderError, match="no address") as caught:
        create(replace(config, endpoint=endpoint))
    assert caught.value.field == "spec.endpoint"


async def test_nothing_of_this_process_s_environment_is_sent(
    server: OpenAIServer, config: ProviderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, f"leaked-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Leaked: leaked-header\nAuthorization: Bearer leaked")
    provider = create(config)
    await provider.check([MODEL])
    await provider.aclose()
    headers = server.requests[0].headers
    assert "leaked" not in str(headers)
    assert headers["Authorization"] == f"Bearer {server.secret}"
    assert "OpenAI-Organization" not in headers
    assert "OpenAI-Project" not in headers


async def test_organisation_and_project_come_from_the_account(
    server: OpenAIServer, config: ProviderConfig
) -> None:
    secret = {"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1\n", **config.credentials}
    provider = create(replace(config, credentials=secret))
    await provider.check([MODEL])
    await provider.aclose()
    headers = server.requests[0].headers
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("org-1", "proj-1")


async def test_the_secret_may_say_where_the_service_is(server: OpenAIServer, config: ProviderConfig) -> None:
    secret = {"OPENAI_BASE_URL": f"{server.url}/v1/", **config.credentials}
    provider = create(replace(config, endpoint=None, credentials=secret))
    await provider.check([MODEL])
    assert provider.offer.state is OfferState.UNKNOWN  # another company's service has terms of its own
    await provider.aclose()


async def test_openai_itself_is_closing_wherever_its_region_is(config: ProviderConfig) -> None:
    for endpoint in (None, "https://api.openai.com/v1", "https://eu.api.openai.com/v1/"):
        provider = create(replace(config, endpoint=endpoint))
        assert provider.offer.state is OfferState.CLOSING
        assert "2027-01-06" in provider.offer.message
        await provider.aclose()


async def test_a_model_that_the_catalog_does_not_know_can_be_added(config: ProviderConfig) -> None:
    provider = create(config)
    with pytest.raises(PermanentProviderError, match=r"gpt-6-mini.*spec\.models") as caught:
        await provider.check([MODEL, "gpt-6-mini"])
    assert caught.value.field == "baseModels"
    await provider.aclose()
    provider = create(replace(config, models={"gpt-6-mini": {"like": MODEL}}))
    await provider.check(["gpt-6-mini"])
    await provider.aclose()


async def test_a_wrong_key_is_seen_by_the_check(server: OpenAIServer, config: ProviderConfig) -> None:
    provider = create(replace(config, credentials={"OPENAI_API_KEY": "another-key"}))
    with pytest.raises(PermanentProviderError, match="check OPENAI_API_KEY") as caught:
        await provider.check([MODEL])
    assert caught.value.field == "spec.credentialsSecretRef"
    await provider.aclose()


async def test_the_interval_of_looks_can_be_set(config: ProviderConfig) -> None:
    for options, seconds in (({}, 30.0), ({"pollIntervalSeconds": "0.5"}, 0.5)):
        provider = create(replace(config, options=options))
        assert provider.capabilities.poll_interval_s == seconds
        await provider.aclose()


@pytest.mark.parametrize(
    ("trial", "expected"),
    [("intents-12", "intents-12"), ("a.b_c/d", "a-b-c-d"), ("x" * 90, "x" * 64), ("", KEY), ("--", KEY)],
)
def test_the_model_s_name_ends_with_the_trial_s(trial: str, expected: str) -> None:
    request = JobRequest(KEY, MODEL, {}, "file-1", labels={"trial": trial})
    assert suffix(request) == expected


async def test_long_and_many_labels_fit_and_never_push_out_the_key(
    server: OpenAIServer, provider: OpenAIProvider, request_: JobRequest
) -> None:
    labels = {f"{'n' * 70}{number}"[-70:]: "v" * 600 for number in range(30)}
    job = await provider.submit(replace(request_, labels={**labels, **{f"l{n}": "v" for n in range(20)}}))
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]


async def test_sdk_logs_hold_no_key_at_any_level(
    server: OpenAIServer, provider: OpenAIProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await provider.check([MODEL])
    assert caplog.text  # the SDK and its HTTP client do log
    assert server.secret not in caplog.text


def test_calls_end_with_the_provider(config: ProviderConfig) -> None:
    async def use() -> None:
        provider = create(config)
        await provider.aclose()
        await provider.aclose()

    asyncio.run(use())


def test_the_account_s_secrets_are_blotted_out_of_messages() -> None:
    calls = Calls(EXPLAIN, secrets=["sk-secret"])

    async def fail() -> None:
        raise status_error(400, {"message": "wrong: sk-secret", "code": None})

    with pytest.raises(PermanentProviderError) as caught:
        asyncio.run(calls.read(fail))
    assert "sk-secret" not in str(caught.value)
    calls.close()
