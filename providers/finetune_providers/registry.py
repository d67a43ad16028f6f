"""Provider types by name. A type's module is imported only when a resource asks for it.

Further types come from installed packages, which name them in the entry point group
`finetune_operator.providers`; see docs/adding-a-provider.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from finetune_providers.base import Provider, ProviderConfig
from finetune_providers.errors import PermanentProviderError

GROUP = "finetune_operator.providers"

Factory = Callable[[ProviderConfig], Provider]

_OWN = {
    "AzureOpenAI": ("finetune_providers.azure_openai", "azure"),
    "Bedrock": ("finetune_providers.bedrock", "bedrock"),
    "Cohere": ("finetune_providers.cohere", "cohere"),
    "GoogleAIStudio": ("finetune_providers.google_ai_studio", ""),
    "Local": ("finetune_providers.local_lora", ""),
    "OpenAI": ("finetune_providers.openai", "openai"),
    "VertexAI": ("finetune_providers.vertex_ai", "vertex"),
}
"""By type: its module, and the extra that installs what it needs."""


def known_types() -> tuple[str, ...]:
    """The provider types that `FinetuneProvider.spec.type` may name."""
    return tuple(sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))}))


def load(name: str) -> None:
    """Import what a provider type needs. Blocking: some companies' packages take seconds.

    Raises:
        PermanentProviderError: The type is not known, or its packages are missing.
    """
    _factory(name)


def create(config: ProviderConfig) -> Provider:
    """Make the provider that a configuration describes.

    Raises:
        PermanentProviderError: The type is not known, its packages are missing, or its options are wrong.
    """
    return _factory(config.type)(config)


def _factory(name: str) -> Factory:
    if name in _OWN:
        module_name, extra = _OWN[name]
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            if not extra or (error.name or "").startswith("finetune_"):
                raise
            missing = isinstance(error, ModuleNotFoundError)
            raise PermanentProviderError(
                f"provider type {name} needs package {error.name}, "
                f"which is {'not installed' if missing else 'installed in another version'}; "
                f'install "finetune-operator[{extra}]"',
                field="spec.type",
            ) from error
        return cast("Factory", module.create)
    points: tuple[EntryPoint, ...] = tuple(entry_points(group=GROUP, name=name))
    if not points:
        raise PermanentProviderError(
            f"provider type {name!r} is not known; known types: {', '.join(known_types())}", field="spec.type"
        )
    if len(points) > 1:
        packages = ", ".join(sorted(point.dist.name for point in points if point.dist is not None))
        raise PermanentProviderError(
            f"provider type {name!r} is offered by several packages: {packages}; uninstall all but one",
            field="spec.type",
        )
    return _loaded(points[0])


def _loaded(point: EntryPoint) -> Factory:
    told = f"provider type {point.name!r} could not be loaded from {point.value}"
    try:
        factory = point.load()
    except Exception as error:  # another's package may fail in any way, and ours goes on without it
        raise PermanentProviderError(f"{told}: {type(error).__name__}: {error}", field="spec.type") from error
    if not callable(factory):
        raise PermanentProviderError(f"{told}: it is no function that makes a provider", field="spec.type")
    return cast("Factory", factory)
