"""Hyperparameters under the names that the API has for them."""

from __future__ import annotations

from collections.abc import Mapping

from finetune_providers.base import ParameterValue
from finetune_providers.errors import PermanentProviderError

NATIVE_NAMES = {
    "epochs": "n_epochs",
    "batchSize": "batch_size",
    "learningRateMultiplier": "learning_rate_multiplier",
}


def native_hyperparameters(given: Mapping[str, ParameterValue]) -> dict[str, int | float]:
    """The company's names and types of hyperparameters.

    Raises:
        PermanentProviderError: There is no such hyperparameter, or the value is no number.
    """
    wanted: dict[str, int | float] = {}
    for name, value in given.items():
        if name not in NATIVE_NAMES:
            raise PermanentProviderError(
                f"hyperparameter {name} is not known to this API; it takes {', '.join(NATIVE_NAMES)}",
                field=f"parameters.{name}",
            )
        if isinstance(value, str):
            raise PermanentProviderError(
                f"hyperparameter {name} must be a number, not {value!r}", field=f"parameters.{name}"
            )
        whole = name != "learningRateMultiplier"
        if whole and value != int(value):
            raise PermanentProviderError(
                f"hyperparameter {name} must be a whole number, not {value}", field=f"parameters.{name}"
            )
        wanted[NATIVE_NAMES[name]] = int(value) if whole else float(value)
    return wanted
