"""Tables that fit a terminal: the last column takes what room is left, and goes where there is none."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000
_LEAST_ROOM = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

MakeTable = Callable[[int | None], Table]
"""Makes a table whose last column has a width; None leaves it out, to see how wide the others are, and 0 for good."""


class FittingTable:
    """The first of several forms that fits, with as much of its last column as there is room for."""

    def __init__(self, forms: Sequence[MakeTable]) -> None:
        """Take over the forms.

        Args:
            forms: From the one that is liked best to the narrowest.
        """
        self._forms = forms

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        bare = [(form, self._room(console, options, form)) for form in self._forms]
        for least in (_LEAST_ROOM, 0):
            for form, room in bare:
                if room >= least:
                    yield form(room if room >= _LEAST_ROOM else 0)
                    return
        yield self._forms[-1](0)

    @staticmethod
    def _room(console: Console, options: ConsoleOptions, form: MakeTable) -> int:
        unbounded = options.update(max_width=_UNBOUNDED)
        return options.max_width - 1 - Measurement.get(console, unbounded, form(None)).maximum


def plain_table() -> Table:
    """A table without lines, as kubectl prints them."""
    return Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")


def add_last_column(table: Table, name: str, room: int | None) -> None:
    """Add the column that takes the room that is left."""
    if room:
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=room)


def output_console() -> Console:
    """The standard output; a pipe has no width, unless COLUMNS gives it one."""
    console = Console()
    if console.is_terminal or os.environ.get("COLUMNS"):
        return console
    return Console(width=_UNBOUNDED)


def plain(text: str | None, style: str = "") -> Text:
    """A text from outside on one line: what would steer a terminal becomes a space."""
    return Text(_CONTROL.sub(" ", text or ""), style=style)
