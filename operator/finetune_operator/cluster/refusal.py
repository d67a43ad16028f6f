"""The status of a sweep that cannot even be read as one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from finetune_operator import decisions
from finetune_operator.cluster.client import Raw
from finetune_operator.errors import Problem
from finetune_operator.resources import SweepStatus


def refused_status(raw: Raw, problems: Sequence[Problem], *, now: datetime) -> dict[str, Any]:
    """What is known of the sweep, with conditions that say what is wrong with its manifest.

    Args:
        raw: The sweep as it was found.
        problems: What is wrong with it.
        now: The time of a condition that changes.
    """
    try:
        known = SweepStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        known = SweepStatus()
    generation = raw["metadata"].get("generation", 0)
    return decisions.refused_status(known, generation, problems, now=now).to_dict()
