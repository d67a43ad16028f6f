"""What each provider's base models take: read from `base_models.yaml`, extended by `FinetuneProvider.spec.models`."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
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
_ENTRY_WORDS = ("like", "note", "parameters", "traits", "exclusive")
_RULE_WORDS = ("type", "min", "above", "max", "values", "default")


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
        rules = _rules({word: entry[word] for word in _ENTRY_WORDS if word in entry}, {})
        models.update(dict.fromkeys(entry["names"], rules))
    models.update(_own_models(config.models, models))
    offer = section.get("offer", {})
    if not offer or (config.endpoint is not None and not section.get("offerHoldsBehindEndpoints", True)):
        return Catalog(models, Offer())
    message = f"{offer['message']} ({offer['source']}, {offer['date']})"
    return Catalog(models, Offer(OfferState(offer["state"]), message))


def _own_models(
    written: Mapping[str, Mapping[str, Any]], known: Mapping[str, ModelRules]
) -> dict[str, ModelRules]:
    """The account's own models, in whatever order they are written.

    An entry may be like another of its kind; one that is like its own name is like the catalog's model.
    """
    own: dict[str, ModelRules] = {}
    waiting = dict(written)
    while waiting:
        ready = [
            name
            for name, entry in waiting.items()
            if _like(entry) in {None, name} or _like(entry) not in waiting
        ]
        if not ready:
            loop = ", ".join(sorted(waiting))
            raise PermanentProviderError(f"base models are like each other: {loop}", field="spec.models")
        for name in ready:
            among = {**known, **{other: rules for other, rules in own.items() if other != name}}
            try:
                own[name] = _rules(waiting.pop(name), among)
            except ValueError as error:
                raise PermanentProviderError(
                    f"base model {name!r} is described wrongly: {error}", field="spec.models"
                ) from error
    return own


def _like(entry: object) -> str | None:
    like = entry.get("like") if isinstance(entry, Mapping) else None
    return like if isinstance(like, str) else None


@functools.cache
def _sections() -> Mapping[str, Any]:
    text = resources.files("finetune_providers").joinpath("base_models.yaml").read_text(encoding="utf-8")
    return cast("Mapping[str, Any]", yaml.safe_load(text))


def _rules(entry: Mapping[str, Any], known: Mapping[str, ModelRules]) -> ModelRules:
    """The rules that an entry describes.

    Raises:
        ValueError: Which field of it is wrong, and what is allowed.
    """
    _only_words(entry, _ENTRY_WORDS, "")
    like = entry.get("like")
    if like is not None and (not isinstance(like, str) or like not in known):
        raise ValueError(f"like: {like!r} is not known; known: {', '.join(sorted(known)) or 'none'}")
    start = known[like] if like is not None else ModelRules({})
    parameters, traits = entry.get("parameters") or {}, entry.get("traits") or {}
    for word, written in (("parameters", parameters), ("traits", traits)):
        if not isinstance(written, Mapping):
            raise ValueError(f"{word} must be a mapping")
    given = {name: _rule(name, rule) for name, rule in parameters.items()}
    if not start.parameters and not given:
        raise ValueError("give like, or the parameters that it takes")
    wrong = next((name for name, value in traits.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f"traits.{wrong} must be text; put it in quotation marks")
    taken = {**start.parameters, **given}
    return replace(
        start,
        parameters=taken,
        note=str(entry.get("note") or start.note),
        traits={**start.traits, **traits},
        exclusive=_groups(entry["exclusive"], taken) if entry.get("exclusive") else start.exclusive,
    )


def _groups(written: object, taken: Collection[str]) -> tuple[tuple[str, ...], ...]:
    groups = written if isinstance(written, list | tuple) else ()
    if not groups or not all(
        isinstance(group, list | tuple) and set(group) <= set(taken) for group in groups
    ):
        raise ValueError(f"exclusive must be a list of lists of its parameters: {', '.join(taken)}")
    return tuple(tuple(group) for group in groups)


def _only_words(written: object, allowed: Collection[str], path: str) -> None:
    if not isinstance(written, Mapping):
        raise ValueError(f"{path or 'it'} must be a mapping with {', '.join(allowed)}")
    for word in written:
        if word not in allowed:
            raise ValueError(f"{path + '.' if path else ''}{word} is not known; known: {', '.join(allowed)}")


def _rule(name: str, written: Mapping[str, Any]) -> ParameterRule:
    path = f"parameters.{name}"
    _only_words(written, _RULE_WORDS, path)
    kind = str(written.get("type", "float"))
    if kind not in _TYPES:
        raise ValueError(f"{path}.type must be one of {', '.join(_TYPES)}")
    bounds = {
        word: _bound(written[word], f"{path}.{word}")
        for word in ("min", "above", "max")
        if _given(written, word)
    }
    lower = bounds.get("above", bounds.get("min"))
    if "min" in bounds and "above" in bounds:
        raise ValueError(f"{path}: give min or above, not both")
    if kind == "string" and bounds:
        raise ValueError(f"{path}: a string has no {' and no '.join(bounds)}; give values")
    if lower is not None and bounds.get("max", lower) < lower:
        raise ValueError(f"{path}.max must not be below {'above' if 'above' in bounds else 'min'}")
    values, default = written.get("values") or (), written.get("default")
    if not isinstance(values, list | tuple):
        raise ValueError(f"{path}.values must be a list")
    rule = ParameterRule(
        kind,
        minimum=lower,
        maximum=bounds.get("max"),
        exclusive_minimum="above" in bounds,
        allowed=tuple(_typed(value, kind, f"{path}.values") for value in values),
        default=None if default is None else _typed(default, kind, f"{path}.default"),
    )
    if rule.default is not None and not rule.permits(rule.default):
        raise ValueError(f"{path}.default: {default} is not {rule.describe()}")
    return rule


def _given(written: Mapping[str, Any], word: str) -> bool:
    return written.get(word) is not None


def _bound(written: object, path: str) -> float:
    """A bound as a number; text is read, too, because YAML takes 1e-6 for text."""
    number = _typed(written, "float", path)
    return float(number)


def _typed(written: object, kind: str, path: str) -> ParameterValue:
    """A value of the kind; nothing is rounded, and nothing that is no number counts as one."""
    try:
        if isinstance(written, bool) or not isinstance(written, int | float | str):
            raise TypeError
        value = _TYPES[kind](written)
        rounded = isinstance(value, int) and isinstance(written, float) and value != written
        if rounded or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{path}: {written!r} is no {kind}") from None
    return value
