"""Bedrock's requests, held against moto: a double that is not ours.

Left out is what moto does otherwise than AWS documents: it takes no notice of clientRequestToken, no job ever ends, and
it has neither deployments nor answers nor the list of foundation models.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from tests.fakes.bedrock_server import BUCKET, REGION, ROLE
from tests.unit.providers.bedrock.conftest import KEY, NOVA, Write

from finetune_providers.base import JobRequest, JobState, Provider, ProviderConfig
from finetune_providers.bedrock import create
from finetune_providers.errors import JobNotFound, PermanentProviderError


@pytest.fixture
def bucket() -> Iterator[None]:
    with mock_aws():
        boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET)
        yield


@pytest.fixture
async def provider(bucket: None, tmp_path: Path) -> AsyncIterator[Provider]:
    provider = create(
        ProviderConfig(
            name="bedrock",
            type="Bedrock",
            work_dir=tmp_path / "work",
            options={"roleArn": ROLE},
            credentials={"AWS_ACCESS_KEY_ID": "AKIATESTING", "AWS_SECRET_ACCESS_KEY": "testing"},
            region=REGION,
            data_uri=f"s3://{BUCKET}/tuning",
        )
    )
    yield provider
    await provider.aclose()


async def test_a_job_is_created_found_seen_and_stopped(provider: Provider, write: Write) -> None:
    request = JobRequest(
        key=KEY,
        base_model=NOVA,
        hyperparameters={"epochs": 2, "learningRate": 1e-5},
        training=await provider.upload(write(), base_model=NOVA),
        validation=await provider.upload(write(3), base_model=NOVA),
        labels={"sweep": "support", "trial": "support-0"},
    )
    job = await provider.submit(request)
    another = await provider.submit(replace(request, key="ft-00112233445566778899-a1"))
    (found,) = await provider.find(KEY)
    assert (found.job_id, found.key, found.state) == (job.job_id, KEY, JobState.RUNNING)
    assert await provider.find("ft-00112233445566778899-a2") == ()
    seen = await provider.observe([job.job_id, another.job_id, "no-such-job"])
    assert set(seen) == {job.job_id, another.job_id}
    await provider.cancel(KEY)  # moto stops a job by its name alone
    assert (await provider.observe([job.job_id]))[job.job_id].state is JobState.CANCELLED
    with pytest.raises(JobNotFound):
        await provider.cancel("no-such-job")


async def test_a_name_that_is_taken_leads_to_its_job(provider: Provider, write: Write) -> None:
    request = JobRequest(KEY, NOVA, {"epochs": 1}, await provider.upload(write(), base_model=NOVA))
    first = await provider.submit(request)
    assert (await provider.submit(request)).job_id == first.job_id  # moto: ResourceInUseException


async def test_data_is_uploaded_once_and_deleted_by_its_scope(provider: Provider, write: Write) -> None:
    store = boto3.client("s3", region_name=REGION)
    first = await provider.upload(write(), base_model=NOVA)
    assert await provider.upload(write(), base_model=NOVA) == first
    kept = await provider.upload(write(scope="fts-2"), base_model=NOVA)
    listed = store.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert {f"s3://{BUCKET}/{item['Key']}" for item in listed} == {first, kept}
    await provider.delete_data("fts-1")
    listed = store.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert [f"s3://{BUCKET}/{item['Key']}" for item in listed] == [kept]


async def test_a_custom_model_that_is_not_there_is_deleted_already(provider: Provider) -> None:
    await provider.delete_model(f"arn:aws:bedrock:{REGION}:123456789012:custom-model/{NOVA}/abcdefabcdef")


async def test_a_bucket_that_is_not_there_is_said(provider: Provider, write: Write) -> None:
    store = boto3.client("s3", region_name=REGION)
    store.delete_bucket(Bucket=BUCKET)
    with pytest.raises(PermanentProviderError, match=r"bucket of spec\.dataUri does not exist"):
        await provider.upload(write(), base_model=NOVA)
