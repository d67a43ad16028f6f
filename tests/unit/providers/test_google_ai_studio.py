from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.finetune_process import kill_below, start_finetune
from tests.contract.provider_contract import KEY, conversation, write_dataset
from tests.fakes import google_ai_studio_schema as schema
from tests.fakes.google_ai_studio_server import BASE_MODEL, UNTUNABLE_MODEL, GoogleAIStudioServer
from tests.fakes.http_server import DROPPED, MALFORMED, Answer, Fault, done_then, refused

from finetune_providers.base import (
    DatasetFile,
    JobRequest,
    JobState,
    Message,
    OfferState,
    ParameterValue,
    ProviderConfig,
)
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
from finetune_providers.google_ai_studio import GoogleAIStudio, create
from finetune_providers.google_ai_studio.wire import contents, pair, snapshot, tuned_model_id

Connect = Callable[..., GoogleAIStudio]
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def server() -> Iterator[GoogleAIStudioServer]:
    with GoogleAIStudioServer() as server:
        yield server
    assert not server.violations


@pytest.fixture
async def connect(server: GoogleAIStudioServer, tmp_path: Path) -> AsyncIterator[Connect]:
    made: list[GoogleAIStudio] = []

    def connect(**changes: Any) -> GoogleAIStudio:
        made.append(create(replace(_config(server, tmp_path), **changes)))
        return made[-1]

    yield connect
    for provider in made:
        await provider.aclose()


@pytest.fixture
def provider(connect: Connect) -> GoogleAIStudio:
    return connect()


@pytest.fixture
async def request_made(provider: GoogleAIStudio, tmp_path: Path) -> JobRequest:
    training = await provider.upload(write_dataset(tmp_path / "train.jsonl", repeat=4), base_model=BASE_MODEL)
    return JobRequest(KEY, BASE_MODEL, hyperparameters={"epochs": 3, "batchSize": 4}, training=training)


def _config(server: GoogleAIStudioServer, folder: Path) -> ProviderConfig:
    return ProviderConfig(
        name="studio",
        type="GoogleAIStudio",
        work_dir=folder / "work",
        credentials={"GEMINI_API_KEY": server.secret},
        endpoint=server.url,
    )


def _write(path: Path, *conversations: list[Message]) -> DatasetFile:
    path.write_text(
        "".join(json.dumps({"messages": each}) + "\n" for each in conversations), encoding="utf-8"
    )
    return DatasetFile(path, "ab" * 32, len(conversations), "fts-0123456789abcdef")


def _example(question: str, answer: str, *, system: str | None = None) -> list[Message]:
    first: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


# -- the create call ------------------------------------------------------------------------------------------


async def test_a_create_call_says_exactly_this(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, tmp_path: Path
) -> None:
    training = await provider.upload(
        _write(tmp_path / "t.jsonl", _example("1", "2"), _example("3", "4", system="add one")),
        base_model=BASE_MODEL,
    )
    hyperparameters: dict[str, ParameterValue] = {"epochs": 3, "batchSize": 4, "learningRate": 0.001}
    request = JobRequest(
        KEY, BASE_MODEL, hyperparameters=hyperparameters, training=training, labels={"trial": "sweep-7"}
    )
    await provider.submit(request)
    (sent,) = [each for each in server.requests if each.operation == "create"]
    assert sent.query == {"tunedModelId": [KEY]}
    assert sent.headers["x-goog-api-key"] == server.secret
    assert sent.json == {
        "displayName": "sweep-7",
        "description": KEY,
        "baseModel": f"models/{BASE_MODEL}",
        "tuningTask": {
            "hyperparameters": {"epochCount": 3, "batchSize": 4, "learningRate": 0.001},
            "trainingData": {
                "examples": {
                    "examples": [
                        {"textInput": "1", "output": "2"},
                        {"textInput": "add one\n\n3", "output": "4"},
                    ]
                }
            },
        },
    }


