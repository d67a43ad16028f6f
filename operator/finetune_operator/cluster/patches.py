"""JSON merge patches (RFC 7396) that turn one object into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest merge patch that turns `before` into `after`; empty where they are equal.

    A field that is gone becomes an explicit null, which is how a merge patch removes it; lists are replaced
    whole. `after` must hold no null of its own.
    """
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before:
            patch[name] = value
        elif isinstance(value, Mapping) and isinstance(before[name], Mapping):
            if inner := merge_patch(before[name], value):
                patch[name] = inner
        elif not _same(before[name], value):
            patch[name] = value
    return patch


def _same(before: object, after: object) -> bool:
    # In Python true equals 1; in JSON it does not.
    return isinstance(before, bool) == isinstance(after, bool) and before == after
