"""What the code that runs now is about: known to log lines and measurements without being passed around.

Tasks inherit it from who starts them, so that what a look leaves to others is about the same object.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

from finetune_operator.lifecycle.store import Key

FIELDS = ("namespace", "sweep", "trial", "job", "provider")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_NAMES = {"FinetuneSweep": "sweep", "FinetuneTrial": "trial", "FinetuneProvider": "provider"}

_facts: ContextVar[Mapping[str, str]] = ContextVar("facts", default=_NOTHING)
_looking: ContextVar[bool] = ContextVar("looking", default=False)


def look_at(key: Key) -> None:
    """A worker looks at an object from here on."""
    _facts.set({"namespace": key.namespace, _NAMES[key.kind]: key.name})
    _looking.set(True)


def note(**facts: str | None) -> None:
    """Something more is known, by the names of `FIELDS`; None is not."""
    _facts.set({**_facts.get(), **{name: value for name, value in facts.items() if value}})


def leave_worker() -> None:
    """This task goes on by itself: no worker waits for it."""
    _looking.set(False)


def only_about(**facts: str) -> None:
    """This task goes on by itself, and is not about the object that made somebody start it."""
    leave_worker()
    _facts.set(facts)


def facts() -> Mapping[str, str]:
    """What is known of what runs now."""
    return _facts.get()


def is_worker() -> bool:
    """Whether a worker waits for what runs now."""
    return _looking.get()
