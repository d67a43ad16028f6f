"""What all kinds share: metadata, conditions, naming."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)
from pydantic.alias_generators import to_camel

GROUP = "finetune-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/cleanup"


class Model(BaseModel):
    """Immutable, camelCase outside, and strict about names: an unknown field is a mistake."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a manifest: camelCase, plain types, nothing for what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Lenient(Model):
    """For what the API server or a newer version writes: unknown fields are ignored, not refused."""

    model_config = ConfigDict(extra="ignore")


def _seconds(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[datetime, PlainSerializer(_seconds, return_type=str)]

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_DNS_SUBDOMAIN)]
CandidateName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=_DNS_LABEL)]


def _refuse_bool_or_text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number, written without quotes")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Number = Annotated[float, BeforeValidator(_refuse_bool_or_text), AfterValidator(_finite)]
"""A number of a manifest, as the API server takes it: never text, never NaN."""

StrictInt = Annotated[int, Field(strict=True)]


def _money(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not _is_plain_decimal(value):
        raise ValueError('must be an amount of money in quotes, such as "150.00"')
    return Decimal(value)


def _is_plain_decimal(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    digits = (
        whole.isascii()
        and whole.isdigit()
        and (fraction == "" or (fraction.isascii() and fraction.isdigit()))
    )
    return digits and not text.endswith(".") and len(text) <= 20


Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    PlainSerializer(lambda value: f"{value:f}", return_type=str),
]
"""An amount of money: a decimal string outside, a Decimal inside, never a float."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class NameRef(Model):
    """A reference to an object of the same namespace."""

    name: ObjectName


class OwnerReference(Lenient):
    """The object that this one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Lenient):
    """The part of Kubernetes' ObjectMeta that the operator reads or writes."""

    name: str
    namespace: str | None = None
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    finalizers: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None


class Condition(Lenient):
    """A Kubernetes condition. Reconciling and Stalled are present only while they are true."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: Timestamp | None = None


class Resource(Lenient):
    """A Kubernetes object of any of the three kinds."""

    api_version: Literal["finetune-operator.dev/v1alpha1"]
    metadata: ObjectMeta

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def has_finalizer(self) -> bool:
        return FINALIZER in (self.metadata.finalizers or ())
