"""LoRA adapters on a model: which layers get them, and how they are kept."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model

from finetune_providers.base import ParameterValue
from finetune_providers.local_lora.chat import TrainingError
from finetune_providers.local_lora.forward import find_layers
from finetune_providers.local_lora.weights import NOTE_NAME, Loaded

_ATTENTION = ("q_proj", "v_proj")


def add_adapters(loaded: Loaded, hyperparameters: Mapping[str, ParameterValue]) -> Any:
    """The model with fresh adapters, which change nothing yet; everything else is frozen.

    Query and value projections carry them, as in the first LoRA paper (Hu et al. 2021, section 7.1), or all linear
    layers where an architecture has no projections of these names.

    Raises:
        TrainingError: `loraLayers` asks for more layers than there are.
    """
    count = int(loaded.model.config.num_hidden_layers)
    layers = int(hyperparameters.get("loraLayers", count))
    if layers > count:
        raise TrainingError(f"loraLayers is {layers}, but the base model has {count} layers")
    names = {name.rpartition(".")[2] for name, _ in loaded.model.named_modules()}
    choice: dict[str, Any] = {}
    if layers < count:
        pattern, _ = find_layers(loaded.model.get_decoder(), count)
        choice = {"layers_to_transform": list(range(count - layers, count)), "layers_pattern": pattern}
    config = LoraConfig(
        r=int(hyperparameters["loraRank"]),
        lora_alpha=int(hyperparameters["loraAlpha"]),
        lora_dropout=0.0,
        target_modules=list(_ATTENTION) if names.issuperset(_ATTENTION) else "all-linear",
        task_type="CAUSAL_LM",
        **choice,
    )
    model: Any = get_peft_model(loaded.model, config)
    model.peft_config["default"].base_model_name_or_path = loaded.location
    return model.eval()


def save_adapter(model: Any, folder: Path, *, base_model: str) -> None:
    """Write the adapter in PEFT's format, with a note of the base model's name, complete or not at all."""
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(str(draft), save_embedding_layers=False)
    (draft / NOTE_NAME).write_text(json.dumps({"base_model": base_model}), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
