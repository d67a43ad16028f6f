"""Hidden states of the frozen layers, computed once for each data set and shared by all trials that can use them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune_providers.local_lora.chat import Example
from finetune_providers.local_lora.forward import Forward
from finetune_providers.local_lora.locks import try_lock

logger = logging.getLogger(__name__)
_KEPT_FILES = 8
_MAX_BYTES = 512 * 1024 * 1024
_ROWS = 16


def fits(examples: Sequence[Example], hidden_size: int) -> bool:
    """Whether the hidden states of a data set are small enough to keep in memory."""
    return 4 * hidden_size * sum(len(example.ids) for example in examples) <= _MAX_BYTES


def hidden_states(
    forward: Forward, examples: Sequence[Example], *, model_id: str, folder: Path, beat: Callable[[], None]
) -> list[Tensor]:
    """What enters the first adapted layer, for each example (T_i, H).

    Args:
        forward: The model.
        examples: The data set.
        model_id: Tells this base model's weights from any other's.
        folder: Where the values are kept.
        beat: Called after each piece of work and while waiting; may raise to interrupt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_key(forward, examples, model_id=model_id)}.safetensors"
    lengths = [len(example.ids) for example in examples]
    while (lock := try_lock(path.with_suffix(".lock"))) is None:
        beat()
        time.sleep(0.2)
    try:
        flat = _read(path)
        if flat is None:
            logger.info("running the frozen layers over %d examples", len(examples))
            flat = _compute(forward, examples, beat=beat)
            draft = path.with_suffix(".new")
            save_file({"hidden": flat}, draft)
            draft.replace(path)
            _forget_old(folder)
    finally:
        os.close(lock)
    return list(torch.split(flat, lengths))


def _key(forward: Forward, examples: Sequence[Example], *, model_id: str) -> str:
    text = json.dumps([model_id, forward.boundary, str(forward.dtype), [example.ids for example in examples]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path) -> Tensor | None:
    try:
        return load_file(path)["hidden"]
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        logger.warning("the kept hidden states cannot be read (%s): computing them", type(error).__name__)
        return None


def _compute(forward: Forward, examples: Sequence[Example], *, beat: Callable[[], None]) -> Tensor:
    """All examples' hidden states one after the other, (sum of T_i, H). Similar lengths go together."""
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].ids))
    found: dict[int, Tensor] = {}
    for start in range(0, len(order), _ROWS):
        indexes = order[start : start + _ROWS]
        states = forward.below([examples[index] for index in indexes])
        found.update(zip(indexes, (state.cpu() for state in states), strict=True))
        beat()
    return torch.cat([found[index] for index in range(len(examples))])


def _forget_old(folder: Path) -> None:
    """Keep the newest files only. A trial that has read its file needs it no more."""
    files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
    for file in files[:-_KEPT_FILES]:
        file.unlink(missing_ok=True)
