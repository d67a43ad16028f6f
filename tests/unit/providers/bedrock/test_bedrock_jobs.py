from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.bedrock_rules import TUNABLE
from tests.fakes.bedrock_schema import check_shape
from tests.fakes.bedrock_server import BUCKET, ROLE, BedrockServer
from tests.fakes.http_server import DONE_THEN_DROPPED, Fault, done_then, refused
from tests.unit.providers.bedrock.conftest import KEY, NOVA, Connect, Write

from finetune_providers.base import JobRequest, JobState, Provider
from finetune_providers.bounded import MOST_FILE_BYTES
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    PermanentProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)


async def test_a_job_is_created_with_exactly_this_body(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    await provider.submit(request_nova)
    tags = [
        {"key": "finetune-operator.dev/sweep", "value": "support"},
        {"key": "finetune-operator.dev/trial", "value": "support-0"},
    ]
    assert server.bodies("create") == [
        {
            "jobName": KEY,
            "customModelName": KEY,
            "clientRequestToken": KEY,
            "roleArn": ROLE,
            "baseModelIdentifier": NOVA,
            "customizationType": "FINE_TUNING",
            "trainingDataConfig": {"s3Uri": request_nova.training},
            "validationDataConfig": {"validators": [{"s3Uri": request_nova.validation}]},
            "outputDataConfig": {"s3Uri": f"s3://{BUCKET}/tuning/fts-1.output/{KEY}"},
            "hyperParameters": {"epochCount": "2", "learningRate": "0.00001"},
            "jobTags": tags,
            "customModelTags": tags,
        }
    ]


async def test_what_is_not_given_is_not_sent_and_a_key_for_the_model_is(
    server: BedrockServer, connect: Connect, request_nova: JobRequest
) -> None:
    kms_key = "arn:aws:kms:us-east-1:123456789012:key/01234567-0123-0123-0123-0123456789ab"
    provider = connect(options={"customerKmsKey": kms_key})
    await provider.submit(replace(request_nova, validation=None, labels={}))
    (body,) = server.bodies("create")
    assert body["customModelKmsKeyId"] == kms_key
    assert body.keys().isdisjoint({"validationDataConfig", "jobTags", "customModelTags", "vpcConfig"})


@pytest.mark.parametrize(
    ("model", "name", "value", "native"),
    [
        (NOVA, "epochs", 5, {"epochCount": "5"}),
        (NOVA, "learningRate", 1e-6, {"learningRate": "0.000001"}),
        (NOVA, "learningRate", 1e-4, {"learningRate": "0.0001"}),
        (NOVA, "learningRateWarmupSteps", 0, {"learningRateWarmupSteps": "0"}),
        ("meta.llama3-3-70b-instruct-v1:0:128k", "batchSize", 1, {"batchSize": "1"}),
        ("meta.llama3-3-70b-instruct-v1:0:128k", "learningRate", 0.1, {"learningRate": "0.1"}),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", "batchSize", 256, {"batchSize": "256"}),
        (
            "anthropic.claude-3-haiku-20240307-v1:0:200k",
            "learningRateMultiplier",
            2.0,
            {"learningRateMultiplier": "2"},
        ),
        (
            "anthropic.claude-3-haiku-20240307-v1:0:200k",
            "earlyStoppingThreshold",
            0.001,
            {"earlyStoppingThreshold": "0.001"},
        ),
        (
            "anthropic.claude-3-haiku-20240307-v1:0:200k",
            "earlyStoppingPatience",
            10,
            {"earlyStoppingPatience": "10"},
        ),
    ],
)
async def test_each_hyperparameter_goes_by_its_own_name_as_plain_text(
    server: BedrockServer, provider: Provider, write: Write, model: str, name: str, value: Any, native: Any
) -> None:
    training = await provider.upload(write(100), base_model=model)
    await provider.submit(JobRequest(KEY, model, {name: value}, training))
    assert server.bodies("create")[0]["hyperParameters"] == native


def test_the_catalog_and_the_company_agree_on_names_and_ranges(provider: Provider) -> None:
    for model, tunable in TUNABLE.items():
        rules = provider.model_rules(model)
        assert rules is not None
        names = {"epochCount" if name == "epochs" else name: rule for name, rule in rules.parameters.items()}
        assert names.keys() == tunable.parameters.keys(), model
        if "ranges" in rules.note:
            continue  # published nowhere
        for name, (low, high) in tunable.parameters.items():
            rule = names[name]
            allowed = (
                (rule.minimum, rule.maximum) if not rule.allowed else (min(rule.allowed), max(rule.allowed))
            )
            assert allowed == (low, high), (model, name)


async def test_a_hyperparameter_that_the_model_does_not_take_is_not_dropped(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    with pytest.raises(PermanentProviderError, match="does not take batchSize; it takes epochs") as caught:
        await provider.submit(replace(request_nova, hyperparameters={"batchSize": 4}))
    assert caught.value.field == "parameters.batchSize"
    assert server.count("create") == 0


async def test_validation_data_is_not_dropped_for_a_model_that_takes_none(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    request = replace(request_nova, base_model="amazon.nova-2-lite-v1:0:256k")
    with pytest.raises(PermanentProviderError, match="without validation data") as caught:
        await provider.submit(request)
    assert caught.value.field == "validation"
    assert server.count("create") == 0


def test_keys_fit_everything_they_are_used_as() -> None:
    for attempt in ("a1", "a999999"):
        key = KEY.replace("a1", attempt)
        for shape in ("JobName", "CustomModelName", "IdempotencyToken", "ModelDeploymentName"):
            check_shape("bedrock", shape, key)
    for shape in ("ModelDeploymentName", "ProvisionedModelName", "IdempotencyToken"):
        check_shape("bedrock", shape, "d" * 48)


# -- never twice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [done_then(500), DONE_THEN_DROPPED], ids=["500", "dropped"])
@pytest.mark.parametrize("forgets", [False, True], ids=["token", "name"])
async def test_a_repeated_create_call_gives_the_first_job_by_token_or_by_name(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, fault: Fault, forgets: bool
) -> None:
    server.fault("create", fault)
    with pytest.raises(AmbiguousProviderError):
        await provider.submit(request_nova)
    server.forgets_tokens = forgets
    again = await provider.submit(request_nova)
    assert [again.job_id] == list(server.jobs)
    assert server.count("create") == 2


@pytest.mark.parametrize(
    "refusal",
    [refused(400, code="ConflictException"), refused(400, code="ResourceInUseException"), refused(409)],
    ids=["conflict", "in use", "409"],
)
async def test_other_words_for_a_name_that_is_taken_lead_to_the_job_too(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, refusal: Fault
) -> None:
    first = await provider.submit(request_nova)
    server.fault("create", refusal)
    assert (await provider.submit(request_nova)).job_id == first.job_id


@pytest.mark.parametrize("status", [429, 503])
async def test_a_taken_name_whose_job_cannot_be_looked_up_is_ambiguous(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, status: int
) -> None:
    """A rate limit of the look says nothing of the create call: it must not pass for 'nothing was bought'."""
    await provider.submit(request_nova)
    server.forgets_tokens = True
    server.always("get", refused(status))
    with pytest.raises(AmbiguousProviderError):
        await provider.submit(request_nova)


async def test_somebody_else_s_job_of_the_same_name_is_not_ours(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    job = await provider.submit(request_nova)
    server.jobs[job.job_id].body["clientRequestToken"] = "made-by-hand"
    server.forgets_tokens = True
    assert await provider.find(KEY) == ()
    with pytest.raises(PermanentProviderError, match="currently in use"):
        await provider.submit(request_nova)


async def test_a_service_quota_is_a_reason_to_wait_though_its_status_is_400(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    server.fault("create", refused(400, code="ServiceQuotaExceededException"))
    with pytest.raises(QuotaExceeded):
        await provider.submit(request_nova)


async def test_an_answer_without_the_job_s_arn_is_ambiguous(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    server.fault("create", Fault(takes_effect=True, body=b'{"jobArn": null}'))
    with pytest.raises(AmbiguousProviderError, match="jobArn"):
        await provider.submit(request_nova)
    assert len(await provider.find(KEY)) == 1


# -- looking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "training", "state"),
    [
        ("InProgress", "NotStarted", JobState.PENDING),
        ("InProgress", "InProgress", JobState.RUNNING),
        ("Stopping", "InProgress", JobState.RUNNING),
        ("Stopped", "Stopped", JobState.CANCELLED),
        ("Failed", "Failed", JobState.FAILED),
        ("Completed", "Completed", JobState.SUCCEEDED),
        ("Resting", "NotStarted", JobState.RUNNING),
    ],
)
async def test_states(
    server: BedrockServer,
    provider: Provider,
    request_nova: JobRequest,
    native: str,
    training: str,
    state: JobState,
) -> None:
    job = await provider.submit(request_nova)
    if training != "NotStarted":
        server.clock.advance(server.training_s * (2.0 if native == "Completed" else 0.5))
    server.jobs[job.job_id].native_state = native
    seen = (await provider.observe([job.job_id]))[job.job_id]
    assert (seen.state, seen.native_state) == (state, native)


async def test_a_list_is_read_no_further_than_needed(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    server.page_size = 2
    keys = [f"ft-{number:020x}-a1" for number in range(7)]
    jobs = [(await provider.submit(replace(request_nova, key=key))).job_id for key in keys]
    assert set(await provider.observe(jobs[-2:])) == set(jobs[-2:])
    assert (server.count("list"), server.count("get")) == (1, 0)
    assert set(await provider.observe(jobs[:1])) == set(jobs[:1])  # the oldest: not worth four pages
    assert (server.count("list"), server.count("get")) == (2, 1)


async def test_a_job_that_the_list_does_not_show_yet_is_asked_for(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    server.list_lag_s = 60
    job = await provider.submit(request_nova)
    assert set(await provider.observe([job.job_id])) == {job.job_id}
    assert [found.job_id for found in await provider.find(KEY)] == [job.job_id]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("list", b"{}"),
        ("list", b'{"modelCustomizationJobSummaries": [5]}'),
        ("list", b'{"modelCustomizationJobSummaries": [{"jobArn": "%ARN%"}]}'),
        ("list", b'{"modelCustomizationJobSummaries": [{"jobArn": "%ARN%", "jobName": "x", "status": 7}]}'),
        ("list", b'{"modelCustomizationJobSummaries": [{"creationTime": "yesterday"}]}'),
        ("get", b'{"status": "Completed"}'),
        ("get", b"[1, 2]"),
        ("get", b'{"statusDetails": "none"}'),
    ],
)
async def test_an_answer_of_another_shape_is_unexpected(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, operation: str, body: bytes
) -> None:
    job = await provider.submit(request_nova)
    server.finish_training()
    server.always(operation, Fault(body=body.replace(b"%ARN%", job.job_id.encode())))
    with pytest.raises(UnexpectedResponse):
        await provider.observe([job.job_id])


# -- stopping ---------------------------------------------------------------------------------------------------


async def test_a_job_that_cannot_be_stopped_while_it_trains_is_an_error(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    job = await provider.submit(request_nova)
    server.fault("stop", refused(403))
    with pytest.raises(PermanentProviderError, match="AccessDenied"):
        await provider.cancel(job.job_id)


@pytest.mark.parametrize("native", ["Stopping", "Stopped", "Completed", "Failed"])
async def test_a_job_that_stops_or_has_ended_is_left_as_it_is(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, native: str
) -> None:
    job = await provider.submit(request_nova)
    server.jobs[job.job_id].native_state = native
    server.fault("stop", refused(400))
    await provider.cancel(job.job_id)


async def test_cancelling_passes_on_what_passes_and_what_is_not_there(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    job = await provider.submit(request_nova)
    server.fault("stop", refused(503))
    with pytest.raises(TransientProviderError):
        await provider.cancel(job.job_id)
    with pytest.raises(JobNotFound):
        await provider.cancel(job.job_id[:-1] + "x")


# -- metrics ----------------------------------------------------------------------------------------------------


async def test_a_finished_job_s_series_comes_from_its_files(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    server.rows_per_step = 2
    job = await provider.submit(request_nova)
    server.finish_training()
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert [point.step for point in done.series] == [0, 1, 2, 3, 4, 5]
    assert done.series[0].values == {"trainingLoss": 2.0}
    assert done.series[5].values == {"trainingLoss": pytest.approx(1 / 3), "validationLoss": 0.5}
    assert done.trained_tokens is None


@pytest.mark.parametrize("why", ["missing", "denied", "nonsense", "huge"])
async def test_without_files_the_job_s_last_words_are_its_series(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, why: str
) -> None:
    server.writes_metrics = why != "missing"
    job = await provider.submit(request_nova)
    server.finish_training()
    if why == "denied":
        server.always("read", refused(403, code="AccessDenied"))
    elif why == "nonsense":
        server.always("read", Fault(body=b"\xff\x00,step_number\n1\nnan,nan"))
    elif why == "huge":  # what is right in its beginning is not read either
        rows = b"step_number,epoch_number,training_loss,validation_loss\n1,0,9.0,9.0\n"
        server.always("read", Fault(body=rows + b"\n" * MOST_FILE_BYTES))
    done = (await provider.observe([job.job_id]))[job.job_id]
    assert [point.values for point in done.series] == [{"trainingLoss": 0.5, "validationLoss": 0.625}]


async def test_metrics_that_cannot_be_read_now_are_read_later(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    job = await provider.submit(request_nova)
    server.finish_training()
    server.fault("read", refused(503, code="SlowDown"))
    with pytest.raises(TransientProviderError):
        await provider.observe([job.job_id])
    assert (await provider.observe([job.job_id]))[job.job_id].series
