"""A language model of a few thousand weights, with a tokenizer and a chat template: real in everything but size.

It is written without torch, so that a test that only needs the folder does not wait for torch to load.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LAYERS = 4
HIDDEN = 32
_HEADS, _KEY_HEADS, _INNER = 4, 2, 64
_WORDS = [
    *("<unk>", "<s>", "</s>", "<pad>", "user", "assistant", "system", "is", "warm", "or", "cold"),
    *("red", "blue", "orange", "grey", "pink", "white", "tea", "###", "User:", "Assistant:"),
]
_TEMPLATE = (
    "{% for message in messages %}{{ '<s> ' + message['role'] + ' ' + message['content'] + ' </s> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s> assistant ' }}{% endif %}"
)


def write_tiny_model(folder: Path, *, chat_template: bool = True) -> Path:
    """Write a Llama with random weights as a folder that `from_pretrained` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, _TEMPLATE if chat_template else None)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(_WORDS),
        "hidden_size": HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KEY_HEADS,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    _write_weights(folder)
    return folder


def _write_tokenizer(folder: Path, template: str | None) -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(_WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in _WORDS[:4]])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False,
    }
    if template is not None:
        settings["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")


def _write_weights(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    random = np.random.default_rng(0)

    def matrix(*shape: int) -> np.ndarray[Any, Any]:
        return random.normal(0, 0.2, shape).astype(np.float32)

    ones = np.ones(HIDDEN, dtype=np.float32)
    keys = HIDDEN // _HEADS * _KEY_HEADS
    weights = {
        "model.embed_tokens.weight": matrix(len(_WORDS), HIDDEN),
        "lm_head.weight": matrix(len(_WORDS), HIDDEN),
        "model.norm.weight": ones.copy(),
    }
    for layer in range(LAYERS):
        weights |= {
            f"model.layers.{layer}.{name}.weight": value
            for name, value in {
                "self_attn.q_proj": matrix(HIDDEN, HIDDEN),
                "self_attn.k_proj": matrix(keys, HIDDEN),
                "self_attn.v_proj": matrix(keys, HIDDEN),
                "self_attn.o_proj": matrix(HIDDEN, HIDDEN),
                "mlp.gate_proj": matrix(_INNER, HIDDEN),
                "mlp.up_proj": matrix(_INNER, HIDDEN),
                "mlp.down_proj": matrix(HIDDEN, _INNER),
                "input_layernorm": ones.copy(),
                "post_attention_layernorm": ones.copy(),
            }.items()
        }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
