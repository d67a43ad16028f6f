"""Loading base models, tokenizers and adapters. Loads torch, so only processes made for it import this."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune_providers.errors import PermanentProviderError
from finetune_providers.local_lora.chat import TrainingError
from finetune_providers.local_lora.locks import locked
from finetune_providers.local_lora.models import BUNDLED_NAME, ModelSource, SourceKind, cache_root, find_model

# Beside the adapter: the base model by the name the manifest gave it, which outlives a moved cache.
NOTE_NAME = "finetune.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory.

    Attributes:
        model: A transformers causal LM, in evaluation mode, without gradients.
        tokenizer: Its tokenizer.
        location: Folder or hub id that `from_pretrained` takes.
        device: Where the model is.
    """

    model: Any
    tokenizer: Any
    location: str
    device: torch.device


def choose_device(wanted: str) -> torch.device:
    """The device to compute on.

    Raises:
        TrainingError: A GPU is wanted and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError("spec.local.device is cuda, but torch finds no GPU; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def load_base(name: str, *, device: str, threads: int) -> Loaded:
    """Load a base model: float32 on a CPU, bfloat16 on a GPU (adapters stay float32).

    Raises:
        TrainingError: It cannot be found or loaded; one line that says why.
    """
    torch.set_num_threads(threads)
    quiet: Any = transformers.logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        location = _location(find_model(name))
    except PermanentProviderError as error:
        raise TrainingError(str(error)) from error
    target = choose_device(device)
    dtype = torch.bfloat16 if target.type == "cuda" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(
            location, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(f"base model {name} does not load: {reason}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(requires_grad=False)
    return Loaded(model.to(target).eval(), tokenizer, location, target)


def load_adapter(folder: Path, *, device: str, threads: int) -> Loaded:
    """Load a fine-tuned model: its base model with the adapter on top.

    Raises:
        TrainingError: One of the two cannot be loaded.
    """
    from peft import PeftModel

    note = folder / NOTE_NAME
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    name = json.loads(note.read_text("utf-8"))["base_model"] if note.is_file() else ""
    base = load_base(name or config["base_model_name_or_path"], device=device, threads=threads)
    model = PeftModel.from_pretrained(base.model, str(folder)).eval()
    return Loaded(model, base.tokenizer, base.location, base.device)


def _location(source: ModelSource) -> str:
    if source.kind is SourceKind.BUNDLED:
        return str(_convert_bundled(source))
    return source.location


def _convert_bundled(source: ModelSource) -> Path:
    """The bundled model as an ordinary folder of safetensors, converted from GGUF once for all processes."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"{BUNDLED_NAME}-{source.version}"
    with locked(root / f".{target.name}.lock"):
        if not target.exists():
            draft = Path(tempfile.mkdtemp(dir=root, prefix=".new-"))
            try:
                _write_converted(Path(source.location), draft)
                draft.chmod(0o755)
                draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return target


def _write_converted(gguf: Path, folder: Path) -> None:
    arguments: dict[str, Any] = {"gguf_file": gguf.name, "trust_remote_code": False}
    AutoTokenizer.from_pretrained(str(gguf.parent), **arguments).save_pretrained(folder)
    # Newer transformers keep the blocks packed unless told otherwise; packed ones cannot be trained on.
    gguf_config = getattr(transformers, "GgufConfig", None)
    if gguf_config is not None:
        arguments["quantization_config"] = gguf_config(dequantize=True)
    packed: Any = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **arguments)
    settings = packed.config.to_dict()
    settings.pop("quantization_config", None)
    config = type(packed.config).from_dict(settings)
    # save_pretrained refuses a model that came from a GGUF file; a fresh one of the same shape does not.
    fresh: Any = AutoModelForCausalLM
    plain = fresh.from_config(config, dtype=torch.float32)
    plain.load_state_dict(packed.state_dict())
    plain.to(torch.bfloat16).save_pretrained(folder)