async def test_without_hyperparameters_the_company_chooses_all_of_them(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(replace(request_made, hyperparameters={}))
    assert set(server.bodies("create")[0]["tuningTask"]) == {"trainingData"}


@pytest.mark.parametrize(
    ("name", "value", "native", "sent"),
    [
        ("epochs", 7, "epochCount", 7),
        ("epochs", "7", "epochCount", 7),
        ("batchSize", 16, "batchSize", 16),
        ("learningRate", 2e-4, "learningRate", 2e-4),
        ("learningRateMultiplier", 2, "learningRateMultiplier", 2.0),
    ],
)
async def test_each_hyperparameter_arrives_under_the_company_s_name(
    server: GoogleAIStudioServer,
    provider: GoogleAIStudio,
    request_made: JobRequest,
    name: str,
    value: ParameterValue,
    native: str,
    sent: float,
) -> None:
    await provider.submit(replace(request_made, hyperparameters={name: value}))
    assert server.bodies("create")[0]["tuningTask"]["hyperparameters"] == {native: sent}


@pytest.mark.parametrize(
    ("hyperparameters", "field", "said"),
    [
        (
            {"learningRate": 0.001, "learningRateMultiplier": 2.0},
            "parameters.learningRateMultiplier",
            "not both",
        ),
        ({"loraRank": 8}, "parameters.loraRank", "takes epochs, batchSize"),
        ({"epochs": "many"}, "parameters.epochs", "'many' is no number"),
    ],
)
async def test_hyperparameters_that_cannot_be_sent_are_refused_and_not_dropped(
    server: GoogleAIStudioServer,
    provider: GoogleAIStudio,
    request_made: JobRequest,
    hyperparameters: Mapping[str, ParameterValue],
    field: str,
    said: str,
) -> None:
    with pytest.raises(PermanentProviderError, match=said) as caught:
        await provider.submit(replace(request_made, hyperparameters=hyperparameters))
    assert caught.value.field == field
    assert not server.requests


async def test_data_that_was_deleted_before_the_create_call_is_missed_there(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.delete_data("fts-0123456789abcdef")
    with pytest.raises(PermanentProviderError, match="cannot be read"):
        await provider.submit(request_made)
    assert not server.requests


@given(st.text(max_size=80))
def test_every_key_has_an_id_that_the_company_takes(key: str) -> None:
    assert schema.parse("CreateTunedModelRequest", {"tunedModelId": tuned_model_id(key)})
    assert len(tuned_model_id(key)) <= 40
    assert re.fullmatch("[a-z]([a-z0-9-]{0,38}[a-z0-9])?", tuned_model_id(key))
    assert tuned_model_id(key) == tuned_model_id(key)


@given(st.sets(st.text(min_size=1, max_size=60), min_size=2, max_size=2))
def test_two_keys_have_two_ids(keys: set[str]) -> None:
    assert len({tuned_model_id(key) for key in keys}) == 2


def test_an_operator_s_key_is_its_own_id() -> None:
    assert tuned_model_id(KEY) == KEY


@pytest.mark.parametrize("trial", ["a" * 63, ""], ids=["long", "none"])
async def test_a_display_name_has_at_most_40_characters(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest, trial: str
) -> None:
    await provider.submit(replace(request_made, labels={"trial": trial}))
    assert server.bodies("create")[0]["displayName"] == (trial[:40] or KEY)


# -- never twice ----------------------------------------------------------------------------------------------


async def test_the_same_key_after_a_restart_is_the_same_job(
    server: GoogleAIStudioServer, connect: Connect, request_made: JobRequest
) -> None:
    first = await connect().submit(request_made)
    again = await connect().submit(request_made)
    assert again.job_id == first.job_id
    assert again.key == KEY
    assert server.count("create") == 2
    assert len(server.jobs) == 1


async def test_a_key_that_is_no_id_is_found_by_its_hash(
    provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    key = "Key With Spaces"
    job = await provider.submit(replace(request_made, key=key))
    assert job.job_id.startswith("ft-")
    (found,) = await provider.find(key)
    assert (found.job_id, found.key) == (job.job_id, key)


async def test_a_model_that_somebody_else_made_under_the_id_is_not_adopted(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    server.jobs[KEY].body["description"] = "somebody else's"
    with pytest.raises(PermanentProviderError, match="not this trial's"):
        await provider.submit(request_made)


@pytest.mark.parametrize("fault", [refused(503), DROPPED, Fault(body=b"[]"), refused(404)])
async def test_a_job_that_exists_and_cannot_be_read_leaves_the_outcome_open(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest, fault: Fault
) -> None:
    await provider.submit(request_made)
    server.always("get", fault)
    with pytest.raises(AmbiguousProviderError, match="is there"):
        await provider.submit(request_made)


@pytest.mark.parametrize(
    "answer", [{}, {"name": "tunedModels/another/operations/1"}, {"name": 7}, {"name": "operations/1"}]
)
async def test_a_create_call_whose_answer_names_no_job_of_ours_leaves_the_outcome_open(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest, answer: object
) -> None:
    server.fault("create", Fault(takes_effect=True, body=json.dumps(answer).encode()))
    with pytest.raises(AmbiguousProviderError):
        await provider.submit(request_made)
    assert [job.job_id for job in await provider.find(KEY)] == [KEY]


async def test_a_key_whose_job_was_cancelled_buys_no_second_one(
    server: GoogleAIStudioServer, connect: Connect, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    await provider.cancel(KEY)
    again = await connect().submit(request_made)
    assert again.state is JobState.CANCELLED
    assert (await connect().find(KEY)) == (again,)
    assert server.count("create") == 1


async def test_a_key_whose_model_was_deleted_buys_no_second_one(
    server: GoogleAIStudioServer, connect: Connect, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    server.finish_training()
    (done,) = await provider.find(KEY)
    await provider.delete_model(done.fine_tuned_model or "")
    assert await connect().submit(request_made) == done
    assert server.count("create") == 1


async def test_what_is_no_fine_tuned_model_is_not_deleted(
    server: GoogleAIStudioServer, provider: GoogleAIStudio
) -> None:
    with pytest.raises(PermanentProviderError, match="no fine-tuned model"):
        await provider.delete_model(BASE_MODEL)
    assert not server.requests


# -- cancelling: a deletion -----------------------------------------------------------------------------------


def test_google_publishes_no_way_to_cancel_a_tuning_operation() -> None:
    cancelling = [pattern for _, pattern in schema.published_paths() if pattern.endswith(":cancel")]
    assert cancelling
    assert not [pattern for pattern in cancelling if "tunedModels" in pattern]
    with pytest.raises(schema.Violation):
        schema.check_path("POST", f"/v1beta/tunedModels/{KEY}:cancel")


async def test_a_cancelled_job_keeps_what_was_known_of_it(
    server: GoogleAIStudioServer, connect: Connect, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    server.clock.advance(server.training_s / 2)
    before = (await provider.observe([KEY]))[KEY]
    assert before.series
    await provider.cancel(KEY)
    after = (await connect().observe([KEY]))[KEY]
    assert (after.state, after.native_state, after.fine_tuned_model) == (JobState.CANCELLED, "DELETED", None)
    assert (after.key, after.series, after.created_at) == (KEY, before.series, before.created_at)
    assert after.finished_at is not None


@pytest.mark.parametrize("fault", [done_then(503), MALFORMED], ids=["503", "malformed"])
async def test_a_cancellation_whose_answer_is_lost_is_known_all_the_same(
    server: GoogleAIStudioServer,
    connect: Connect,
    provider: GoogleAIStudio,
    request_made: JobRequest,
    fault: Fault,
) -> None:
    await provider.submit(request_made)
    server.fault("delete", fault)
    with pytest.raises(ProviderError):
        await provider.cancel(KEY)
    assert (await connect().observe([KEY]))[KEY].state is JobState.CANCELLED
    await provider.cancel(KEY)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"state": 1}'])
async def test_a_record_that_cannot_be_read_is_none(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, tmp_path: Path, content: str
) -> None:
    folder = tmp_path / "work" / "deleted"
    folder.mkdir(parents=True)
    (folder / f"{KEY}.json").write_text(content)
    assert await provider.observe([KEY]) == {}


async def test_nothing_is_deleted_that_could_not_be_written_down(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest, tmp_path: Path
) -> None:
    await provider.submit(request_made)
    (tmp_path / "work" / "deleted").write_text("no folder")
    with pytest.raises(TransientProviderError, match="is not deleted"):
        await provider.cancel(KEY)
    assert server.count("delete") == 0


async def test_a_cancellation_that_never_arrived_cancels_nothing(
    server: GoogleAIStudioServer, connect: Connect, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    server.always("delete", refused(503))
    with pytest.raises(TransientProviderError):
        await provider.cancel(KEY)
    server.finish_training()
    assert (await connect().observe([KEY]))[KEY].state is JobState.SUCCEEDED
    assert (await connect().submit(request_made)).state is JobState.SUCCEEDED


async def test_a_job_that_cannot_be_deleted_yet_is_asked_again_and_left_once_it_is_finished(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.undeletable = True
    await provider.submit(request_made)
    with pytest.raises(TransientProviderError, match="while it is created"):
        await provider.cancel(KEY)
    server.finish_training()
    await provider.cancel(KEY)
    assert (await provider.observe([KEY]))[KEY].state is JobState.SUCCEEDED
    assert server.count("delete") == 1


async def test_a_job_that_was_deleted_elsewhere_is_gone(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    server.finish_training()
    server.models_deleted.add(KEY)
    assert await provider.observe([KEY]) == {}
    assert await provider.find(KEY) == ()
    with pytest.raises(JobNotFound):
        await provider.cancel(KEY)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a?b", "ä"])
async def test_names_that_no_tuned_model_can_have_are_not_asked_for(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, name: str
) -> None:
    assert await provider.observe([name]) == {}
    assert server.count("get") == server.count("unknown") == 0


async def test_a_job_may_be_named_as_google_names_it(
    provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    seen = await provider.observe([f"tunedModels/{KEY}"])
    assert seen[f"tunedModels/{KEY}"].job_id == KEY
    await provider.cancel(f"tunedModels/{KEY}")
    assert (await provider.observe([KEY]))[KEY].state is JobState.CANCELLED


# -- what Google forbids it may not have ----------------------------------------------------------------------


async def test_a_model_that_is_forbidden_is_taken_from_the_list(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.forbids_the_unknown = True
    assert await provider.find(KEY) == ()
    await provider.submit(request_made)
    assert len(await provider.find(KEY)) == 1
    server.always("get", refused(403))
    assert [job.job_id for job in await provider.find(KEY)] == [KEY]
    assert set(await provider.observe([KEY, "no-such-job"])) == {KEY}
    with pytest.raises(JobNotFound):
        await provider.cancel("no-such-job")


async def test_a_wrong_key_is_no_proof_that_there_is_nothing(
    server: GoogleAIStudioServer, provider: GoogleAIStudio
) -> None:
    server.always("*", refused(403))
    with pytest.raises(PermanentProviderError):
        await provider.find(KEY)


# -- looking --------------------------------------------------------------------------------------------------


async def test_looking_ends_with_the_page_that_shows_the_last_job(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.page_size = 2
    keys = [f"ft-{number:020x}-a1" for number in range(6)]
    for key in keys:
        await provider.submit(replace(request_made, key=key))
    await provider.observe(keys[4:])  # the newest stand first
    assert server.count("list") == 1
    await provider.observe(keys[:1])
    assert server.count("list") == 4
    assert server.count("get") == 0
    sizes = {request.one("pageSize") for request in server.requests if request.operation == "list"}
    assert sizes == {"1000"}


async def test_a_job_that_the_list_does_not_show_yet_is_asked_for(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.list_lag_s = 60
    await provider.submit(request_made)
    assert set(await provider.observe([KEY])) == {KEY}
    assert (server.count("list"), server.count("get")) == (1, 1)


async def test_why_a_job_failed_is_asked_once(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.next_failure = "too few examples"
    await provider.submit(request_made)
    server.finish_training()
    for _ in range(2):
        assert (await provider.observe([KEY]))[KEY].message == "too few examples"
    assert server.count("operations") == 1


async def test_a_failure_without_a_reason_is_a_failure(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.next_failure = "unsaid"
    await provider.submit(request_made)
    server.finish_training()
    server.fault("operations", Fault(body=b"{}"))
    seen = (await provider.observe([KEY]))[KEY]
    assert seen.state is JobState.FAILED
    assert "no reason" in seen.message


@pytest.mark.parametrize(
    ("native", "task", "state"),
    [
        ("CREATING", {}, JobState.PENDING),
        ("CREATING", {"startTime": "2026-01-01T00:00:00Z"}, JobState.RUNNING),
        ("ACTIVE", {}, JobState.SUCCEEDED),
        ("FAILED", {}, JobState.FAILED),
        ("STATE_UNSPECIFIED", {}, JobState.RUNNING),
        ("PAUSED", {}, JobState.RUNNING),
    ],
)
def test_each_state_is_put_into_our_words(native: str, task: object, state: JobState) -> None:
    job = snapshot({"name": "tunedModels/a", "state": native, "tuningTask": task})
    assert (job.state, job.native_state) == (state, native)
    assert job.fine_tuned_model == ("tunedModels/a" if state is JobState.SUCCEEDED else None)


def test_times_are_read_to_the_nanosecond_s_end() -> None:
    job = snapshot(
        {
            "name": "tunedModels/a",
            "state": "ACTIVE",
            "createTime": "2024-05-01T12:00:00.123456789Z",
            "tuningTask": {"completeTime": "2024-05-01T13:00:00Z"},
        }
    )
    assert job.created_at is not None
    assert job.created_at.isoformat() == "2024-05-01T12:00:00.123456+00:00"
    assert job.finished_at is not None
    assert job.finished_at.hour == 13


async def test_a_long_series_is_thinned_and_keeps_its_ends(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(replace(request_made, hyperparameters={"epochs": 40, "batchSize": 1}))
    server.finish_training()
    series = (await provider.observe([KEY]))[KEY].series
    assert len(series) == 100
    assert (series[0].step, series[-1].step) == (1, 960)
    assert all(set(point.values) == {"trainingLoss"} for point in series)


def test_numbers_that_are_left_out_are_zero_and_no_number_is_no_number() -> None:
    shown = [{"epoch": 1, "meanLoss": 2.5}, {"step": 1}, {"step": 2, "meanLoss": "NaN"}]
    series = snapshot({"name": "tunedModels/a", "state": "ACTIVE", "tuningTask": {"snapshots": shown}}).series
    assert [point.step for point in series] == [0, 1, 2]
    assert [point.values["trainingLoss"] for point in series[:2]] == [2.5, 0.0]
    assert series[2].values["trainingLoss"] != series[2].values["trainingLoss"]


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"name": st.just("tunedModels/a") | _json_values, "state": st.just("ACTIVE") | _json_values},
        optional={
            "description": _json_values,
            "createTime": _json_values,
            "tuningTask": _json_values
            | st.fixed_dictionaries(
                {
                    "snapshots": _json_values
                    | st.lists(st.fixed_dictionaries({"step": _json_values, "meanLoss": _json_values}))
                }
            ),
        },
    )
)
def test_a_tuned_model_of_any_shape_is_understood_or_called_unexpected(resource: dict[str, Any]) -> None:
    try:
        job = snapshot(resource)
    except UnexpectedResponse:
        return
    assert job.job_id


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"tunedModels": 3},
        {"tunedModels": [7]},
        {"tunedModels": [{"name": 5}]},
        {"tunedModels": [{"name": f"tunedModels/{KEY}"}]},
        {"nextPageToken": 1},
    ],
)
async def test_a_list_of_another_shape_is_called_unexpected(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, body: object
) -> None:
    server.always("list", Fault(body=json.dumps(body).encode()))
    with pytest.raises(UnexpectedResponse):
        await provider.observe([KEY])


# -- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (400, "", PermanentProviderError),
        (400, "FAILED_PRECONDITION", PermanentProviderError),
        (401, "", PermanentProviderError),
        (403, "", PermanentProviderError),
        (404, "", JobNotFound),
        (408, "", TransientProviderError),
        (409, "ABORTED", TransientProviderError),
        (413, "", PermanentProviderError),
        (429, "", QuotaExceeded),
        (400, "RESOURCE_EXHAUSTED", QuotaExceeded),
        (499, "CANCELLED", TransientProviderError),
        (500, "", TransientProviderError),
        (503, "", TransientProviderError),
        (504, "", TransientProviderError),
        (302, "", UnexpectedResponse),
    ],
)
async def test_each_error_means_one_thing(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, status: int, word: str, kind: type[ProviderError]
) -> None:
    server.always("list", Fault(status=status, code=word))
    with pytest.raises(ProviderError, match="on purpose") as caught:
        await provider.observe([KEY])
    assert isinstance(caught.value, kind)
    if word:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("named", "field"),
    [
        ("tuned_model.tuning_task.hyperparameters.batch_size", "parameters.batchSize"),
        ("tunedModel.tuningTask.hyperparameters.epochCount", "parameters.epochs"),
        ("learning_rate_multiplier", "parameters.learningRateMultiplier"),
        ("tuned_model.tuning_task.hyperparameters.learning_rate", "parameters.learningRate"),
        ("tuned_model.tuning_task.training_data.examples[3]", "training"),
        ("tuned_model.base_model", "baseModels"),
        ("something_else", ""),
    ],
)
async def test_a_refusal_names_our_field(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest, named: str, field: str
) -> None:
    violation = {"field": named, "description": "is wrong"}
    server.details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
    server.fault("create", refused(400))
    with pytest.raises(PermanentProviderError) as caught:
        await provider.submit(request_made)
    assert caught.value.field == field


async def test_a_base_model_that_google_no_longer_has_is_named_as_the_fault(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    with pytest.raises(PermanentProviderError, match="another-model is not found") as caught:
        await provider.submit(replace(request_made, base_model="another-model"))
    assert caught.value.field == "baseModels"
    assert not isinstance(caught.value, JobNotFound)


async def test_a_time_to_wait_may_stand_in_the_details(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    server.details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.25s"}]
    server.fault("create", refused(429))
    with pytest.raises(QuotaExceeded) as caught:
        await provider.submit(request_made)
    assert caught.value.retry_after_s == 0.25


async def test_an_error_that_is_no_json_is_told_by_its_status(
    server: GoogleAIStudioServer, provider: GoogleAIStudio
) -> None:
    # What stands between may answer in HTML.
    server.error = lambda status, message, *, code="": _html(status)  # type: ignore[method-assign]
    server.always("list", refused(502))
    with pytest.raises(TransientProviderError, match="502"):
        await provider.observe([KEY])


def _html(status: int) -> Answer:
    return Answer(b"<html>bad gateway</html>", status)


async def test_a_wrong_key_says_where_it_is_written(connect: Connect) -> None:
    provider = connect(credentials={"GEMINI_API_KEY": "another-key"})
    with pytest.raises(PermanentProviderError, match=r"API key not valid.*credentialsSecretRef") as caught:
        await provider.check([BASE_MODEL])
    assert caught.value.field == "spec.credentialsSecretRef"
    assert "another-key" not in str(caught.value)


async def test_a_create_call_that_reached_nobody_bought_nothing(
    connect: Connect, request_made: JobRequest
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    provider = connect(endpoint=f"http://127.0.0.1:{port}")
    with pytest.raises(NotReached):
        await provider.submit(request_made)


@pytest.mark.parametrize("endpoint", ["localhost:1", "http://", "nonsense"])
async def test_an_endpoint_that_is_no_url_is_named(connect: Connect, endpoint: str) -> None:
    with pytest.raises(PermanentProviderError) as caught:
        await connect(endpoint=endpoint).observe([KEY])
    assert caught.value.field == "spec.endpoint"


# -- configuration --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credentials",
    [{}, {"GEMINI_API_KEY": ""}, {"GEMINI_API_KEY": " \n"}, {"OTHER": "key"}, {"GOOGLE_API_KEY": "ä"}],
)
def test_a_missing_key_says_what_to_create(
    server: GoogleAIStudioServer, tmp_path: Path, credentials: Mapping[str, str]
) -> None:
    with pytest.raises(PermanentProviderError, match="GEMINI_API_KEY or GOOGLE_API_KEY") as caught:
        create(replace(_config(server, tmp_path), credentials=credentials))
    assert caught.value.field == "spec.credentialsSecretRef"


async def test_the_google_key_wins_and_a_line_s_end_is_no_part_of_it(
    server: GoogleAIStudioServer, connect: Connect
) -> None:
    provider = connect(credentials={"GEMINI_API_KEY": "wrong", "GOOGLE_API_KEY": f"{server.secret}\n"})
    await provider.check([BASE_MODEL])
    assert {request.headers["x-goog-api-key"] for request in server.requests} == {server.secret}


def test_how_often_to_look_can_be_chosen(server: GoogleAIStudioServer, tmp_path: Path) -> None:
    config = _config(server, tmp_path)
    assert create(config).capabilities.poll_interval_s == 30
    chosen = create(replace(config, options={"pollIntervalSeconds": "0.5"}))
    assert chosen.capabilities.poll_interval_s == 0.5
    with pytest.raises(PermanentProviderError) as caught:
        create(replace(config, options={"pollIntervalSeconds": "often"}))
    assert caught.value.field == "spec.options.pollIntervalSeconds"


def test_the_offer_says_that_it_is_closed_and_where_to_go(provider: GoogleAIStudio) -> None:
    assert provider.offer.state is OfferState.CLOSED
    assert "VertexAI" in provider.offer.message


async def test_an_unknown_base_model_is_refused_with_the_known_ones(
    server: GoogleAIStudioServer, provider: GoogleAIStudio
) -> None:
    with pytest.raises(PermanentProviderError, match=rf"{BASE_MODEL}.*spec\.models of the FinetuneProvider"):
        await provider.check(["gemini-9"])
    assert not server.requests


@pytest.mark.parametrize(
    ("name", "said"), [(UNTUNABLE_MODEL, "does not tune"), ("gemini-0", "is gone: .*not found")]
)
async def test_a_base_model_that_google_does_not_tune_is_refused_before_anything_is_bought(
    connect: Connect, name: str, said: str
) -> None:
    provider = connect(models={name: {"like": BASE_MODEL}})
    with pytest.raises(PermanentProviderError, match=said) as caught:
        await provider.check([name])
    assert caught.value.field == "baseModels"


# -- data -----------------------------------------------------------------------------------------------------

_texts = st.text(min_size=1, max_size=40)


@given(st.none() | _texts, _texts, _texts)
def test_every_question_with_its_answer_is_a_tuning_example(
    system: str | None, question: str, answer: str
) -> None:
    example = pair(_example(question, answer, system=system))
    message = schema.check_request("TuningExample", json.loads(json.dumps(example, ensure_ascii=False)))
    assert message.output == answer
    assert message.text_input == (question if system is None else f"{system}\n\n{question}")


@given(st.none() | _texts, st.lists(st.tuples(_texts, _texts), max_size=3), _texts)
def test_a_model_is_asked_as_it_was_taught(
    system: str | None, earlier: list[tuple[str, str]], question: str
) -> None:
    turns: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for asked, answered in earlier:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    turns.append({"role": "user", "content": question})
    sent = contents(turns)
    schema.check_request("GenerateContentRequest", {"model": "tunedModels/a", "contents": sent})
    assert [turn["role"] for turn in sent] == ["user", "model"] * len(earlier) + ["user"]
    if not earlier:
        taught = pair([*turns, {"role": "assistant", "content": "answer"}])
        assert sent == [{"role": "user", "parts": [{"text": taught["textInput"]}]}]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([*_example("a", "b"), *_example("c", "d")], r"line 2: a conversation of 4 turns.*split it"),
        ([{"role": "user", "content": "a"}], "line 2: a conversation of 1 turns"),
        (_example("a", ""), "line 2: the answer is empty"),
        (
            _example("a" * 39_990, "b", system="c" * 9),
            r"line 2: a prompt of 40,001 characters.*at most 40,000",
        ),
        (_example("a", "b" * 5_001), r"line 2: an answer of 5,001 characters.*at most 5,000"),
    ],
    ids=["turns", "no answer", "empty", "prompt", "answer"],
)
async def test_training_data_that_cannot_be_used_is_refused_with_its_line(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, tmp_path: Path, wrong: list[Message], said: str
) -> None:
    training = _write(tmp_path / "t.jsonl", _example("a", "b"), wrong)
    with pytest.raises(PermanentProviderError, match=said) as caught:
        await provider.check_data(BASE_MODEL, training=training, validation=None)
    assert caught.value.field == "training"
    assert not server.requests


async def test_examples_of_exactly_the_longest_lengths_are_accepted(
    provider: GoogleAIStudio, tmp_path: Path
) -> None:
    training = _write(tmp_path / "t.jsonl", _example("a" * 40_000, "ä" * 5_000))
    await provider.check_data(BASE_MODEL, training=training, validation=None)


async def test_more_than_four_megabytes_are_refused(provider: GoogleAIStudio, tmp_path: Path) -> None:
    training = _write(tmp_path / "t.jsonl", *[_example("a" * 39_000, "b")] * 110)
    with pytest.raises(PermanentProviderError, match=r"line 108: .*4,194,304 bytes"):
        await provider.check_data(BASE_MODEL, training=training, validation=None)


async def test_a_model_of_one_s_own_has_the_limits_that_are_written_for_it(
    connect: Connect, tmp_path: Path
) -> None:
    traits = {"longestInputCharacters": "3"}
    provider = connect(models={"mine": {"parameters": {"epochs": {"type": "int"}}, "traits": traits}})
    long_answer = _write(tmp_path / "a.jsonl", _example("abc", "b" * 9_000))
    await provider.check_data("mine", training=long_answer, validation=None)
    with pytest.raises(PermanentProviderError, match="at most 3"):
        await provider.check_data(
            "mine", training=_write(tmp_path / "b.jsonl", _example("abcd", "b")), validation=None
        )


async def test_validation_data_is_kept_whatever_it_says_and_never_sent(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest, tmp_path: Path
) -> None:
    turns = _write(tmp_path / "v.jsonl", [*_example("never", "sent"), *_example("never", "sent")])
    training = write_dataset(tmp_path / "train.jsonl")
    await provider.check_data(BASE_MODEL, training=training, validation=turns)
    kept = await provider.upload(turns, base_model=BASE_MODEL)
    await provider.submit(replace(request_made, validation=kept))
    assert b"never" not in server.requests[-1].body


async def test_the_example_s_data_and_hyperparameters_are_taken(
    provider: GoogleAIStudio, tmp_path: Path
) -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "google-ai-studio.yaml").read_text(encoding="utf-8")))
    account, sweep, data = documents
    lines = data["data"]["train.jsonl"].splitlines()
    questions = [json.loads(line)["messages"][1]["content"] for line in lines]
    assert len(set(questions)) == len(questions) >= 20
    training = _write(tmp_path / "train.jsonl", *(json.loads(line)["messages"] for line in lines))
    (candidate,) = sweep["spec"]["candidates"]
    assert account["spec"]["type"] == "GoogleAIStudio"
    assert candidate["providerRef"]["name"] == account["metadata"]["name"]
    for base_model in candidate["baseModels"]:
        await provider.check([base_model])
        await provider.check_data(base_model, training=training, validation=None)
        rules = provider.model_rules(base_model)
        assert rules is not None
        assert set(candidate["parameters"]) <= set(rules.parameters)


def test_the_example_s_sweep_ends_with_its_best_model(tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "google-ai-studio.yaml").read_text(encoding="utf-8")))
    account, sweep, data = documents
    sweep["spec"]["limits"] |= {"maxTrials": 4, "parallelTrials": 2}  # to be quick
    with GoogleAIStudioServer(speed=500) as server:
        server.quality = lambda hyperparameters: hyperparameters["epochCount"] / 10
        for line in data["data"]["eval.jsonl"].splitlines():
            system, question, answer = (each["content"] for each in json.loads(line)["messages"])
            server.exam[f"{system}\n\n{question}"] = answer
        account["spec"] |= {"endpoint": server.url, "options": {"pollIntervalSeconds": "0.05"}}
        name = account["spec"]["credentialsSecretRef"]["name"]
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "stringData": {"GEMINI_API_KEY": server.secret},
            }
        )
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        output = tmp_path / "best.json"
        process = start_finetune(
            *("run", "sweep.yaml", "-o", "json"), folder=tmp_path, output=output, log=tmp_path / "log.txt"
        )
        try:
            assert process.wait(120) == 0, (tmp_path / "log.txt").read_text(encoding="utf-8")
        finally:
            kill_below(tmp_path)
        assert not server.violations
        assert len(server.jobs) == server.count("create") == 4
        told = json.loads(output.read_text(encoding="utf-8"))
        best = server.jobs[told["best"]["fineTunedModel"].removeprefix("tunedModels/")]
        trials = [job.hyperparameters["epochCount"] for job in server.jobs.values()]
        assert best.hyperparameters["epochCount"] == max(trials)
        for file in tmp_path.rglob("*"):
            if file.is_file() and file.name != "sweep.yaml":
                assert server.secret.encode() not in file.read_bytes(), file


