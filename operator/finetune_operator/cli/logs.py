"""Log lines on standard error, for people or for a log store. Only commands ask for that, never a library module."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from finetune_operator.lifecycle import scene

LogFormat = Literal["text", "json"]
_OWN = ("finetune_operator", "finetune_providers")
_ATTRIBUTE = "finetune_scene"


class Scene(logging.Filter):
    """Remembers with a line what the code that wrote it was about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every line pass."""
        setattr(record, _ATTRIBUTE, scene.facts())
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and the fields of `scene` that are known.

    Whatever else libraries put into a record stays out: it was made for their own eyes, and may hold anything.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        known = getattr(record, _ATTRIBUTE, {})
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: known[name] for name in scene.FIELDS if name in known},
        }
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: int, *, form: LogFormat = "text", libraries: bool = False) -> None:
    """Show log lines in place of those that were shown before.

    Args:
        level: From which level up our own lines are shown; a lower one that was asked for before stays.
        form: How a line is written.
        libraries: Show other packages' lines too, from warnings up, in the same form.
    """
    handler = logging.StreamHandler()
    handler.set_name(__name__)
    handler.addFilter(Scene())
    handler.setFormatter(
        JsonLines()
        if form == "json"
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    own = [logging.getLogger(name) for name in _OWN]
    for logger in (*own, logging.getLogger()):
        for before in [each for each in logger.handlers if each.get_name() == __name__]:
            logger.removeHandler(before)
    for logger in own:
        logger.setLevel(min(level, logger.level or level))
    for logger in [logging.getLogger()] if libraries else own:
        logger.addHandler(handler)
