"""Cohere's own types as a judge: what its SDK declares, held strictly.

The SDK's models take whatever they are given (extra fields are kept, enums are open). Here each is rebuilt from its
field definitions with unknown fields refused, types strict, and enums closed to the words that Cohere publishes.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pydantic
from cohere.core.request_options import RequestOptions
from cohere.datasets.raw_client import AsyncRawDatasetsClient
from cohere.datasets.types.datasets_create_response import DatasetsCreateResponse
from cohere.datasets.types.datasets_get_response import DatasetsGetResponse
from cohere.datasets.types.datasets_list_response import DatasetsListResponse
from cohere.finetuning import FinetunedModel
from cohere.finetuning.finetuning.types.create_finetuned_model_response import CreateFinetunedModelResponse
from cohere.finetuning.finetuning.types.get_finetuned_model_response import GetFinetunedModelResponse
from cohere.finetuning.finetuning.types.list_finetuned_models_response import ListFinetunedModelsResponse
from cohere.finetuning.finetuning.types.list_training_step_metrics_response import (
    ListTrainingStepMetricsResponse,
)
from cohere.finetuning.raw_client import AsyncRawFinetuningClient
from cohere.v2.raw_client import AsyncRawV2Client
from cohere.v2.types.v2chat_response import V2ChatResponse

READ_ONLY = frozenset(
    {"id", "creator_id", "organization_id", "status", "created_at", "updated_at", "completed_at", "last_used"}
)
"""Fields of a fine-tuned model that its declaration calls read-only; a test compares."""

ANSWERS: Mapping[str, Any] = {
    "create": CreateFinetunedModelResponse,
    "list": ListFinetunedModelsResponse,
    "get": GetFinetunedModelResponse,
    "delete": dict[str, Any],
    "metrics": ListTrainingStepMetricsResponse,
    "upload": DatasetsCreateResponse,
    "datasets": DatasetsListResponse,
    "dataset": DatasetsGetResponse,
    "delete-dataset": dict[str, Any],
    "chat": V2ChatResponse,
}

QUERIES: Mapping[str, Callable[..., Any]] = {
    "list": AsyncRawFinetuningClient.list_finetuned_models,
    "metrics": AsyncRawFinetuningClient.list_training_step_metrics,
    "upload": AsyncRawDatasetsClient.create,
    "datasets": AsyncRawDatasetsClient.list,
}

_NOT_IN_THE_QUERY = {"self", "request_options", "data", "eval_data", "finetuned_model_id"}
_CAMEL_CASE = {"dataset_type": "datasetType", "validation_status": "validationStatus"}


def check_answer(operation: str, body: bytes, *, any_state: bool = False) -> None:
    """Hold an answer's body against the SDK's type.

    Raises:
        ValueError: It breaks it.
    """
    _judge(ANSWERS[operation], any_state).validate_json(body)


def check_error(body: bytes) -> None:
    """Hold an error's body against the specification's `Error`: an object with a message."""
    pydantic.TypeAdapter(_Error).validate_json(body, strict=True)


def parse_create(body: bytes) -> FinetunedModel:
    """The body of a create call, as the SDK's own type.

    Raises:
        ValueError: It has unknown fields, wrong types, or fields that are read-only.
    """
    _judge(FinetunedModel, False).validate_json(body)
    model = FinetunedModel.model_validate_json(body)
    given = READ_ONLY & model.model_fields_set
    if given:
        raise ValueError(f"read-only: {', '.join(sorted(given))}")
    return model


def parse_chat(body: bytes) -> dict[str, Any]:
    """The body of a chat call, as the SDK declares its parameters."""
    return _chat().validate_json(body).model_dump(exclude_unset=True)


def check_query(operation: str, names: Mapping[str, Any]) -> None:
    """Refuse parameters that the SDK's method of the operation does not have."""
    declared = set(inspect.signature(QUERIES[operation]).parameters) - _NOT_IN_THE_QUERY
    allowed = {_CAMEL_CASE.get(name, name) for name in declared}
    unknown = set(names) - allowed
    if unknown:
        raise ValueError(
            f"unknown parameters: {', '.join(sorted(unknown))}; known: {', '.join(sorted(allowed))}"
        )


class _Error(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    message: str


@cache
def _judge(declared: Any, any_state: bool) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(_strict(declared, any_state))


def _is_model(declared: Any) -> bool:
    return inspect.isclass(declared) and issubclass(declared, pydantic.BaseModel)


@cache
def _chat() -> pydantic.TypeAdapter[Any]:
    method = AsyncRawV2Client.chat
    hints = get_type_hints(method, include_extras=True)
    fields: dict[str, Any] = {"stream": (Literal[False], ...)}
    for name, parameter in inspect.signature(method).parameters.items():
        if name == "self" or hints[name] == RequestOptions | None:
            continue
        required = parameter.default is inspect.Parameter.empty
        fields[name] = (_strict(hints[name], False), ... if required else None)
    config = pydantic.ConfigDict(extra="forbid", strict=True)
    return pydantic.TypeAdapter(pydantic.create_model("ChatRequest", __config__=config, **fields))


def _strict(declared: Any, any_state: bool) -> Any:
    """A declared type with everything below it strict."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin is Annotated:
        return _strict(arguments[0], any_state)
    if origin in {Union, types.UnionType}:
        members = [each for each in arguments if each is not Any]
        # An open enum is declared as its words, or anything.
        open_enum = len(members) < len(arguments) and any(get_origin(each) is Literal for each in members)
        if open_enum and any_state:
            return str
        return Union[tuple(_strict(each, any_state) for each in members)]  # noqa: UP007
    if origin is Literal or origin is None:
        return _strict_model(declared, any_state) if _is_model(declared) else declared
    return origin[tuple(_strict(each, any_state) for each in arguments)]


@cache
def _strict_model(model: type[pydantic.BaseModel], any_state: bool) -> type[pydantic.BaseModel]:
    fields: dict[str, Any] = {}
    hints = get_type_hints(model, include_extras=True)
    for name, declared in model.model_fields.items():
        default = ... if declared.is_required() else declared.default
        field = pydantic.Field(default, alias=declared.alias)
        fields[name] = (_strict(hints[name], any_state), field)
    config = pydantic.ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    return pydantic.create_model(f"Strict{model.__name__}", __config__=config, **fields)
