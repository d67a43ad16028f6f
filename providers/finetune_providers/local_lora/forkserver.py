"""A process that has the LoRA stack loaded and forks itself for every trainer and answerer.

Importing torch, transformers and peft takes some ten seconds of CPU, twice a trial, which is more than a small
trial's training. The server never computes anything, starts no thread and touches no GPU, so a fork of it is as
good as a fresh process. It ends when its client does or when nobody asked for `_IDLE_S`; its children live on.

    python -m finetune_providers.local_lora.forkserver SOCKET_FD
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

_IDLE_S = 600.0
_PRELOADED = (
    "transformers.models.llama.modeling_llama",
    "transformers.generation",
    "finetune_providers.local_lora.setup",
    "finetune_providers.local_lora.answerer",
)
READY = b"ready\n"


@dataclass(frozen=True, slots=True)
class Task:
    """What a child is to do: run a module's `main` with arguments."""

    module: str
    arguments: list[str]


def serve(connection: socket.socket) -> Task | None:
    """Fork for each request.

    Returns:
        In a child its task; in the server, at its end, None.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system collects the children
    connection.settimeout(_IDLE_S)
    while True:
        try:
            request, descriptors = _receive(connection)
        except TimeoutError:
            return None
        if request is None:
            return None
        pid = os.fork()
        if pid == 0:
            connection.close()
            return _become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(f"{pid}\n".encode())


def _receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """One request: a line of JSON, with the log's and the payload's descriptors sent along."""
    data, descriptors, _, _ = socket.recv_fds(connection, 65536, 2)
    while data and not data.endswith(b"\n"):
        more = connection.recv(65536)
        data = data + more if more else b""  # the client died in the middle of its request
    return (json.loads(data) if data else None), descriptors


def _become(request: dict[str, Any], descriptors: list[int]) -> Task:
    """Turn a fresh fork into the process that was asked for."""
    log, payload = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    return Task(request["module"], [*request["arguments"], str(payload)])


def main() -> None:
    """Load, serve, and in a child do its task as if it had been started for it."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.enable()
    gc.freeze()
    connection.sendall(READY)
    task = serve(connection)
    if task is not None:
        # The usual end would take down what the server loaded, with complaints in the log; nothing of it is needed.
        atexit.register(os._exit, 0)
        importlib.import_module(task.module).main(task.arguments)


if __name__ == "__main__":
    main()
