"""How names and other texts of a manifest may look, and what a person is told about it.

The patterns stand in the CRDs as well, so they keep to what Go, Rust and Python read alike.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

AZURE_API_VERSION: Final = r"^[a-z0-9][-a-z0-9.]*$"
AZURE_NAME: Final = r"^[-A-Za-z0-9_.()]*[-A-Za-z0-9_()]$"
BASE_URL: Final = (
    r"^https?://([A-Za-z0-9][-A-Za-z0-9._]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[-A-Za-z0-9._~+,;=:@%/]*)?$"
)
DATA_SCOPE: Final = r"^fts-[0-9a-f]{16}$"
DATA_URI: Final = r"^(s3|gs)://[a-z0-9][-a-z0-9._]*(/[-A-Za-z0-9._~+,;=:@!()/]*)?$"
DATE: Final = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
CAMEL_CASE: Final = r"^[a-z][A-Za-z0-9]{0,62}$"
PASCAL_CASE: Final = r"^[A-Z][A-Za-z0-9]{0,62}$"
CONFIG_MAP_KEY: Final = r"^[-._a-zA-Z0-9]+$"
CURRENCY: Final = r"^[A-Z]{3}$"
DURATION: Final = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
MONEY: Final = r"^[0-9]+(\.[0-9]+)?$"
GUID: Final = r"^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$"
KMS_KEY_ARN: Final = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key/[A-Za-z0-9-]{36}|alias/[A-Za-z0-9/_-]+)$"
OPTION_NAME: Final = r"^[A-Za-z][-A-Za-z0-9_.]{0,62}$"
PROJECT: Final = r"^[A-Za-z0-9][-A-Za-z0-9_:.]*$"
REGION: Final = r"^[a-z][a-z0-9-]*$"
ROLE_ARN: Final = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$"
RUN_KEY: Final = r"^[a-z0-9-]+$"
URI: Final = r"^[a-z][a-z0-9+.-]*://.+$"

MEANINGS: Final = {
    AZURE_API_VERSION: "must be a version of the API as Azure writes it, such as 2025-04-01-preview",
    AZURE_NAME: (
        "must be a name of Azure: letters, digits, dashes, underscores, dots and parentheses, no dot at the end"
    ),
    BASE_URL: (
        "must be a base URL such as https://api.example.com/v1, without a user, a password, a query or a fragment: "
        "secrets belong in the Secret that credentialsSecretRef names"
    ),
    DATA_SCOPE: "must be fts- and 16 hexadecimal digits, such as fts-0123456789abcdef",
    DATA_URI: "must be a bucket with or without a folder, such as s3://bucket/folder or gs://bucket",
    DATE: 'must be a date in quotes, such as "2026-11-24"',
    DNS_LABEL: (
        "must be a name of lower-case letters, digits and dashes that begins and ends with a letter or digit, "
        "such as openai-mini"
    ),
    DNS_SUBDOMAIN: (
        "must be the name of a Kubernetes object: lower-case letters, digits, dashes and dots, with a letter or "
        "digit at both ends, such as openai-prod"
    ),
    CAMEL_CASE: (
        "a hyperparameter is named in camelCase, such as learningRate: a lower-case letter first, then letters "
        "and digits, at most 63 in all"
    ),
    PASCAL_CASE: "must be the type of a provider in PascalCase, such as Local",
    CONFIG_MAP_KEY: "must be a key of a ConfigMap: letters, digits, dashes, dots and underscores",
    CURRENCY: "must be the code of a currency in three capital letters, such as USD",
    DURATION: "must be a duration such as 48h, 90m or 1h30m",
    GUID: "must be the id of a subscription, such as 00000000-0000-0000-0000-000000000000",
    KMS_KEY_ARN: "must be the ARN of a KMS key, such as arn:aws:kms:us-east-1:123456789012:alias/finetune",
    MONEY: 'must be an amount of money in quotes, such as "150.00"',
    OPTION_NAME: (
        "must be named by a letter first, then letters, digits, dashes, dots and underscores, at most 63 in all, "
        "such as pollIntervalSeconds"
    ),
    PROJECT: (
        "must be the id of a project: letters, digits, dashes, underscores, colons and dots, a letter or digit first, "
        "such as my-project or proj_abc"
    ),
    REGION: (
        "must be a region: a lower-case letter first, then lower-case letters, digits and dashes, such as us-east-1"
    ),
    ROLE_ARN: "must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/finetune",
    RUN_KEY: "must be lower-case letters, digits and dashes",
    URI: "must be a URI with a scheme, such as s3://bucket/train.jsonl or file:///data/train.jsonl",
}
"""By pattern: what to write instead."""

MAY_HOLD_SECRETS: Final = frozenset({BASE_URL, DATA_URI, URI})
"""Patterns of addresses: the user, password or query of one that is written wrong is shown to nobody."""


def _text(pattern: str, *, longest: int) -> StringConstraints:
    return StringConstraints(strict=True, min_length=1, max_length=longest, pattern=pattern)


ObjectName = Annotated[str, _text(DNS_SUBDOMAIN, longest=253)]
CandidateName = Annotated[str, _text(DNS_LABEL, longest=63)]
ParameterName = Annotated[str, StringConstraints(strict=True, pattern=CAMEL_CASE)]
ConfigMapKey = Annotated[str, _text(CONFIG_MAP_KEY, longest=253)]
Currency = Annotated[str, StringConstraints(strict=True, max_length=3, pattern=CURRENCY)]
Uri = Annotated[str, StringConstraints(strict=True, max_length=2048, pattern=URI)]
BaseUrl = Annotated[str, StringConstraints(strict=True, max_length=2048, pattern=BASE_URL)]
Region = Annotated[str, StringConstraints(strict=True, max_length=63, pattern=REGION)]
Project = Annotated[str, StringConstraints(strict=True, max_length=64, pattern=PROJECT)]
DataScope = Annotated[str, StringConstraints(strict=True, max_length=20, pattern=DATA_SCOPE)]
DataUri = Annotated[str, StringConstraints(strict=True, max_length=1024, pattern=DATA_URI)]
Date = Annotated[str, StringConstraints(strict=True, max_length=10, pattern=DATE)]
RoleArn = Annotated[str, StringConstraints(strict=True, max_length=2048, pattern=ROLE_ARN)]
KmsKeyArn = Annotated[str, StringConstraints(strict=True, max_length=2048, pattern=KMS_KEY_ARN)]
SubscriptionId = Annotated[str, StringConstraints(strict=True, max_length=36, pattern=GUID)]
AzureName = Annotated[str, StringConstraints(strict=True, max_length=90, pattern=AZURE_NAME)]
AzureApiVersion = Annotated[str, StringConstraints(strict=True, max_length=32, pattern=AZURE_API_VERSION)]
OptionName = Annotated[str, StringConstraints(strict=True, pattern=OPTION_NAME)]
BaseModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
