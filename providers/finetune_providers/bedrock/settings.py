"""What a FinetuneProvider says of Bedrock beyond credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass

from finetune_providers.base import ProviderConfig
from finetune_providers.errors import PermanentProviderError
from finetune_providers.hosted import poll_interval_s

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d")
_ROLE = re.compile(r"arn:aws(-[^:]+)?:iam::\d{12}:role/.+")
DATA_URI = re.compile(
    r"s3://(?P<bucket>[a-z0-9][-.a-z0-9]{1,61}[a-z0-9])(/(?P<prefix>[-_.a-zA-Z0-9]+(/[-_.a-zA-Z0-9]+)*))?"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the resource says beyond credentials.

    Attributes:
        region: AWS region.
        role_arn: The role that Bedrock assumes to read and write the bucket.
        bucket: Of `spec.dataUri`.
        prefix: Folder in it, without a slash at either end; may be empty.
        kms_key: Encrypts the models, where it is given.
        poll_interval_s: Between two looks at the jobs.
        provisioned: "Allow", "Never" or "" where nobody has said whether throughput may be bought by the hour.
    """

    region: str
    role_arn: str
    bucket: str
    prefix: str
    kms_key: str
    poll_interval_s: float
    provisioned: str

    def key(self, name: str) -> str:
        """The S3 key of a name below `spec.dataUri`."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def uri(self, name: str) -> str:
        """The S3 URI of a name below `spec.dataUri`."""
        return f"s3://{self.bucket}/{self.key(name)}"


def settings_of(config: ProviderConfig) -> Settings:
    """Read them.

    Raises:
        PermanentProviderError: The resource lacks something, or has it in the wrong form.
    """
    if not _REGION.fullmatch(config.region or ""):
        raise _wrong("spec.region", config.region, "an AWS region such as us-east-1")
    role = str(config.options.get("roleArn") or "")
    if not _ROLE.fullmatch(role):
        expected = "the ARN of the role that Bedrock assumes to read and write S3, arn:aws:iam::<account>:role/<name>"
        raise _wrong("spec.bedrock.roleArn", role, expected)
    place = DATA_URI.fullmatch((config.data_uri or "").rstrip("/"))
    if place is None:
        raise _wrong("spec.dataUri", config.data_uri, "where datasets are put, such as s3://bucket/folder")
    provisioned = str(config.options.get("provisionedThroughput") or "")
    if provisioned not in {"", "Allow", "Never"}:
        raise _wrong("spec.options.provisionedThroughput", provisioned, '"Allow" or "Never"')
    return Settings(
        region=config.region or "",
        role_arn=role,
        bucket=place["bucket"],
        prefix=place["prefix"] or "",
        kms_key=str(config.options.get("customerKmsKey") or ""),
        poll_interval_s=poll_interval_s(config.options),
        provisioned=provisioned,
    )


def _wrong(field_path: str, value: object, expected: str) -> PermanentProviderError:
    said = f"{value!r} is not right" if value else "it is missing"
    return PermanentProviderError(f"{field_path}: {said}; Bedrock needs {expected}", field=field_path)
