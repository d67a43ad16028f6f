"""The process that answers: JSON lines over a socket, `python -m finetune_providers.local_lora.answerer SOCKET_FD`.

The first line names the model, each further one holds conversations. Every answer carries the number of its
question. Whatever libraries print goes to the log, never between the answers.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from finetune_providers.local_lora.chat import TrainingError, prompt_ids
from finetune_providers.local_lora.weights import Loaded, load_adapter, load_base


def load(request: Mapping[str, Any]) -> Loaded:
    """The model that the first line asks for.

    Raises:
        TrainingError: It does not load.
    """
    device, threads = request["device"], request["threads"]
    if "adapter" in request:
        return load_adapter(Path(request["adapter"]), device=device, threads=threads)
    return load_base(request["base_model"], device=device, threads=threads)


def answer(loaded: Loaded, conversations: list[list[dict[str, str]]], *, max_output_tokens: int) -> list[str]:
    """Answer each conversation greedily, all in one batch padded on the left.

    A prompt that leaves no room for the answer in the model's window loses its beginning.

    Raises:
        TrainingError: The chat template refuses a conversation.
    """
    window = int(getattr(loaded.model.config, "max_position_embeddings", 1 << 20))
    room = max(1, window - max_output_tokens)
    prompts = [prompt_ids(loaded.tokenizer, conversation)[-room:] for conversation in conversations]
    width = max(len(prompt) for prompt in prompts)
    padding = loaded.tokenizer.pad_token_id or 0
    ids = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.no_grad():
        output = loaded.model.generate(
            input_ids=ids.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            max_new_tokens=max_output_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=padding,
            eos_token_id=_ends(loaded),
        )
    texts = loaded.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    return [text.strip() for text in texts]


def _ends(loaded: Loaded) -> list[int] | None:
    """Tokens that end an answer: the tokenizer's, and those the model's own settings name."""
    named = loaded.model.generation_config.eos_token_id
    ends = {loaded.tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    return sorted(ends) or None


def reply_to(loaded: Loaded, question: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer to one line of conversations, or why there is none."""
    try:
        texts = answer(
            loaded, question["conversations"], max_output_tokens=int(question["max_output_tokens"])
        )
    except TrainingError as error:
        return {"number": question["number"], "error": str(error)}
    return {"number": question["number"], "answers": texts}


def read_lines(connection: socket.socket, lines: queue.SimpleQueue[str]) -> None:
    """Queue every line. When the other end closes, this process ends, in the middle of whatever it computes."""
    with connection.makefile("r", encoding="utf-8") as file:
        try:
            for line in file:
                lines.put(line)
        finally:
            os._exit(0)


def main(arguments: list[str]) -> None:
    """Answer until the other end closes the socket, whose descriptor is the only argument."""
    connection = socket.socket(fileno=int(arguments[0]))
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(connection, lines), daemon=True).start()

    def send(reply: Mapping[str, Any]) -> None:
        connection.sendall(json.dumps(reply).encode() + b"\n")

    first = json.loads(lines.get())
    try:
        loaded = load(first)
    except TrainingError as error:
        send({"number": first["number"], "error": str(error)})
        return
    send({"number": first["number"]})
    while True:
        send(reply_to(loaded, json.loads(lines.get())))


if __name__ == "__main__":
    main(sys.argv[1:])
