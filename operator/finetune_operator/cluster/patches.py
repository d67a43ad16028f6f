"""JSON as the API server takes it: merge patches (RFC 7396), and no number that JSON does not have."""

from __future__ import annotations

import math
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


def without_nan(value: Any) -> Any:
    """The value without the members and items that are NaN or infinite.

    JSON has no such numbers, and the API server would refuse the whole write. A training that diverged reports
    them; what remains must be written all the same.
    """
    if isinstance(value, Mapping):
        return {name: without_nan(each) for name, each in value.items() if not _unwritable(each)}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value if not _unwritable(each)]
    return value


def _unwritable(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
