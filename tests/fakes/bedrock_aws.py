"""What all of AWS's services have in common, and S3: signatures, error bodies, and AWS's own service models.

Every request is put together again into an operation's input and held against the service model, every answer as
well; what breaks it is in `violations`. Signatures are checked with code that is not botocore's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import quote, urlsplit

from tests.fakes.bedrock_schema import Operation
from tests.fakes.hosted import HostedCompany
from tests.fakes.http_server import Answer, Refusal, Request, Route

ACCOUNT, REGION, BUCKET = "123456789012", "us-east-1", "acme-tuning"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/bedrock-tuning"
KEY_ID, SESSION_TOKEN = "AKIAFAKEFAKEFAKE0001", "a-session-token-that-nobody-may-see-0815"

_CODES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    409: "ConflictException",
    422: "ValidationException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


class AwsServer(HostedCompany):
    """AWS in one region for one account, with S3.

    Attributes:
        objects: What lies in S3, by bucket and key.
        violations: What broke AWS's service models, or the fake.
        session_token: Demanded of every request where it is set.
        denied: Operations that the credentials may not use.
    """

    def __init__(self, *, speed: float = 0.0) -> None:
        super().__init__(speed=speed)
        self.objects: dict[tuple[str, str], bytes] = {}
        self.buckets = {BUCKET}
        self.violations: list[str] = []
        self.session_token: str | None = None
        self.denied: set[str] = set()
        self._local = threading.local()

    def look(self) -> None:
        """Called before each operation, for what has happened meanwhile."""

    def route_to(
        self,
        operation: str,
        method: str,
        pattern: str,
        name: str,
        handler: Callable[[Mapping[str, Any]], Any],
        *,
        service: str = "bedrock",
    ) -> Route:
        model = Operation(service, name)

        def handle(request: Request) -> Answer:
            try:
                parameters = model.input_of(request, self._local.raw)
                if operation in self.denied:
                    message = f"User is not authorized to perform: {service}:{name}"
                    raise Refusal(403, message, code="AccessDeniedException")
                self.look()
                answer = handler(parameters)
                if service == "s3":
                    return self._of_storage(model, answer)
                native = [job.native_state for job in self.jobs.values() if job.native_state]
                model.check_output(answer, allow=native)
                return Answer(answer, model.status)
            except Refusal:
                raise
            except Exception as error:  # noqa: BLE001  told by `violations`, whatever it is
                self.violations.append(f"{name}: {type(error).__name__}: {error}")
                return self.error(500, str(error))

        return Route(operation, method, pattern, handle)

    def _of_storage(self, model: Operation, answer: Answer | Mapping[str, Any]) -> Answer:
        if isinstance(answer, Answer):
            answer.headers = {"Content-Type": "binary/octet-stream", **answer.headers}
            return answer
        model.check_output(answer)
        return Answer(model.xml(answer), headers={"Content-Type": "application/xml"})

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        self._local.raw = urlsplit(handler.path).path
        self._local.query = urlsplit(handler.path).query
        super()._handle(handler)

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        raw = getattr(self._local, "raw", "/")
        code = code or _CODES.get(status, f"Status{status}")
        if raw.split("/")[1] in self.buckets | {"no-such-bucket"}:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            return Answer(text, status, {"Content-Type": "application/xml"})
        return Answer(
            {"message": message}, status, {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/"}
        )

    # -- signatures: AWS Signature Version 4, docs.aws.amazon.com/IAM create-signed-request ------------------------

    def authorize(self, request: Request) -> None:
        said = request.headers.get("Authorization", "")
        scheme, _, rest = said.partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            raise Refusal(403, "Missing Authentication Token", code="MissingAuthenticationTokenException")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key_id, date, region, service, _ = parts["Credential"].split("/")
        if key_id != KEY_ID or request.headers.get("x-amz-security-token") != self.session_token:
            message = "The security token included in the request is invalid."
            raise Refusal(403, message, code="UnrecognizedClientException")
        if region != REGION:
            raise Refusal(403, f"Credential should be scoped to {REGION}", code="InvalidSignatureException")
        key = f"AWS4{self.secret}".encode()
        for step in (date, region, service, "aws4_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        text = self._to_sign(request, parts["SignedHeaders"], f"{date}/{region}/{service}/aws4_request")
        if hmac.new(key, text.encode(), hashlib.sha256).hexdigest() != parts["Signature"]:
            message = "The request signature we calculated does not match the signature you provided."
            raise Refusal(403, message, code="InvalidSignatureException")

    def _to_sign(self, request: Request, signed: str, scope: str) -> str:
        raw = self._local.raw
        path = raw if "/s3/" in f"/{scope}/" else quote(raw, safe="/-_.~")
        query = "&".join(
            sorted(part if "=" in part else f"{part}=" for part in self._local.query.split("&") if part)
        )
        headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in signed.split(";"))
        digest = request.headers.get("x-amz-content-sha256", hashlib.sha256(request.body).hexdigest())
        if digest != hashlib.sha256(request.body).hexdigest():
            raise Refusal(
                400, "The provided x-amz-content-sha256 does not match.", code="XAmzContentSHA256Mismatch"
            )
        canonical = "\n".join((request.method, path, query, headers, signed, digest))
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        return "\n".join(("AWS4-HMAC-SHA256", request.headers["X-Amz-Date"], scope, hashed))

    # -- S3 -----------------------------------------------------------------------------------------------------

    def _head_bucket(self, asked: Mapping[str, Any]) -> Answer:
        if asked["Bucket"] not in self.buckets:
            return Answer(None, 404)
        return Answer(None, 200)

    def _head(self, asked: Mapping[str, Any]) -> Answer:
        content = self.objects.get((asked["Bucket"], asked["Key"]))
        return Answer(None, 404 if content is None else 200)

    def _put(self, asked: Mapping[str, Any]) -> Answer:
        if asked["Bucket"] not in self.buckets:
            raise Refusal(404, "The specified bucket does not exist", code="NoSuchBucket")
        checksum = asked.get("ChecksumCRC32")
        if checksum and base64.b64decode(checksum) != binascii.crc32(asked["Body"]).to_bytes(4, "big"):
            raise Refusal(400, "The checksum did not match.", code="BadDigest")
        self.objects[asked["Bucket"], asked["Key"]] = asked["Body"]
        return Answer(None, headers={"ETag": f'"{hashlib.md5(asked["Body"]).hexdigest()}"'})

    def _read(self, asked: Mapping[str, Any]) -> Answer:
        content = self.objects.get((asked["Bucket"], asked["Key"]))
        if content is None:
            raise Refusal(404, "The specified key does not exist.", code="NoSuchKey")
        return Answer(content)

    def _delete(self, asked: Mapping[str, Any]) -> Answer:
        self.objects.pop((asked["Bucket"], asked["Key"]), None)
        return Answer(None, 204)

    def _objects(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        prefix, bucket = asked.get("Prefix", ""), asked["Bucket"]
        keys = sorted(key for place, key in self.objects if place == bucket and key.startswith(prefix))
        # Keys may be deleted between two pages: the next one goes on after a name, not after a number.
        keys = [key for key in keys if key > asked.get("ContinuationToken", "")]
        shown = keys[: self.page_size]
        answer: dict[str, Any] = {
            "IsTruncated": len(keys) > len(shown),
            "Name": bucket,
            "Prefix": prefix,
            "KeyCount": len(shown),
        }
        if shown:
            answer["Contents"] = [{"Key": key, "Size": len(self.objects[bucket, key])} for key in shown]
        if len(keys) > len(shown):
            answer["NextContinuationToken"] = shown[-1]
        return answer
