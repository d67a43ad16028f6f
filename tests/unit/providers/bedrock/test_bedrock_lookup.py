"""Jobs that are looked up while AWS shows the wrong one, too many, or none."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.fakes.bedrock_server import BedrockServer
from tests.fakes.http_server import Fault, refused
from tests.unit.providers.bedrock.conftest import KEY

from finetune_providers.base import JobRequest, Provider
from finetune_providers.errors import (
    AmbiguousProviderError,
    JobNotFound,
    PermanentProviderError,
    TransientProviderError,
    UnexpectedResponse,
)

ELSEWHERE = (
    "arn:aws:bedrock:eu-west-1:123456789012:model-customization-job/amazon.nova-lite-v1:0:300k/abcdefabcdef"
)


async def older_job_of_the_same_name(
    server: BedrockServer, provider: Provider, request: JobRequest
) -> tuple[str, str]:
    """Somebody's job under our name, which AWS shows by it, and ours; their ids."""
    older = await provider.submit(request)
    server.jobs[older.job_id].body |= {
        "clientRequestToken": "by-hand",
        "jobName": "x",
        "customModelName": "x",
    }
    server.tokens.clear()
    ours = await provider.submit(request)
    server.jobs[older.job_id].body["jobName"] = request.key
    return older.job_id, ours.job_id


async def test_a_job_is_found_behind_an_older_one_of_the_same_name(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    _, ours = await older_job_of_the_same_name(server, provider, request_nova)
    for number in range(3):  # names that contain ours fill the first page
        await provider.submit(replace(request_nova, key=f"{KEY}{number}"))
    server.page_size = 2
    assert [job.job_id for job in await provider.find(KEY)] == [ours]
    server.forgets_tokens = True
    assert (await provider.submit(request_nova)).job_id == ours


async def test_an_id_that_aws_refuses_keeps_no_other_job_from_being_seen(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    """A person may have adopted a job by a mistyped id, or one of another region."""
    job = await provider.submit(request_nova)
    server.fault("get", refused(400, code="ValidationException"))
    assert set(await provider.observe([ELSEWHERE, job.job_id])) == {job.job_id}


async def test_a_list_of_jobs_without_an_end_is_not_followed(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    await older_job_of_the_same_name(server, provider, request_nova)
    server.always("list", Fault(body=b'{"modelCustomizationJobSummaries": [], "nextToken": "again"}'))
    async with asyncio.timeout(10):
        with pytest.raises(UnexpectedResponse, match="list of jobs has no end"):
            await provider.find(KEY)


async def test_a_list_of_objects_without_an_end_is_not_followed(
    server: BedrockServer, provider: Provider
) -> None:
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again"
    server.always("objects", Fault(body=page + b"</NextContinuationToken></ListBucketResult>"))
    async with asyncio.timeout(10):
        with pytest.raises(UnexpectedResponse, match="list of objects has no end"):
            await provider.delete_data("fts-1")


async def test_permissions_that_are_missing_are_no_missing_job(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    job = await provider.submit(request_nova)
    server.denied = {"get"}
    server.list_lag_s = 60
    server.jobs[job.job_id].hidden_until_s = 1e9
    with pytest.raises(PermanentProviderError, match="not authorized"):
        await provider.observe([job.job_id])


async def test_stopping_what_is_no_job_says_so(server: BedrockServer, provider: Provider) -> None:
    server.fault("stop", refused(400, code="ValidationException"))
    server.fault("get", refused(400, code="ValidationException"))
    with pytest.raises(JobNotFound):
        await provider.cancel(ELSEWHERE)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (refused(400, code="ConflictException"), TransientProviderError),
        (refused(400, code="ValidationException"), PermanentProviderError),
    ],
)
async def test_a_job_in_a_state_that_is_not_known_is_not_taken_for_stopped(
    server: BedrockServer,
    provider: Provider,
    request_nova: JobRequest,
    refusal: Fault,
    error: type[Exception],
) -> None:
    job = await provider.submit(request_nova)
    server.jobs[job.job_id].native_state = "Pausing"
    server.fault("stop", refusal)
    with pytest.raises(error):
        await provider.cancel(job.job_id)


@pytest.mark.parametrize("look", [refused(404), refused(403), refused(400)], ids=["hidden", "denied", "400"])
async def test_a_taken_name_whose_job_is_not_to_be_seen_is_ambiguous(
    server: BedrockServer, provider: Provider, request_nova: JobRequest, look: Fault
) -> None:
    await provider.submit(request_nova)
    server.forgets_tokens = True
    server.always("get", look)
    with pytest.raises(AmbiguousProviderError, match="job name is currently in use"):
        await provider.submit(request_nova)


async def test_a_model_name_that_is_taken_is_a_refusal(
    server: BedrockServer, provider: Provider, request_nova: JobRequest
) -> None:
    job = await provider.submit(request_nova)
    server.jobs[job.job_id].body |= {"jobName": "another"}
    server.forgets_tokens = True
    with pytest.raises(PermanentProviderError, match="custom model name is currently in use"):
        await provider.submit(request_nova)
