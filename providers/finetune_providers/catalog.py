"""What each provider's base models take: read from `base_models.yaml`, extended by `FinetuneProvider.spec.models`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, cast

import yaml

from finetune_providers.base import (
    ModelRules,
    Offer,
    OfferState,
    ParameterRule,
    ParameterValue,
    ProviderConfig,
)
from finetune_providers.errors import PermanentProviderError

_TYPES: Mapping[str, type[int] | type[float] | type[str]] = {"int": int, "float": float, "string": str}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The base models of one account.

    Attributes:
        models: Rules by the base model's name.
        offer: Whether the provider still takes jobs.
    """

    models: Mapping[str, ModelRules]
    offer: Offer

    def rules(self, base_model: str) -> ModelRules | None:
        """What a base model takes; None where it is not known."""
        return self.models.get(base_model)

    def names(self) -> tuple[str, ...]:
        """All base models, sorted."""
        return tuple(sorted(self.models))


def load_catalog(config: ProviderConfig) -> Catalog:
    """The catalog of a provider type, with the account's own models.

    Raises:
        PermanentProviderError: A model of the account is written wrongly, with `field` below spec.
    """
    section = _sections().get(config.type, {})
    models: dict[str, ModelRules] = {}
    for entry in section.get("models", ()):
        rules = _rules(entry, {})
        models.update(dict.fromkeys(entry["names"], rules))
    for name, entry in config.models.items():
        try:
            models[name] = _rules(entry, models)
        except (KeyError, TypeError, ValueError) as error:
            raise PermanentProviderError(
                f"base model {name!r} is described wrongly: {error}", field="spec.models"
            ) from error
    offer = section.get("offer", {})
    if not offer or (config.endpoint is not None and not section.get("offerHoldsBehindEndpoints", True)):
        return Catalog(models, Offer())
    message = f"{offer['message']} ({offer['source']}, {offer['date']})"
    return Catalog(models, Offer(OfferState(offer["state"]), message))


@functools.cache
def _sections() -> Mapping[str, Any]:
    text = resources.files("finetune_providers").joinpath("base_models.yaml").read_text(encoding="utf-8")
    return cast("Mapping[str, Any]", yaml.safe_load(text))


def _rules(entry: Mapping[str, Any], known: Mapping[str, ModelRules]) -> ModelRules:
    like = entry.get("like")
    if like is not None and like not in known:
        raise ValueError(f"like: {like!r} is not known; known: {', '.join(sorted(known)) or 'none'}")
    start = known[like] if like is not None else ModelRules({})
    given = {name: _rule(name, rule) for name, rule in (entry.get("parameters") or {}).items()}
    if not start.parameters and not given:
        raise ValueError("give like, or the parameters that it takes")
    return replace(
        start,
        parameters={**start.parameters, **given},
        note=str(entry.get("note") or start.note),
        traits={**start.traits, **(entry.get("traits") or {})},
        exclusive=tuple(tuple(group) for group in entry.get("exclusive") or start.exclusive),
    )


def _rule(name: str, written: Mapping[str, Any]) -> ParameterRule:
    kind = str(written.get("type", "float"))
    if kind not in _TYPES:
        raise ValueError(f"parameters.{name}.type must be one of {', '.join(_TYPES)}")
    as_type = _TYPES[kind]

    def typed(value: Any) -> ParameterValue:
        try:
            return as_type(value)
        except (TypeError, ValueError):
            raise ValueError(f"parameters.{name}: {value!r} is no {kind}") from None

    def bound(word: str) -> float | None:
        return None if written.get(word) is None else float(written[word])

    default = written.get("default")
    rule = ParameterRule(
        kind,
        minimum=bound("above") if written.get("above") is not None else bound("min"),
        maximum=bound("max"),
        exclusive_minimum=written.get("above") is not None,
        allowed=tuple(typed(value) for value in written.get("values") or ()),
        default=None if default is None else typed(default),
    )
    if rule.default is not None and not rule.permits(rule.default):
        raise ValueError(f"parameters.{name}.default: {default} is not {rule.describe()}")
    return rule
