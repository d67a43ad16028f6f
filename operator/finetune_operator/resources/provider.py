"""FinetuneProvider: an account at a provider, or this machine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from finetune_operator.resources.base_models import BaseModelEntry
from finetune_operator.resources.common import (
    NULLS_ARE_NOT_GIVEN,
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
from finetune_operator.resources.patterns import (
    PASCAL_CASE,
    AzureApiVersion,
    AzureName,
    BaseModelName,
    BaseUrl,
    DataUri,
    Date,
    KmsKeyArn,
    OptionName,
    Project,
    Region,
    RoleArn,
    SubscriptionId,
)

OptionValue = Annotated[str, StringConstraints(strict=True, max_length=1024)]


class Price(Model):
    """What a base model costs to train and to serve; `*` stands for every model without a price of its own."""

    base_model: BaseModelName = "*"
    training_per_million_tokens: Money
    serving_per_hour: Money | None = None
    currency: Currency = "USD"
    source: Annotated[str, StringConstraints(strict=True, max_length=256)] | None = None
    as_of: Date | None = None


class Endpoints(Model):
    """Base URLs of a provider's further services."""

    storage: BaseUrl | None = None
    inference: BaseUrl | None = None
    management: BaseUrl | None = None
    login: BaseUrl | None = None


class LocalOptions(Model):
    """How training runs on this machine."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(strict=True, ge=1, le=256), WHOLE] = 1


class BedrockOptions(Model):
    """What Amazon Bedrock asks for beyond a region."""

    role_arn: RoleArn
    customer_kms_key: KmsKeyArn | None = None


class AzureOpenAIOptions(Model):
    """How Azure OpenAI trains, and where it deploys fine-tuned models."""

    subscription: SubscriptionId | None = None
    resource_group: AzureName | None = None
    account: AzureName | None = None
    api_version: AzureApiVersion | None = None
    training_type: Literal["Standard", "GlobalStandard", "DeveloperTier"] | None = None
    deployment_sku: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)] | None = None
    deployment_capacity: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE] | None = None


class ProviderSpec(Model):
    """Which provider, with whose credentials, and its limits for all sweeps together.

    What says where jobs, data and deployments are is immutable (`fixed_fields`): they would not be found elsewhere.
    """

    type: Annotated[str, StringConstraints(strict=True, max_length=63, pattern=PASCAL_CASE)]
    credentials_secret_ref: NameRef | None = None
    endpoint: BaseUrl | None = None
    endpoints: Endpoints | None = None
    region: Region | None = None
    project: Project | None = None
    data_uri: DataUri | None = None
    max_concurrent_jobs: Annotated[int, Field(strict=True, ge=1, le=1000), WHOLE] | None = None
    requests_per_minute: Annotated[int, Field(strict=True, ge=1, le=100_000), WHOLE] | None = None
    prices: Annotated[tuple[Price, ...], Field(max_length=64)] = ()
    models: Annotated[tuple[BaseModelEntry, ...], Field(max_length=32)] = ()
    local: LocalOptions | None = None
    bedrock: BedrockOptions | None = None
    azure_openai: Annotated[AzureOpenAIOptions | None, Field(alias="azureOpenAI")] = None
    options: Annotated[dict[OptionName, OptionValue], Field(max_length=32), NULLS_ARE_NOT_GIVEN] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_price_for_each_model(self) -> Self:
        again = first_repeated([price.base_model for price in self.prices])
        if again is not None:
            raise field_error(
                f"prices[{again}].baseModel", "has a price already; each base model has one, in one currency"
            )
        return self

    @model_validator(mode="after")
    def _one_entry_for_each_model(self) -> Self:
        again = first_repeated([entry.name for entry in self.models])
        if again is not None:
            raise field_error(f"models[{again}].name", "has an entry already")
        return self

    @model_validator(mode="after")
    def _block_is_of_the_type(self) -> Self:
        for kind, block in self._blocks().items():
            if block is not None and kind != self.type:
                raise field_error(_BLOCKS[kind], f"is for type {kind} alone")
        return self

    def _blocks(self) -> dict[str, Model | None]:
        return {"Local": self.local, "Bedrock": self.bedrock, "AzureOpenAI": self.azure_openai}

    @property
    def fixed_fields(self) -> dict[str, object]:
        """What may not change once the provider exists, by its path below spec; the same as the rules of the CRD.

        An IAM role (`bedrock.roleArn`) may: with another one the account's jobs are the same.
        """
        fixed: dict[str, object] = {
            "type": self.type,
            "region": self.region,
            "project": self.project,
            "dataUri": self.data_uri,
        }
        if self.type == "AzureOpenAI":
            block = {} if self.azure_openai is None else self.azure_openai.to_dict()
            fixed["endpoint"] = self.endpoint
            for name in _AZURE_RESOURCE:
                fixed[f"azureOpenAI.{name}"] = (block.get(name), self.options.get(name))  # read from either
        return fixed

    @property
    def type_options(self) -> dict[str, object]:
        """What the provider's type takes beside the fields of all types: its own block over `options`."""
        block = self._blocks().get(self.type)
        return {**self.options, **(block.to_dict() if block is not None else {})}

    @property
    def catalog_entries(self) -> dict[str, dict[str, object]]:
        """The account's own base models by name, as the providers' catalog reads them."""
        return {entry.name: entry.catalog_entry for entry in self.models}


_BLOCKS = {"Local": "local", "Bedrock": "bedrock", "AzureOpenAI": "azureOpenAI"}
"""By type: the field of the spec that only this type has."""

_AZURE_RESOURCE = ("subscription", "resourceGroup", "account")


class ProviderStatus(Lenient):
    """Whether the account can be used."""

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()


class FinetuneProvider(Resource):
    """An account that trains models."""

    kind: Literal["FinetuneProvider"] = "FinetuneProvider"
    spec: ProviderSpec
    status: ProviderStatus = ProviderStatus()
