"""How objects say which sweep they were written for."""

from __future__ import annotations

import hashlib

from finetune_operator.resources.common import GROUP

SWEEP_LABEL = f"{GROUP}/sweep"
_LABEL_LENGTH = 63
_HASH_LENGTH = 10


def label_value(name: str) -> str:
    """An object's name as a label's value: itself, or shortened to 63 characters with a hash of the whole."""
    if len(name) <= _LABEL_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: _LABEL_LENGTH - _HASH_LENGTH - 1]}-{digest}"
