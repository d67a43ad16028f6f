"""Datasets in the chat form that the API takes, and what it takes at most."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from finetune_providers.base import DatasetFile, Message
from finetune_providers.conversations import Converted, read_conversations
from finetune_providers.errors import PermanentProviderError

GONE_FILES = frozenset({"error", "deleting", "deleted"})
"""States of a file that no job can take."""

_QUEUED_FOR_S = 12 * 3600.0
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class DataLimits:
    """What the company takes.

    Attributes:
        company: As people call it.
        least_examples: Of training data.
        most_bytes: Of one file, as it is sent.
    """

    company: str
    least_examples: int
    most_bytes: int

    def check(self, dataset: DatasetFile, *, field: str) -> None:
        """Check a dataset, line by line. Blocking.

        Args:
            dataset: The canonical dataset.
            field: "training" or "validation".

        Raises:
            PermanentProviderError: It is not what the company takes.
        """
        examples = size = 0
        for line, conversation in enumerate(read_conversations(dataset), start=1):
            _check_conversation(conversation, line, field=field, company=self.company)
            size += len(json.dumps(converted(conversation), ensure_ascii=False).encode()) + 1
            examples += 1
        least = self.least_examples if field == "training" else 1
        if examples < least:
            raise PermanentProviderError(
                f"{field} has {examples} examples; {self.company} takes {least} or more: add examples",
                field=field,
            )
        if size > self.most_bytes:
            raise PermanentProviderError(
                f"{field} is {size:,} bytes; {self.company} takes at most {self.most_bytes:,}: leave examples out",
                field=field,
            )


def converted(conversation: list[Message]) -> Converted:
    """A conversation as a line of the company's file."""
    return {"messages": [{"role": each["role"], "content": each["content"]} for each in conversation]}


def stays(file: object) -> bool:
    """Whether jobs can take a file as the company shows it, also after half a day in the queue."""
    expires_at = getattr(file, "expires_at", None)
    is_leaving = isinstance(expires_at, int | float) and 0 < expires_at < time.time() + _QUEUED_FOR_S
    return not is_leaving and getattr(file, "status", None) not in GONE_FILES


def _check_conversation(conversation: list[Message], line: int, *, field: str, company: str) -> None:
    roles = [message["role"] for message in conversation]
    unknown = next((role for role in roles if role not in _ROLES), None)
    if unknown is not None:
        wrong = f"has the role {unknown!r}; allowed: {', '.join(_ROLES)}"
    elif not roles or roles[-1] != "assistant":
        wrong = "does not end with a message of the assistant, which is what is learned; add the answer"
    elif not conversation[-1]["content"]:
        wrong = (
            "ends with an empty answer, from which nothing is learned; write the answer or leave the line out"
        )
    else:
        return
    raise PermanentProviderError(f"{field} line {line} {wrong} ({company})", field=field)
