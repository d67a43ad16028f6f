"""What one line of a dataset must be.

One JSON object: `{"messages": [{"role": "system|user|assistant", "content": "..."}]}`. A system message may
stand first, then user and assistant take turns, user first, and the last word is the assistant's: it is the
answer that training teaches and evaluation expects. Unknown keys are refused, because providers would treat
them differently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from finetune_providers.base import Message

MAX_LINE_BYTES = 4 * 1024**2
ROLES = ("system", "user", "assistant")

_SHOWN_CHARACTERS = 40


def parse_messages(line: bytes | None) -> list[Message]:
    """The messages of a line.

    Args:
        line: The raw bytes; None for a line that was too long to be held.

    Raises:
        ValueError: What is wrong with it, for a person, without the data itself.
    """
    if line is None:
        raise ValueError(f"is longer than the {MAX_LINE_BYTES:,} bytes allowed for one example")
    example = _json(line)
    if not isinstance(example, dict):
        raise ValueError('must be a JSON object such as {"messages": [...]}')
    _only_keys(example, ("messages",), "")
    messages = example.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a list with at least a user's and an assistant's message")
    checked = [_message(place, message) for place, message in enumerate(messages)]
    _check_turns([message["role"] for message in checked])
    return checked


def _json(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start + 1}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON: {error.msg} (column {error.colno})") from None
    except (RecursionError, ValueError) as error:
        raise ValueError("is not valid JSON: nested too deep, or a number too long") from error


def _message(place: int, message: object) -> Message:
    where = f"messages[{place}]"
    if not isinstance(message, dict):
        raise ValueError(f"{where} must be an object with role and content")
    _only_keys(message, ("role", "content"), f"{where}.")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise ValueError(f"{where}.role must be one of {', '.join(ROLES)}, not {_shown(role)}")
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"{where}.content must be text that is not empty")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}.content holds half of a surrogate pair, which is no character") from None
    return Message(role=role, content=content)


def _only_keys(found: Mapping[str, object], allowed: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in allowed:
            raise ValueError(f"{where}{_shown(key)} is not known; allowed: {', '.join(allowed)}")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _check_turns(roles: list[str]) -> None:
    start = 1 if roles[0] == "system" else 0
    for place, role in enumerate(roles[start:], start=start):
        due = "user" if (place - start) % 2 == 0 else "assistant"
        if role != due:
            raise ValueError(
                f"messages[{place}].role must be {due}, not {role}: an optional system message, then "
                "user and assistant in turns, user first"
            )
    if roles[-1] != "assistant":
        raise ValueError("the last message must be the assistant's: it is the expected answer")
