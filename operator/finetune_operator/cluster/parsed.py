"""Objects as they are read, or why they cannot be."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from finetune_operator.cluster.client import Raw
from finetune_operator.cluster.entries import Parsed
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.store import Key, Kind
from finetune_operator.resources import FinetuneProvider, FinetuneSweep, FinetuneTrial, parse_resource

T = TypeVar("T", FinetuneSweep, FinetuneTrial, FinetuneProvider)

KINDS: Mapping[Kind, type[Any]] = {
    "FinetuneSweep": FinetuneSweep,
    "FinetuneTrial": FinetuneTrial,
    "FinetuneProvider": FinetuneProvider,
}

_logger = logging.getLogger(__name__)


def parsed(kind: type[T], raw: Raw, *, key: Key) -> Parsed | InvalidManifest:
    """The object of a key as it was read; an error, which the log tells, where it cannot be."""
    try:
        return parse_resource(kind, raw)
    except InvalidManifest as error:
        _logger.warning("%s cannot be read: %s", key, error)
        return InvalidManifest(error.problems)
