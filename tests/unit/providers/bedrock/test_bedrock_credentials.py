"""Credentials that have run out, and a clock that is wrong: nothing was done, and no trial is lost over it."""

from __future__ import annotations

import pytest
from botocore import exceptions as aws
from tests.fakes.bedrock_server import BUCKET, BedrockServer
from tests.fakes.http_server import refused
from tests.unit.providers.bedrock.conftest import KEY, NOVA, Write

from finetune_providers.base import JobRequest, Provider
from finetune_providers.bedrock.errors import explain
from finetune_providers.errors import NotReached, PermanentProviderError, TransientProviderError


def answered(
    code: str, status: int, message: str = "", operation: str = "CreateModelCustomizationJob"
) -> aws.ClientError:
    return aws.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},
        operation,
    )


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (answered("ExpiredTokenException", 403), "renew the credentials"),
        (answered("ExpiredToken", 400, operation="PutObject"), "renew the credentials"),
        (answered("RequestExpired", 400), "clock"),
        (answered("RequestTimeTooSkewed", 403, operation="PutObject"), "clock"),
        (
            answered(
                "InvalidSignatureException",
                403,
                "Signature expired: 20261124T100000Z is now earlier than 20261124T110000Z",
            ),
            "clock",
        ),
        (
            answered(
                "InvalidSignatureException",
                403,
                "Signature not yet current: 20261124T110000Z is still later than 20261124T100000Z",
            ),
            "clock",
        ),
    ],
)
def test_what_new_credentials_or_a_right_clock_mend_had_no_effect_and_may_be_tried_again(
    error: aws.ClientError, advice: str
) -> None:
    named = explain(error)
    assert isinstance(named, NotReached)
    assert advice in str(named)


async def test_credentials_that_have_run_out_fail_no_purchase(
    server: BedrockServer, provider: Provider
) -> None:
    server.fault("create", refused(403, code="ExpiredTokenException"))
    with pytest.raises(NotReached, match="renew the credentials in the Secret"):
        await provider.submit(JobRequest(KEY, NOVA, {"epochs": 1}, f"s3://{BUCKET}/x.jsonl"))


async def test_a_check_with_credentials_that_have_run_out_says_so(
    server: BedrockServer, provider: Provider
) -> None:
    server.fault("models", refused(403, code="ExpiredTokenException"))
    with pytest.raises(PermanentProviderError, match="renew the credentials in the Secret") as caught:
        await provider.check([NOVA])
    assert caught.value.field == "spec.credentialsSecretRef"


async def test_a_head_request_that_is_refused_without_a_word_says_what_it_may_be(
    server: BedrockServer, provider: Provider
) -> None:
    """S3 answers HEAD with the status alone, and an expired token with status 400."""
    server.fault("head-bucket", refused(400))
    with pytest.raises(PermanentProviderError, match=r"expired.*Secret"):
        await provider.check([NOVA])


async def test_an_upload_with_credentials_that_have_run_out_is_made_later(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    server.fault("head", refused(400))
    with pytest.raises(TransientProviderError, match=r"expired.*Secret"):
        await provider.upload(write(), base_model=NOVA)
    server.fault("put", refused(400, code="ExpiredToken"))
    with pytest.raises(TransientProviderError, match="renew the credentials"):
        await provider.upload(write(), base_model=NOVA)
    await provider.upload(write(), base_model=NOVA)
    assert len(server.objects) == 1


def test_a_role_that_may_not_be_assumed_is_not_blamed_on_the_bucket() -> None:
    named = explain(
        answered("AccessDenied", 403, "Not authorized to perform sts:AssumeRole", "AssumeRoleWithWebIdentity")
    )
    assert isinstance(named, PermanentProviderError)
    assert named.field == ""
    assert "bucket" not in str(named)
    bucket = explain(answered("AccessDenied", 403, "Access Denied", "PutObject"))
    assert isinstance(bucket, PermanentProviderError)
    assert bucket.field == "spec.dataUri"


def test_a_wrong_signature_shows_nothing_of_what_was_signed() -> None:
    """AWS repeats the signed headers, among them the session token of the pod's own role."""
    said = (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.\n\n"
        "The Canonical String for this request should have been\n'GET\n/foundation-models\n\n"
        "host:bedrock.us-east-1.amazonaws.com\nx-amz-security-token:IQoJb3JpZ2luX2VjEXAMPLE\n'"
    )
    for text in (said, " ".join(said.split())):
        named = explain(answered("InvalidSignatureException", 403, text))
        assert isinstance(named, PermanentProviderError)
        assert "does not match" in str(named)
        assert "IQoJb3JpZ2luX2VjEXAMPLE" not in str(named)
