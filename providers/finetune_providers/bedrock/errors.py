"""What AWS's errors mean: the error's code decides, and its HTTP status only where the code is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boto3.exceptions import Boto3Error
from botocore import exceptions as aws
from botocore.parsers import ResponseParserError

from finetune_providers.calls import retry_after_s
from finetune_providers.errors import (
    JobNotFound,
    NotReached,
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

KEY_ID, SECRET_KEY, SESSION_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
SECRET_FIELD = "spec.credentialsSecretRef"  # noqa: S105  a field's path


class Conflict(PermanentProviderError):
    """Something of this name exists already, or is in a state that does not allow the call."""


class Invalid(PermanentProviderError):
    """AWS does not take what it was given, be it only an id that is none of its own."""


class OutOfDate(NotReached):
    """The signature is too old: AWS did nothing, and takes the same call with new credentials or a right clock."""


_QUOTA = {
    "ModelNotReadyException",
    "RequestLimitExceeded",
    "ServiceQuotaExceededException",  # status 400
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_PASSING = {
    "BadDigest",  # S3: what arrived is not what was sent
    "IncompleteBody",
    "InternalError",
    "InternalFailure",
    "InternalServerException",
    "ModelErrorException",
    "ModelTimeoutException",
    "OperationAborted",
    "RequestTimeout",  # S3 says so with status 400
    "ServiceUnavailable",
    "ServiceUnavailableException",
}
_MISSING = {"404", "NoSuchKey", "ResourceNotFoundException"}
_CONFLICT = {"ConflictException", "ResourceInUseException"}

_NEW_CREDENTIALS = "renew the credentials in the Secret"
_CLOCK = "set this machine's clock"
_OUT_OF_DATE: Mapping[str, str] = {
    # Asked with HEAD, S3 says nothing but the status; what else is wrong it says to the calls that follow.
    "400": f"S3 does not say why; it may be that the session token has expired: {_NEW_CREDENTIALS}",
    "ExpiredToken": _NEW_CREDENTIALS,
    "ExpiredTokenException": _NEW_CREDENTIALS,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
}
_STALE_SIGNATURE = ("Signature expired", "Signature not yet current")
_BUCKET = (
    "the credentials may not use the bucket of spec.dataUri; see its permissions in the docs",
    "spec.dataUri",
)
_HINTS: Mapping[str, tuple[str, str]] = {
    "403": _BUCKET,
    "301": ("the bucket of spec.dataUri is in another region than spec.region", "spec.dataUri"),
    "PermanentRedirect": ("the bucket of spec.dataUri is in another region than spec.region", "spec.dataUri"),
    "NoSuchBucket": ("the bucket of spec.dataUri does not exist", "spec.dataUri"),
    "AccessDeniedException": ("allow it in the IAM policy of the credentials", ""),
    "IncompleteSignature": (f"check {KEY_ID} in the Secret", SECRET_FIELD),
    "InvalidAccessKeyId": (f"check {KEY_ID} in the Secret", SECRET_FIELD),
    "InvalidClientTokenId": (f"check {KEY_ID} in the Secret", SECRET_FIELD),
    "InvalidSignatureException": (
        f"check {SECRET_KEY} in the Secret, and this machine's clock",
        SECRET_FIELD,
    ),
    "SignatureDoesNotMatch": (f"check {SECRET_KEY} in the Secret", SECRET_FIELD),
    "UnrecognizedClientException": (f"check {KEY_ID} and {SESSION_TOKEN} in the Secret", SECRET_FIELD),
}
"""By AWS's error code: what to do, and the field that it is about."""


def explain(error: Exception) -> ProviderError | None:
    """What an exception of boto3 means; None where it is none of them."""
    if isinstance(error, aws.ClientError):
        return _explain_answer(error)
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError):
        return PermanentProviderError(
            f"no AWS credentials were found: name a Secret with {KEY_ID} and {SECRET_KEY}, or give the "
            "operator's service account an IAM role",
            field=SECRET_FIELD,
        )
    if isinstance(error, aws.CredentialRetrievalError | aws.MetadataRetrievalError | aws.TokenRetrievalError):
        return NotReached(f"AWS gave no credentials: {error}")  # nothing is sent without a signature
    if isinstance(error, aws.EndpointConnectionError | aws.ConnectTimeoutError):
        return NotReached(f"AWS was not reached: {error}")
    if isinstance(error, aws.ParamValidationError):
        return PermanentProviderError(f"AWS does not take the request: {error}")
    if isinstance(error, ResponseParserError):
        return UnexpectedResponse(f"an answer of AWS was not understood: {error}")
    if isinstance(error, aws.BotoCoreError | Boto3Error):
        return TransientProviderError(f"the call to AWS failed: {error}")
    return None


def _explain_answer(error: Any) -> ProviderError:
    described = error.response.get("Error", {})
    code, said = str(described.get("Code", "")), _shown(str(described.get("Message", "")))
    metadata = error.response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    message = f"{error.operation_name}: {said or 'refused'} ({code})"
    wait_s = retry_after_s(metadata.get("HTTPHeaders", {}).get("retry-after"))
    if code in _QUOTA:
        return QuotaExceeded(message, retry_after_s=wait_s)
    if code in _OUT_OF_DATE or any(word in said for word in _STALE_SIGNATURE):
        return OutOfDate(f"{message}; {_OUT_OF_DATE.get(code, _CLOCK)}")
    if code in _PASSING:
        return TransientProviderError(message, retry_after_s=wait_s)
    if code in _MISSING:
        return JobNotFound(message)
    # A name that is taken is answered with ValidationException: "The provided job name is currently in use."
    if code in _CONFLICT or (code == "ValidationException" and "currently in use" in said):
        return Conflict(message)
    if code == "AccessDenied":  # S3's word, and STS's
        hint, field = _HINTS["AccessDeniedException"] if "Assume" in error.operation_name else _BUCKET
        return PermanentProviderError(f"{message}; {hint}", field=field)
    if code == "ValidationException" and "not allowed" not in said:
        return Invalid(message)
    if code in _HINTS or code == "ValidationException":
        hint, field = _HINTS.get(code, ("this account may not do it; ask AWS why", ""))
        return PermanentProviderError(f"{message}; {hint}", field=field)
    return _explain_status(status, message, wait_s)


def _shown(said: str) -> str:
    """What AWS says, without the signed request that it repeats: its headers hold the session token."""
    return said.partition("The Canonical String")[0].strip()


def _explain_status(status: int, message: str, wait_s: float | None) -> ProviderError:
    if status == 429:
        return QuotaExceeded(message, retry_after_s=wait_s)
    if status in {408, 424} or status >= 500:
        return TransientProviderError(message, retry_after_s=wait_s)
    if status == 404:
        return JobNotFound(message)
    if status == 409:
        return Conflict(message)
    if 300 <= status < 500:
        return PermanentProviderError(message)
    return UnexpectedResponse(message)