# -- answers --------------------------------------------------------------------------------------------------


async def test_a_withheld_answer_is_empty_and_no_failure(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, request_made: JobRequest
) -> None:
    await provider.submit(request_made)
    server.finish_training()
    server.withheld.add(conversation("red")[0]["content"])
    async with provider.inference(f"tunedModels/{KEY}") as session:
        answers = await session.answer([conversation("red"), conversation("blue")], max_output_tokens=9)
    assert list(answers) == ["", "cold"]
    assert server.bodies("answer")[1] == {
        "contents": [{"role": "user", "parts": [{"text": "is blue warm or cold"}]}],
        "generationConfig": {"temperature": 0, "maxOutputTokens": 9},
    }


@pytest.mark.parametrize(
    ("candidate", "text"),
    [
        ({"finishReason": "MAX_TOKENS"}, ""),
        ({"finishReason": "SAFETY", "content": {"role": "model"}}, ""),
        ({"content": {"parts": [{"text": "hm", "thought": True}, {"text": "warm"}]}}, "warm"),
    ],
)
async def test_an_answer_is_its_texts_without_the_thoughts(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, candidate: Mapping[str, Any], text: str
) -> None:
    schema.parse("GenerateContentResponse", {"candidates": [candidate]})
    server.always("answer", Fault(body=json.dumps({"candidates": [candidate]}).encode()))
    async with provider.inference("tunedModels/any") as session:
        assert list(await session.answer([conversation("red")], max_output_tokens=9)) == [text]


