"""FinetuneProvider: an account at a provider, or this machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from finetune_operator.resources.common import (
    WHOLE,
    Condition,
    Currency,
    Lenient,
    Model,
    Money,
    NameRef,
    Resource,
    field_error,
    first_repeated,
)
from finetune_operator.resources.patterns import PASCAL_CASE, BaseModelName


class Price(Model):
    """What training a base model costs; `*` stands for every model without a price of its own."""

    base_model: BaseModelName = "*"
    training_per_million_tokens: Money
    serving_per_hour: Money | None = None
    currency: Currency = "USD"


class LocalOptions(Model):
    """How training runs on this machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(strict=True, ge=1, le=256), WHOLE] = 1


class ProviderSpec(Model):
    """Which provider, with whose credentials, and its limits for all sweeps together."""

    type: Annotated[str, StringConstraints(strict=True, max_length=63, pattern=PASCAL_CASE)]
    credentials_secret_ref: NameRef | None = None
    max_concurrent_jobs: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE] | None = None
    prices: Annotated[tuple[Price, ...], Field(max_length=64)] = ()
    local: LocalOptions | None = None

    @model_validator(mode="after")
    def _one_price_for_each_model(self) -> Self:
        again = first_repeated([price.base_model for price in self.prices])
        if again is not None:
            raise field_error(f"prices[{again}].baseModel", "has a price already")
        return self


class ProviderStatus(Lenient):
    """Whether the account can be used."""

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()


class FinetuneProvider(Resource):
    """An account that trains models."""

    kind: Literal["FinetuneProvider"] = "FinetuneProvider"
    spec: ProviderSpec
    status: ProviderStatus = ProviderStatus()
