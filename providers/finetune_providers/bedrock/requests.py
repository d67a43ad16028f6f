"""What a job is asked for with."""

from __future__ import annotations

from typing import Any

from finetune_providers.base import JobRequest, ModelRules
from finetune_providers.bedrock.data import as_native
from finetune_providers.bedrock.settings import Settings
from finetune_providers.errors import PermanentProviderError

_TAG_PREFIX = "finetune-operator.dev/"
_NATIVE = {"epochs": "epochCount"}
"""Canonical hyperparameters that Bedrock calls otherwise; all others it names as we do."""


def create_parameters(request: JobRequest, rules: ModelRules, settings: Settings) -> dict[str, Any]:
    """The parameters of the call that makes a job.

    Raises:
        PermanentProviderError: The base model takes no such data or hyperparameter.
    """
    if request.validation is not None and rules.traits.get("validation") == "none":
        raise PermanentProviderError(
            f"Bedrock trains {request.base_model} without validation data", field="validation"
        )
    tags = [{"key": _TAG_PREFIX + name, "value": value} for name, value in request.labels.items()]
    scope = request.training.rsplit("/", 1)[-1].split(".", 1)[0]
    optional: dict[str, Any] = {}
    if request.validation is not None:
        optional["validationDataConfig"] = {"validators": [{"s3Uri": request.validation}]}
    if settings.kms_key:
        optional["customModelKmsKeyId"] = settings.kms_key
    if tags:
        optional |= {"jobTags": tags, "customModelTags": tags}
    return {
        "jobName": request.key,
        "customModelName": request.key,
        "clientRequestToken": request.key,
        "roleArn": settings.role_arn,
        "baseModelIdentifier": request.base_model,
        "customizationType": "FINE_TUNING",
        "trainingDataConfig": {"s3Uri": request.training},
        # Beside the datasets of its scope, and deleted with them.
        "outputDataConfig": {"s3Uri": settings.uri(f"{scope}.output/{request.key}")},
        "hyperParameters": _hyperparameters(request, rules),
        **optional,
    }


def _hyperparameters(request: JobRequest, rules: ModelRules) -> dict[str, str]:
    for name in request.hyperparameters:
        if name not in rules.parameters:
            raise PermanentProviderError(
                f"{request.base_model} does not take {name}; it takes {', '.join(sorted(rules.parameters))}",
                field=f"parameters.{name}",
            )
    return {_NATIVE.get(name, name): as_native(value) for name, value in request.hyperparameters.items()}
