"""Puts a trial's training together: model, adapters, data, and the short cuts that prove exact."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from finetune_providers.local_lora.adapters import add_adapters
from finetune_providers.local_lora.chat import Example, read_examples
from finetune_providers.local_lora.forward import Forward
from finetune_providers.local_lora.hidden_cache import fits, hidden_states
from finetune_providers.local_lora.jobs import TrainingRequest
from finetune_providers.local_lora.training import DataSet, Plan, Training
from finetune_providers.local_lora.weights import Loaded, load_base

logger = logging.getLogger(__name__)


def prepare(request: TrainingRequest, *, cache: Path, beat: Callable[[], None]) -> tuple[Training, Any]:
    """Load everything that a trial needs.

    Args:
        request: What to train.
        cache: Folder for hidden states that trials share.
        beat: Called now and then; may raise to interrupt.

    Returns:
        The training, at its start, and the model whose adapters it trains.

    Raises:
        TrainingError: Something in the request cannot be met.
    """
    values = request.hyperparameters
    loaded = load_base(request.base_model, device=request.options.device, threads=request.options.threads)
    beat()
    train = _examples(request.training, request, loaded)
    valid = _examples(request.validation, request, loaded) if request.validation else None
    torch.manual_seed(request.seed)
    model = add_adapters(loaded, values)
    layers = values.get("loraLayers")
    forward = Forward(model, lora_layers=None if layers is None else int(layers))
    exact = _is_exact(forward, train)
    beat()

    def data_set(examples: list[Example]) -> DataSet:
        if not exact or not fits(examples, loaded.model.config.hidden_size):
            return DataSet(examples)
        states = hidden_states(forward, examples, model_id=_model_id(loaded), folder=cache, beat=beat)
        return DataSet(examples, states)

    training = Training(
        forward, _plan(request), train=data_set(train), valid=None if valid is None else data_set(valid)
    )
    return training, model


def _examples(path: str, request: TrainingRequest, loaded: Loaded) -> list[Example]:
    length = int(request.hyperparameters["maxLength"])
    return read_examples(Path(path), loaded.tokenizer, max_length=length)


def _is_exact(forward: Forward, examples: list[Example]) -> bool:
    """Whether running the frozen layers apart gives the whole model's logits, shown on three examples."""
    # The longest and the shortest together: padding is part of what is compared.
    by_length = sorted(examples, key=lambda example: len(example.ids))
    return forward.verify([by_length[0], by_length[len(by_length) // 2], by_length[-1]])


def _plan(request: TrainingRequest) -> Plan:
    values = request.hyperparameters
    return Plan(
        epochs=int(values["epochs"]),
        batch_size=int(values["batchSize"]),
        learning_rate=float(values["learningRate"]),
        seed=request.seed,
    )


def _model_id(loaded: Loaded) -> str:
    """What tells these weights from others: the folder's files and their times, or the hub's commit."""
    folder = Path(loaded.location)
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"))
        return f"{folder} {[(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]}"
    return f"{loaded.location} {getattr(loaded.model.config, '_commit_hash', None)}"
