"""What may change in a sweep or a provider that exists already: the same rules as the API server's."""

from __future__ import annotations

from typing import Any

from pydantic.alias_generators import to_camel

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.resources import SweepSpec
from finetune_operator.resources.provider import ProviderSpec
from finetune_operator.resources.sweep import Candidate

EDITABLE_FIELDS = frozenset({"limits", "suspend", "deletion_policy", "keep_models", "keep_data", "output"})
"""Fields of a sweep's spec that may change while it runs; all others are fixed once it exists."""

_FIXED_FIELDS = tuple(name for name in SweepSpec.model_fields if name not in EDITABLE_FIELDS)


def edited_spec(stored: SweepSpec, wanted: SweepSpec) -> SweepSpec:
    """The stored spec with the edits that a person made.

    As on the API server, candidates are a map by name and base models a set: their order is no change, and
    the stored order stays.

    Raises:
        InvalidManifest: A field that is fixed once the sweep exists was changed.
    """
    problems = tuple(
        Problem(f"spec.{to_camel(attribute)}", _message(stored, wanted, attribute))
        for attribute in _FIXED_FIELDS
        if _comparable(stored, attribute) != _comparable(wanted, attribute)
    )
    if problems:
        raise InvalidManifest(problems)
    fixed = {attribute: getattr(stored, attribute) for attribute in _FIXED_FIELDS}
    return wanted.model_copy(update=fixed)


def check_provider_edit(name: str, stored: ProviderSpec, wanted: ProviderSpec) -> None:
    """Refuse to have a provider look for its jobs, data and deployments elsewhere than where they are.

    Raises:
        InvalidManifest: A field that is fixed once the provider exists was changed.
    """
    problems = tuple(
        Problem(
            f"FinetuneProvider {name}: spec.{to_camel(attribute)}",
            "is immutable once the provider exists, as what lies elsewhere would not be found again: make a new "
            "provider under another name, with a new sweep in another --state folder",
        )
        for attribute in stored.fixed_fields
        if getattr(stored, attribute) != getattr(wanted, attribute)
    )
    if problems:
        raise InvalidManifest(problems)


def _message(stored: SweepSpec, wanted: SweepSpec, attribute: str) -> str:
    changed = _changed_candidates(stored, wanted) if attribute == "candidates" else []
    which = f" (changed: {', '.join(changed)})" if changed else ""
    return f"is immutable once the sweep exists{which}: use another name and another --state folder"


def _changed_candidates(stored: SweepSpec, wanted: SweepSpec) -> list[str]:
    before = {each.name: _comparable_candidate(each) for each in stored.candidates}
    after = {each.name: _comparable_candidate(each) for each in wanted.candidates}
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _comparable(spec: SweepSpec, attribute: str) -> Any:
    if attribute == "candidates":
        return {each.name: _comparable_candidate(each) for each in spec.candidates}
    return getattr(spec, attribute)


def _comparable_candidate(candidate: Candidate) -> dict[str, Any]:
    return candidate.to_dict() | {"baseModels": sorted(candidate.base_models)}
