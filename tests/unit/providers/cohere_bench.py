"""A provider `Cohere` over its fake, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.cohere_server import CohereServer

from finetune_providers.base import DatasetFile, JobRequest, Message, ProviderConfig
from finetune_providers.cohere import CohereProvider, create

MODEL = "command-r-08-2024"
KEY = "ft-0123456789abcdef0123-a1"
SCOPE = "fts-0123456789abcdef"


async def no_wait(_: float) -> None:
    """Cohere's validation goes on with every look at it."""


def config_of(server: CohereServer, work_dir: Path, **changes: object) -> ProviderConfig:
    """The account of a server."""
    settings: dict[str, object] = {
        "name": "cohere",
        "type": "Cohere",
        "work_dir": work_dir,
        "credentials": {"CO_API_KEY": server.secret},
        "endpoint": server.url,
    }
    return ProviderConfig(**(settings | changes))  # type: ignore[arg-type]


def provider_of(server: CohereServer, work_dir: Path, **changes: object) -> CohereProvider:
    """A provider over a server."""
    return create(config_of(server, work_dir, **changes), sleep=no_wait)


def talk(*texts: str, system: str | None = None) -> list[Message]:
    """A conversation: user and assistant in turns."""
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    for number, text in enumerate(texts):
        messages.append({"role": "assistant" if number % 2 else "user", "content": text})
    return messages


def dataset_of(path: Path, conversations: Sequence[Sequence[Message]], *, scope: str = SCOPE) -> DatasetFile:
    """A dataset in the canonical form."""
    content = "".join(f"{json.dumps({'messages': each}, ensure_ascii=False)}\n" for each in conversations)
    path.write_text(content, encoding="utf-8")
    return DatasetFile(path, hashlib.sha256(content.encode()).hexdigest(), len(conversations), scope)


def small_dataset(path: Path, *, scope: str = SCOPE) -> DatasetFile:
    """Three examples."""
    colours = {"red": "warm", "blue": "cold", "grey": "cold"}
    return dataset_of(path, [talk(colour, answer) for colour, answer in colours.items()], scope=scope)


async def request_of(
    provider: CohereProvider, folder: Path, *, key: str = KEY, **parameters: object
) -> JobRequest:
    """A job over the small dataset."""
    training = await provider.upload(small_dataset(folder / "train.jsonl"), base_model=MODEL)
    hyperparameters = parameters or {"epochs": 1}
    return JobRequest(key=key, base_model=MODEL, hyperparameters=hyperparameters, training=training)  # type: ignore[arg-type]


async def answer_of(provider: CohereProvider, model: str, question: str = "red") -> str:
    """What a model says to a question."""
    async with provider.inference(model) as session:
        (answer,) = await session.answer([talk(question)], max_output_tokens=3)
    return answer
