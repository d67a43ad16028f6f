"""The double refuses what AWS would refuse; otherwise a test over it would say nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.fakes.bedrock_schema import Operation, Violation, check_shape
from tests.fakes.bedrock_server import KEY_ID, REGION, BedrockServer

from finetune_providers import bedrock
from finetune_providers.base import JobRequest, Provider, ProviderConfig
from finetune_providers.bedrock.requests import create_parameters
from finetune_providers.bedrock.settings import settings_of

ROOT = Path(__file__).parents[4]


@pytest.fixture
def client(server: BedrockServer) -> Any:
    client = boto3.client(
        "bedrock",
        region_name=REGION,
        endpoint_url=server.url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=server.secret,
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


@pytest.fixture
async def body(
    config: Callable[..., ProviderConfig], provider: Provider, request_nova: JobRequest
) -> dict[str, Any]:
    """A create call that is right."""
    rules = provider.model_rules(request_nova.base_model)
    assert rules is not None
    return create_parameters(request_nova, rules, settings_of(config()))


def changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda body: {**body, **changes}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(baseModelIdentifier="amazon.nova-9-v1:0"), "model identifier is invalid"),
        (changed(roleArn="arn:aws:iam::123456789012:role/other"), "Could not assume"),
        (changed(hyperParameters={"batchSize": "4"}), "batchSize is not supported"),
        (changed(hyperParameters={"epochCount": "6"}), "must be from 1 to 5"),
        (changed(hyperParameters={"epochCount": "1.5"}), "malformed"),
        (changed(hyperParameters={"learningRate": "1e-05"}), "must be from"),
        (changed(trainingDataConfig={"s3Uri": "s3://acme-tuning/none.jsonl"}), "GetObject permissions"),
        (changed(outputDataConfig={"s3Uri": "s3://elsewhere/x"}), "PutObject permissions"),
    ],
)
def test_a_create_call_that_aws_would_refuse_is_refused(
    client: Any, body: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]], said: str
) -> None:
    with pytest.raises(ClientError, match=said) as caught:
        client.create_model_customization_job(**change(body))
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_token_is_worth_one_job_and_one_set_of_parameters(
    server: BedrockServer, client: Any, body: dict[str, Any]
) -> None:
    first = client.create_model_customization_job(**body)["jobArn"]
    assert client.create_model_customization_job(**body)["jobArn"] == first
    with pytest.raises(ClientError, match="ConflictException"):
        client.create_model_customization_job(**{**body, "hyperParameters": {"epochCount": "3"}})
    with pytest.raises(ClientError, match="job name is currently in use"):
        client.create_model_customization_job(**{**body, "clientRequestToken": "another"})
    assert len(server.jobs) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(jobName="x" * 64), "jobName is 64"),
        (changed(jobName="-x"), "jobName is '-x', which is not like"),
        (changed(customizationType="MAGIC"), "customizationType is 'MAGIC', not one of"),
        (changed(jobTags=[{"key": "a", "value": "b;c"}]), r"jobTags\[0\].value is 'b;c'"),
        (changed(trainingDataConfig={"s3Uri": "s3://Bad_Bucket/x"}), "trainingDataConfig.s3Uri"),
    ],
)
def test_what_botocore_lets_pass_and_aws_does_not_is_a_violation(
    server: BedrockServer, client: Any, body: dict[str, Any], change: Any, said: str
) -> None:
    with pytest.raises(ClientError, match="InternalServerException"):
        client.create_model_customization_job(**change(body))
    (violation,) = server.violations
    assert re.search(said, violation)
    server.violations.clear()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "jobArn is missing"),
        ({"jobArn": "arn"}, "is not like"),
        ({"jobArn": 5}, "is int, not string"),
        ({"jobArn": "arn", "more": 1}, "more is not known"),
    ],
)
def test_an_answer_that_breaks_the_service_model_is_a_violation(answer: Any, said: str) -> None:
    with pytest.raises(Violation, match=said):
        Operation("bedrock", "CreateModelCustomizationJob").check_output(answer)


def test_shapes_know_bounds_unions_and_times() -> None:
    check_shape("bedrock-runtime", "InferenceConfiguration", {"temperature": 1})
    with pytest.raises(Violation, match="temperature is 2, not from 0 to 1"):
        check_shape("bedrock-runtime", "InferenceConfiguration", {"temperature": 2})
    with pytest.raises(Violation, match="exactly one member"):
        check_shape("bedrock-runtime", "SystemContentBlock", {})
    with pytest.raises(Violation, match="is no time"):
        check_shape("bedrock", "Timestamp", "yesterday")


def test_the_docs_name_every_permission_that_is_needed() -> None:
    text = (ROOT / "docs" / "providers" / "bedrock.md").read_text("utf-8")
    sources = [module.read_text("utf-8") for module in Path(str(bedrock.__file__)).parent.glob("*.py")]
    called = set(
        re.findall(r'"((?:create|get|list|stop|delete)_[a-z_]*(?:model|job)[a-z_]*)"', "".join(sources))
    )
    assert len(called) == 13
    for operation in called:
        action = "".join(word.capitalize() for word in operation.split("_"))
        assert f"`bedrock:{action}`" in text, action