@pytest.mark.parametrize(
    "body", [{}, {"candidates": [{"content": []}]}, {"candidates": [{"content": {"parts": [{"text": 1}]}}]}]
)
async def test_an_answer_of_another_shape_is_called_unexpected(
    server: GoogleAIStudioServer, provider: GoogleAIStudio, body: object
) -> None:
    server.always("answer", Fault(body=json.dumps(body).encode()))
    async with provider.inference("tunedModels/any") as session:
        with pytest.raises(UnexpectedResponse):
            await session.answer([conversation("red")], max_output_tokens=9)


async def test_a_base_model_answers_under_its_own_name(
    server: GoogleAIStudioServer, provider: GoogleAIStudio
) -> None:
    for name in (BASE_MODEL, f"models/{BASE_MODEL}"):
        async with provider.inference(name) as session:
            assert len(await session.answer([conversation("red")], max_output_tokens=9)) == 1
    assert {request.path for request in server.requests} == {f"/v1beta/models/{BASE_MODEL}:generateContent"}


# -- the judge itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"color": "red"}, "no field named"),
        ({"name": "tunedModels/a"}, "set by Google only"),
        ({"state": "ACTIVE"}, "set by Google only"),
        ({"tuningTask": {}}, "tuning_task"),
        (
            {"tuningTask": {"trainingData": {"examples": {"examples": [{"textInput": "a"}]}}}},
            "output.*required",
        ),
        ({"temperature": "warm"}, "temperature"),
        (
            {"tuningTask": {"hyperparameters": {"learningRate": 1, "learningRateMultiplier": 1}}},
            "multiple",
        ),
    ],
)
def test_the_judge_refuses_what_google_s_protos_refuse(change: Mapping[str, Any], said: str) -> None:
    task = {"trainingData": {"examples": {"examples": [{"textInput": "a", "output": "b"}]}}}
    good = {"baseModel": f"models/{BASE_MODEL}", "tuningTask": task}
    schema.check_request("CreateTunedModelRequest", {"tunedModelId": "a", "tunedModel": good})
    with pytest.raises(schema.Violation, match=said):
        schema.check_request(
            "CreateTunedModelRequest", {"tunedModelId": "a", "tunedModel": {**good, **change}}
        )


def test_the_judge_refuses_an_answer_that_shows_what_only_callers_send() -> None:
    task = {"trainingData": {"examples": {"examples": [{"textInput": "a", "output": "b"}]}}}
    with pytest.raises(schema.Violation, match="set by callers only"):
        schema.check_answer("TunedModel", {"name": "tunedModels/a", "tuningTask": task})
