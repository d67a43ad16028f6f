"""Showing a sweep while it goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live

from finetune_operator.cli.lines import changes
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.tables import live_view

ROWS_TRIED: tuple[int, ...] = (20, 12, 8, 5, 3, 2, 1)


class Display(Protocol):
    """Where a sweep's course is shown."""

    def show(self, snapshot: Snapshot, *, hint: str = "") -> None:
        """Show a moment; `hint` says what a person may do now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was. May be called again."""
        ...


class LiveDisplay:
    """A table that is drawn anew in place; gone when it is closed."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._size = console.size
        self._rows_tried = ROWS_TRIED
        self._live.start()

    def show(self, snapshot: Snapshot, *, hint: str = "") -> None:
        """Draw the moment."""
        if self._live.is_started:
            self._live.update(self._fitting_view(snapshot, hint), refresh=True)

    def _fitting_view(self, snapshot: Snapshot, hint: str) -> RenderableType:
        """As many trials as the terminal has room for: what is cut off at the bottom is the best trial."""
        console = self._live.console
        if console.size != self._size:
            self._size, self._rows_tried = console.size, ROWS_TRIED
        while True:
            view = live_view(snapshot, hint=hint, rows=self._rows_tried[0])
            fits = len(console.render_lines(view, pad=False)) < console.height
            if fits or len(self._rows_tried) == 1:
                return view
            # What did not fit once is not tried again until the terminal has another size.
            self._rows_tried = self._rows_tried[1:]

    def close(self) -> None:
        """Take the table away and give the cursor back."""
        self._live.stop()


class LineDisplay:
    """A line for each change."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._last: Snapshot | None = None
        self._last_hint = ""

    def show(self, snapshot: Snapshot, *, hint: str = "") -> None:
        """Write what changed since the last moment."""
        for line in changes(self._last, snapshot):
            self._write(line)
        if hint and hint != self._last_hint:
            self._write(hint)
        self._last, self._last_hint = snapshot, hint

    def close(self) -> None:
        """Nothing to take away."""
