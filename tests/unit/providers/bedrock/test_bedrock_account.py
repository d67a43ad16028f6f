from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.parsers import ResponseParserError
from tests.fakes.bedrock_server import BUCKET, KEY_ID, ROLE, SESSION_TOKEN, BedrockServer
from tests.fakes.http_server import refused
from tests.unit.providers.bedrock.conftest import KEY, NOVA, Connect

from finetune_providers.base import JobRequest, Provider, ProviderConfig
from finetune_providers.bedrock import create
from finetune_providers.bedrock.aws import Clients
from finetune_providers.bedrock.errors import Conflict, Invalid, explain
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

Config = Callable[..., ProviderConfig]

# -- what is missing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "what"),
    [
        ({"region": None}, "spec.region", "missing.*such as us-east-1"),
        ({"region": "Virginia"}, "spec.region", "'Virginia' is not right"),
        ({"data_uri": None}, "spec.dataUri", "missing.*s3://bucket/folder"),
        ({"data_uri": "gs://bucket/folder"}, "spec.dataUri", "gs://bucket"),
        ({"data_uri": "s3://bucket/a folder"}, "spec.dataUri", "a folder"),
        ({"data_uri": "s3://bucket//folder"}, "spec.dataUri", "bucket//folder"),
        ({"options": {"roleArn": ""}}, "spec.bedrock.roleArn", "missing.*arn:aws:iam"),
        ({"options": {"roleArn": "tuning"}}, "spec.bedrock.roleArn", "'tuning' is not right"),
        ({"options": {"pollIntervalSeconds": "soon"}}, "spec.options.pollIntervalSeconds", "above 0"),
        ({"options": {"pollIntervalSeconds": "-1"}}, "spec.options.pollIntervalSeconds", "above 0"),
        (
            {"options": {"provisionedThroughput": "yes"}},
            "spec.options.provisionedThroughput",
            '"Allow" or "Never"',
        ),
        (
            {"credentials": {"AWS_ACCESS_KEY_ID": "AKIA"}},
            "spec.credentialsSecretRef",
            "no AWS_SECRET_ACCESS_KEY;",
        ),
        (
            {"credentials": {"api-key": "x"}},
            "spec.credentialsSecretRef",
            "no AWS_ACCESS_KEY_ID and no AWS_SECRET",
        ),
    ],
)
def test_what_the_resource_lacks_is_said_with_its_field(
    config: Config, changes: Any, field: str, what: str
) -> None:
    with pytest.raises(PermanentProviderError, match=what) as caught:
        create(config(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "ap-southeast-2", "eu-central-1"])
def test_regions_of_all_partitions_are_taken(connect: Connect, region: str) -> None:
    assert connect(region=region).capabilities.needs_deployment


def test_a_look_is_taken_every_half_minute_unless_said_otherwise(connect: Connect) -> None:
    assert connect().capabilities.poll_interval_s == 30
    assert connect(options={"pollIntervalSeconds": "2.5"}).capabilities.poll_interval_s == 2.5


# -- whose credentials ------------------------------------------------------------------------------------------


