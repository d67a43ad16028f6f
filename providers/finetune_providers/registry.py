"""Provider types by name. A type's module is imported only when a resource asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from finetune_providers.base import Provider, ProviderConfig
from finetune_providers.errors import PermanentProviderError

_FACTORIES = {
    "Local": "finetune_providers.local_lora:create",
}


def known_types() -> tuple[str, ...]:
    """The provider types that `FinetuneProvider.spec.type` may name."""
    return tuple(sorted(_FACTORIES))


def create(config: ProviderConfig) -> Provider:
    """Make the provider that a configuration describes.

    Raises:
        PermanentProviderError: The type is not known, its packages are missing, or its options are wrong.
    """
    target = _FACTORIES.get(config.type)
    if target is None:
        raise PermanentProviderError(
            f"provider type {config.type!r} is not known; known types: {', '.join(known_types())}",
            field="spec.type",
        )
    module_name, _, factory_name = target.partition(":")
    module = importlib.import_module(module_name)
    factory = cast("Callable[[ProviderConfig], Provider]", getattr(module, factory_name))
    return factory(config)
