"""FinetuneProvider: an account at a provider, or this machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from finetune_operator.resources.common import (
    Condition,
    Currency,
    Lenient,
    Model,
    Money,
    NameRef,
    Resource,
    StrictInt,
)


class Price(Model):
    """What training a base model costs; `*` stands for every model without a price of its own."""

    base_model: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "*"
    training_per_million_tokens: Money
    currency: Currency = "USD"


class LocalOptions(Model):
    """How training runs on this machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[StrictInt, Field(ge=1, le=256)] = 1


class ProviderSpec(Model):
    """Which provider, with whose credentials, and its limits for all sweeps together."""

    type: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$")]
    credentials_secret_ref: NameRef | None = None
    max_concurrent_jobs: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None
    prices: Annotated[tuple[Price, ...], Field(max_length=64)] = ()
    local: LocalOptions | None = None


class ProviderStatus(Lenient):
    """Whether the account can be used."""

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()


class FinetuneProvider(Resource):
    """An account that trains models."""

    kind: Literal["FinetuneProvider"] = "FinetuneProvider"
    spec: ProviderSpec
    status: ProviderStatus = ProviderStatus()