async def test_nothing_of_this_machine_mixes_with_a_secret(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The server checks key id, signature, region and the absence of a session token."""
    (tmp_path / "no-config").write_text(
        "[profile other]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:1\n"
    )
    for name, value in {
        "AWS_PROFILE": "a-profile-that-is-not-there",
        "AWS_ACCESS_KEY_ID": "AKIAOFTHEMACHINE",
        "AWS_SECRET_ACCESS_KEY": "of-the-machine",
        "AWS_SESSION_TOKEN": "of-the-machine",
        "AWS_BEARER_TOKEN_BEDROCK": "of-the-machine",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_BEDROCK": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    await connect().check([NOVA])


async def test_without_a_secret_the_machine_s_own_identity_is_used(
    server: BedrockServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret)
    await connect(credentials={}).check([NOVA])


async def test_without_any_credentials_it_is_said_where_they_come_from(connect: Connect) -> None:
    with pytest.raises(
        PermanentProviderError, match="no AWS credentials were found: name a Secret"
    ) as caught:
        await connect(credentials={}).check([NOVA])
    assert caught.value.field == "spec.credentialsSecretRef"


@pytest.mark.parametrize(
    ("credentials", "what"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAWRONG", "AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_SECRET_ACCESS_KEY"),
    ],
)
async def test_wrong_credentials_are_named(connect: Connect, credentials: Any, what: str) -> None:
    with pytest.raises(PermanentProviderError, match=what) as caught:
        await connect(credentials=credentials).check([NOVA])
    assert caught.value.field == "spec.credentialsSecretRef"


async def test_no_debug_log_holds_a_session_token_or_data(
    server: BedrockServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.session_token = SESSION_TOKEN
    credentials = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": server.secret}
    provider = connect(credentials={**credentials, "AWS_SESSION_TOKEN": SESSION_TOKEN})
    await provider.check([NOVA])
    async with provider.inference(NOVA) as session:
        await session.answer(
            [[{"role": "user", "content": "a question nobody may log"}]], max_output_tokens=4
        )
    assert not [text for text in (SESSION_TOKEN, server.secret, "nobody may log") if text in caplog.text]


async def test_each_service_may_have_an_endpoint_of_its_own(server: BedrockServer, connect: Connect) -> None:
    dead = "http://127.0.0.1:1"
    await connect(endpoint=server.url, endpoints={"inference": dead}).check([NOVA])
    with pytest.raises(NotReached):
        await connect(endpoints={"storage": dead}).check([NOVA])
    with pytest.raises(NotReached):
        async with connect(endpoints={"inference": dead}).inference(NOVA) as session:
            await session.answer([[{"role": "user", "content": "hello"}]], max_output_tokens=4)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"endpoint": "https://bed_rock.acme.example"}, "spec.endpoint"),
        ({"endpoints": {"storage": "https://s3_proxy.acme.example"}}, "spec.endpoints.storage"),
    ],
)
async def test_an_endpoint_that_boto3_does_not_take_is_named(
    connect: Connect, changes: Any, field: str
) -> None:
    with pytest.raises(PermanentProviderError, match="_") as caught:
        await connect(**changes).check([NOVA])
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("bedrock", "https://bedrock.us-west-2.amazonaws.com"),
        ("bedrock-runtime", "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ("s3", "https://s3.us-west-2.amazonaws.com"),
    ],
)
def test_without_an_endpoint_aws_s_own_are_used(
    config: Config, monkeypatch: pytest.MonkeyPatch, service: str, host: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    clients = Clients(config(endpoint=None, region="us-west-2"))
    assert clients._client(service).meta.endpoint_url == host
    assert clients._client(service).meta.config.retries["total_max_attempts"] == 1
    clients.close()


# -- check ------------------------------------------------------------------------------------------------------


async def test_a_model_that_the_region_does_not_fine_tune_is_refused_with_what_it_does(
    connect: Connect,
) -> None:
    provider = connect(models={"own.model-v1:0": {"like": NOVA}})
    with pytest.raises(
        PermanentProviderError, match=r"own.model-v1:0 .* in us-east-1; .*nova-micro"
    ) as caught:
        await provider.check(["own.model-v1:0"])
    assert caught.value.field == "baseModels"


async def test_an_unknown_model_is_refused_with_what_to_do(server: BedrockServer, provider: Provider) -> None:
    with pytest.raises(PermanentProviderError, match=r"'gpt-9' .*nova-lite.*add it to spec.models") as caught:
        await provider.check(["gpt-9"])
    assert caught.value.field == "baseModels"
    assert not server.requests


async def test_a_custom_model_may_be_trained_further_by_its_arn(connect: Connect) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abcdefabcdef"
    await connect(models={arn: {"like": NOVA}}).check([arn])


async def test_a_bucket_that_is_not_there_is_found_before_anything_is_bought(connect: Connect) -> None:
    with pytest.raises(PermanentProviderError, match="there is no bucket no-such-bucket") as caught:
        await connect(data_uri="s3://no-such-bucket/x").check([NOVA])
    assert caught.value.field == "spec.dataUri"


async def test_a_permission_that_is_missing_is_named(server: BedrockServer, provider: Provider) -> None:
    server.denied = {"models"}
    with pytest.raises(
        PermanentProviderError, match=r"not authorized .*ListFoundationModels.*allow it in the IAM"
    ):
        await provider.check([NOVA])


# -- errors -----------------------------------------------------------------------------------------------------


def answered(code: str, status: int, message: str = "", retry_after: str | None = None) -> aws.ClientError:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return aws.ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": headers,
                "RequestId": "",
                "RetryAttempts": 0,
            },
        },
        "CreateModelCustomizationJob",
    )


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (answered("ThrottlingException", 429), QuotaExceeded),
        (answered("ThrottlingException", 400), QuotaExceeded),
        (answered("ServiceQuotaExceededException", 400), QuotaExceeded),
        (answered("ModelNotReadyException", 429), QuotaExceeded),
        (answered("SlowDown", 503), QuotaExceeded),
        (answered("Whatever", 429), QuotaExceeded),
        (answered("InternalServerException", 500), TransientProviderError),
        (answered("ServiceUnavailableException", 503), TransientProviderError),
        (answered("ModelTimeoutException", 408), TransientProviderError),
        (answered("ModelErrorException", 424), TransientProviderError),
        (answered("RequestTimeout", 400), TransientProviderError),
        (answered("Whatever", 502), TransientProviderError),
        (answered("ValidationException", 400, "too long"), Invalid),
        (answered("ValidationException", 500, "too long"), Invalid),
        # Said of an account, not of what it asked for: it must not pass for a job that is not there.
        (answered("ValidationException", 400, "Operation not allowed"), PermanentProviderError),
        (answered("BadDigest", 400), TransientProviderError),
        (answered("IncompleteBody", 400), TransientProviderError),
        (answered("OperationAborted", 409), TransientProviderError),
        (answered("AccessDeniedException", 403), PermanentProviderError),
        (answered("UnrecognizedClientException", 403), PermanentProviderError),
        (answered("TooManyTagsException", 400), PermanentProviderError),
        (answered("NoSuchBucket", 404), PermanentProviderError),
        (answered("301", 301), PermanentProviderError),
        (answered("Whatever", 401), PermanentProviderError),
        (answered("Whatever", 422), PermanentProviderError),
        (answered("ConflictException", 400), Conflict),
        (answered("ResourceInUseException", 400), Conflict),
        (answered("ValidationException", 400, "The provided job name is currently in use."), Conflict),
        (answered("Whatever", 409), Conflict),
        (answered("ResourceNotFoundException", 404), JobNotFound),
        (answered("NoSuchKey", 404), JobNotFound),
        (answered("404", 404), JobNotFound),
        (answered("Whatever", 200), UnexpectedResponse),
        (aws.EndpointConnectionError(endpoint_url="http://x"), NotReached),
        (aws.ConnectTimeoutError(endpoint_url="http://x"), NotReached),
        (aws.CredentialRetrievalError(provider="web-identity", error_msg="x"), NotReached),
        (aws.NoCredentialsError(), PermanentProviderError),
        (aws.PartialCredentialsError(provider="env", cred_var="x"), PermanentProviderError),
        (aws.ParamValidationError(report="x"), PermanentProviderError),
        (aws.ReadTimeoutError(endpoint_url="http://x"), TransientProviderError),
        (aws.ConnectionClosedError(endpoint_url="http://x"), TransientProviderError),
        (aws.ProxyConnectionError(proxy_url="http://x"), TransientProviderError),
        (aws.SSLError(endpoint_url="http://x", error="x"), TransientProviderError),
        (aws.HTTPClientError(error="x"), TransientProviderError),
        (aws.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientProviderError),
        (ResponseParserError("x"), UnexpectedResponse),
    ],
)
def test_each_error_means_one_thing(error: Exception, means: type[ProviderError]) -> None:
    assert type(explain(error)) is means


def test_what_is_no_failure_of_a_call_is_none() -> None:
    assert explain(KeyError("ours")) is None


def test_a_wait_that_aws_asks_for_is_passed_on() -> None:
    named = explain(answered("ThrottlingException", 429, retry_after="17"))
    assert isinstance(named, QuotaExceeded)
    assert named.retry_after_s == 17


async def test_a_connection_that_was_never_made_bought_nothing(connect: Connect) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    provider = connect(endpoint=f"http://127.0.0.1:{port}")
    with pytest.raises(NotReached):
        await provider.submit(JobRequest(KEY, NOVA, {"epochs": 1}, f"s3://{BUCKET}/x.jsonl"))


async def test_an_error_s_message_hides_credentials(server: BedrockServer, provider: Provider) -> None:
    server.fault("models", refused(403, code=f"key {KEY_ID}"))
    with pytest.raises(PermanentProviderError) as caught:
        await provider.check([NOVA])
    assert KEY_ID not in str(caught.value)
    assert "[hidden]" in str(caught.value)


def test_the_role_of_another_partition_is_taken(connect: Connect) -> None:
    assert connect(options={"roleArn": ROLE.replace("arn:aws:", "arn:aws-us-gov:")})
