"""What a person is told about a field, in place of the validation library's own words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from finetune_operator.resources.patterns import MAY_HOLD_SECRETS, MEANINGS

_LONGEST_INPUT = 40
_LONGEST_NAME = 80
_WHOLE_NUMBER = "must be a whole number, written without quotes"
_FIELDS = "must be a mapping of fields"

_PLAIN = {
    "missing": "is required",
    "int_type": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number, written without quotes",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false, written without quotes",
    "string_type": 'must be a text: put it in quotes, such as "8"',
    "string_unicode": "must be a text of valid Unicode",
    "model_type": _FIELDS,
    "model_attributes_type": _FIELDS,
    "dict_type": _FIELDS,
    "tuple_type": "must be a list",
    "invalid_key": "the name of a field must be a text",
    "recursion_loop": "must not contain itself",
}


def _choices(context: Mapping[str, Any]) -> str:
    choices = re.findall(r"'([^']*)'", context["expected"])
    return f"must be one of {', '.join(choices)}" if len(choices) > 1 else f"must be {choices[0]}"


def _shortest(context: Mapping[str, Any]) -> str:
    least = context["min_length"]
    return "must not be empty" if least == 1 else f"must be at least {least} characters long"


_WITH_CONTEXT: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "literal_error": _choices,
    "enum": _choices,
    "string_pattern_mismatch": lambda context: MEANINGS.get(
        context["pattern"], f"must match {context['pattern']}"
    ),
    "string_too_short": _shortest,
    "string_too_long": lambda context: f"must be at most {context['max_length']} characters long",
    "too_short": lambda context: f"give at least {context['min_length']}",
    "too_long": lambda context: f"give at most {context['max_length']}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "field_error": lambda context: str(context["message"]),
}
_SHOWS_INPUT = {"literal_error", "enum", "string_pattern_mismatch", "greater_than_equal", "less_than_equal"}


def message(details: ErrorDetails, known_fields: tuple[str, ...] = ()) -> str:
    """One validation error in words that say what is allowed.

    Args:
        details: The error as the validation library states it.
        known_fields: For an unknown field: the names that could have stood there.
    """
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_field(str(details["loc"][-1]), known_fields)
    context = details.get("ctx", {})
    if kind in _WITH_CONTEXT:
        text = _WITH_CONTEXT[kind](context)
    else:
        text = _PLAIN.get(kind, details["msg"].removeprefix("Value error, "))
    shows = kind in _SHOWS_INPUT and context.get("pattern") not in MAY_HOLD_SECRETS
    return text + _not_this(details["input"]) if shows else text


def shown(text: str) -> str:
    """A name that somebody chose, as it may stand in a message: not for ever, and nothing that cannot be written."""
    short = text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"
    return short if short.isprintable() else short.encode("unicode_escape").decode()


def _not_this(value: object) -> str:
    text = str(value) if isinstance(value, str | int | float) else ""
    return f", not {text}" if 0 < len(text) <= _LONGEST_INPUT and text.isprintable() else ""


def _unknown_field(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"unknown field: did you mean {near[0]}?"
    return f"unknown field: known here are {', '.join(sorted(known))}" if known else "unknown field"
