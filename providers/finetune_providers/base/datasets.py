"""What a model is trained on, in the canonical form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class Message(TypedDict):
    """One turn of a chat: `role` is system, user or assistant."""

    role: str
    content: str


Conversation = Sequence[Message]


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A checked dataset in the canonical form: UTF-8 JSONL, one `{"messages": [...]}` a line.

    Attributes:
        path: Where the file lies on this machine.
        content_hash: SHA-256 of the file, hexadecimal: the name under which an upload is found again.
        examples: Number of lines.
        scope: What the upload belongs to, lower-case letters, digits and dashes, at most 40 characters: one
            sweep's uploads are deleted together (`delete_data`) and are never another sweep's.
    """

    path: Path
    content_hash: str
    examples: int
    scope: str = "shared"
