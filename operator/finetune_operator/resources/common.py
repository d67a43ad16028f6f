"""What all kinds share: metadata, conditions, naming."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from finetune_operator.resources.patterns import (
    MEANINGS,
    MONEY,
    CandidateName,
    Currency,
    ObjectName,
    ParameterName,
)

__all__ = [
    "API_VERSION",
    "FINALIZER",
    "GROUP",
    "NULLS_ARE_NOT_GIVEN",
    "NUMBER",
    "VERSION",
    "WHOLE",
    "CandidateName",
    "Condition",
    "Currency",
    "Lenient",
    "Model",
    "Money",
    "NameRef",
    "ObjectMeta",
    "ObjectName",
    "OwnerReference",
    "ParameterName",
    "Resource",
    "StrictBool",
    "Timestamp",
    "field_error",
    "first_repeated",
]

GROUP = "finetune-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/cleanup"


class Model(BaseModel):
    """Immutable, camelCase outside, and strict about names: an unknown field is a mistake."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        """A field that is null counts as not given, as it does for the API server; an unknown one stays a mistake."""
        if not isinstance(data, dict) or not any(value is None for value in data.values()):
            return data
        fields = cls.model_fields
        known = fields.keys() | {field.alias for field in fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a manifest: camelCase, plain types, nothing for what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Lenient(Model):
    """For what the API server or a newer version writes: unknown fields are ignored, not refused."""

    model_config = ConfigDict(extra="ignore")


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if each is not None}
    return value


NULLS_ARE_NOT_GIVEN = BeforeValidator(_without_nulls)
"""Drops what is null from a mapping whose keys a person chooses, as the API server does."""


def _seconds(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[datetime, PlainSerializer(_seconds, return_type=str)]


def field_error(field: str, message: str) -> PydanticCustomError:
    """What a rule over several fields raises.

    Args:
        field: The field at fault, as a path below the model that has the rule, such as `candidates[1].name`.
        message: What is wrong and what is allowed.
    """
    return PydanticCustomError("field_error", "{message}", {"field": field, "message": message})


def first_repeated(values: Sequence[object]) -> int | None:
    """The place of the first value that has been there before."""
    return next((place for place, value in enumerate(values) if value in values[:place]), None)


def _refuse_bool_or_text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number, written without quotes")
    return value


NUMBER = BeforeValidator(_refuse_bool_or_text)
"""Makes a float a number of a manifest, as the API server takes it: never text. Stands last, so that the bounds
before it stay visible in the model's JSON Schema."""


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


WHOLE = BeforeValidator(_whole)
"""Lets a strict int be written 4.0, which is 4: JSON does not tell them apart. Stands last, as `NUMBER` does."""

StrictBool = Annotated[bool, Field(strict=True)]

_MONEY = re.compile(MONEY)
_MONEY_LENGTH = 40


def _money(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or len(value) > _MONEY_LENGTH or not _MONEY.fullmatch(value):
        raise ValueError(MEANINGS[MONEY])
    return Decimal(value)


def _money_text(value: Decimal) -> str:
    text = f"{value:f}"
    return text if len(text) <= _MONEY_LENGTH else f"{value:.12f}"


Money = Annotated[Decimal, BeforeValidator(_money), PlainSerializer(_money_text, return_type=str)]
"""An amount of money: a decimal string outside, a Decimal inside, never a float."""


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

    name: ObjectName
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


class Resource(Model):
    """A Kubernetes object of any of the three kinds."""

    longest_name: ClassVar[int] = 63

    api_version: Literal["finetune-operator.dev/v1alpha1"]
    metadata: ObjectMeta

    @model_validator(mode="after")
    def _name_fits_a_label(self) -> Self:
        if len(self.metadata.name) > self.longest_name:
            raise field_error("metadata.name", f"must be at most {self.longest_name} characters long")
        return self

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def deleting(self) -> bool:
        """Whether its deletion was asked for; it is there until its last finalizer goes."""
        return self.metadata.deletion_timestamp is not None

    def belongs_to(self, owner: Resource) -> bool:
        """Whether it was made for this owner, and not for another one that had its name."""
        return owner.metadata.uid in {each.uid for each in self.metadata.owner_references or ()}

    @property
    def has_finalizer(self) -> bool:
        """Whether the operator holds it, so that what it bought is ended before it goes."""
        return FINALIZER in (self.metadata.finalizers or ())
