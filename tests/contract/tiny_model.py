"""A language model of a few thousand weights, with a tokenizer and a chat template: real in everything but size."""

from __future__ import annotations

import warnings
from pathlib import Path

LAYERS = 4
_WORDS = [
    "is",
    "warm",
    "or",
    "cold",
    "red",
    "blue",
    "orange",
    "grey",
    "pink",
    "white",
    "user",
    "assistant",
    "system",
    "tea",
    "?",
    ".",
]
_TEMPLATE = (
    "{% for message in messages %}{{ '<s> ' + message['role'] + ' ' + message['content'] + ' </s> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s> assistant ' }}{% endif %}"
)


def write_tiny_model(folder: Path, *, chat_template: bool = True) -> Path:
    """Write a Llama with random weights as a folder of safetensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        torch.manual_seed(0)
        words = ["<unk>", "<s>", "</s>", "<pad>", *_WORDS]
        vocabulary = {word: number for number, word in enumerate(words)}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
            chat_template=_TEMPLATE if chat_template else None,
        )
        wrapped.add_special_tokens({"additional_special_tokens": []})
        wrapped.save_pretrained(folder)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
            initializer_range=0.2,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder
