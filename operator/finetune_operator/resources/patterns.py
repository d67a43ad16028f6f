"""How names and other texts of a manifest may look, and what a person is told about it.

The patterns stand in the CRDs as well, so they keep to what Go, Rust and Python read alike.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
CAMEL_CASE: Final = r"^[a-z][A-Za-z0-9]{0,62}$"
PASCAL_CASE: Final = r"^[A-Z][A-Za-z0-9]{0,62}$"
CONFIG_MAP_KEY: Final = r"^[-._a-zA-Z0-9]+$"
CURRENCY: Final = r"^[A-Z]{3}$"
DURATION: Final = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
MONEY: Final = r"^[0-9]+(\.[0-9]+)?$"
RUN_KEY: Final = r"^[a-z0-9-]+$"
URI: Final = r"^[a-z][a-z0-9+.-]*://.+$"

MEANINGS: Final = {
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
    MONEY: 'must be an amount of money in quotes, such as "150.00"',
    RUN_KEY: "must be lower-case letters, digits and dashes",
    URI: "must be a URI with a scheme, such as s3://bucket/train.jsonl or file:///data/train.jsonl",
}
"""By pattern: what to write instead."""


def _text(pattern: str, *, longest: int) -> StringConstraints:
    return StringConstraints(strict=True, min_length=1, max_length=longest, pattern=pattern)


ObjectName = Annotated[str, _text(DNS_SUBDOMAIN, longest=253)]
CandidateName = Annotated[str, _text(DNS_LABEL, longest=63)]
ParameterName = Annotated[str, StringConstraints(strict=True, pattern=CAMEL_CASE)]
ConfigMapKey = Annotated[str, _text(CONFIG_MAP_KEY, longest=253)]
Currency = Annotated[str, StringConstraints(strict=True, max_length=3, pattern=CURRENCY)]
Uri = Annotated[str, StringConstraints(strict=True, max_length=2048, pattern=URI)]
BaseModelName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
