"""The canonical dataset, read and rewritten line by line: a dataset may be larger than memory."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finetune_providers.base import DatasetFile, Message
from finetune_providers.errors import PermanentProviderError

Converted = dict[str, Any]

_SHORT_SCOPE = 20


def read_conversations(dataset: DatasetFile, *, field: str = "training") -> Iterator[list[Message]]:
    """The conversations of a checked dataset, in order. Blocking.

    Args:
        dataset: A dataset in the canonical form.
        field: Which of a sweep's datasets it is, for errors.

    Raises:
        PermanentProviderError: The file cannot be read.
    """
    try:
        with dataset.path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line)["messages"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PermanentProviderError(
            f"dataset {dataset.path.name} cannot be read: {type(error).__name__}", field=field
        ) from None


def write_converted(
    dataset: DatasetFile, target: Path, convert: Callable[[list[Message]], Converted], *, bom: bool = False
) -> Path:
    """Write a dataset in a provider's dialect, one JSON object a line. Blocking; the file appears whole or not at all.

    Args:
        dataset: The canonical dataset.
        target: The file to write; its folder is made.
        convert: From a conversation to the provider's object.
        bom: Begin with a UTF-8 byte order mark.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8-sig" if bom else "utf-8", newline="\n") as file:
            for conversation in read_conversations(dataset):
                file.write(json.dumps(convert(conversation), ensure_ascii=False) + "\n")
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def upload_name(dataset: DatasetFile, *, dialect: str, longest: int | None = None) -> str:
    """The name under which an upload is found again: `<scope>.<dialect>.<hash of the content>.jsonl`.

    Args:
        dataset: What is uploaded.
        dialect: The form that it has at the provider; another form is another upload.
        longest: Most characters that the provider allows, at least 48. The name is then
            `<short scope>.<hash of dialect and content>`, which begins with `upload_prefix(scope, short=True)`.
    """
    if longest is None:
        return f"{dataset.scope}.{dialect}.{dataset.content_hash[:32]}.jsonl"
    digest = hashlib.sha256(f"{dialect}.{dataset.content_hash}".encode()).hexdigest()
    return f"{upload_prefix(dataset.scope, short=True)}{digest}"[:longest]


def upload_prefix(scope: str, *, short: bool = False) -> str:
    """What the names of all of a scope's uploads begin with, and no other scope's.

    Args:
        scope: As in `DatasetFile`.
        short: The names were made with a bound on their length.
    """
    if short and len(scope) > _SHORT_SCOPE:
        scope = hashlib.sha256(scope.encode()).hexdigest()[:_SHORT_SCOPE]
    return f"{scope}."


def split_system(conversation: list[Message]) -> tuple[str | None, list[Message]]:
    """The system prompt, if there is one, and the turns after it."""
    if conversation and conversation[0]["role"] == "system":
        return conversation[0]["content"], conversation[1:]
    return None, conversation
