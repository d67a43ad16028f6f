"""Makes docs/images/run.png: `finetune run` of the quickstart, as a terminal shows it in the middle of the sweep.

`PYTHONPATH=. .venv/bin/python docs/terminal_picture.py` runs the sweep to its end, some minutes, in a terminal of tmux
and draws what stands on its screen with the browser of the tests. Needs tmux and a monospaced font.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from tests.browser.chromium import ensure_chromium
from tests.browser.session import browser_page

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "run.png"
COMMAND = "finetune run examples/quickstart.yaml"
ENDED = 5
"""How many of the 8 trials have ended on the picture."""
COLUMNS, LINES = 92, 30
WIDTH = 1320
LONGEST_S = 3600
_THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
_PAGE = """<!DOCTYPE html><meta charset="utf-8"><title>{command}</title><style>
body {{ margin: 0; background: #0d1117; color: #e6edf3 }}
pre {{ margin: 0; padding: 30px 38px; font: 22px/1.35 "DejaVu Sans Mono", monospace }}
</style><body data-drawn="yes"><pre>{text}</pre></body>"""


class NoPictureError(Exception):
    """The sweep ended, or took too long, before the moment of the picture."""


def screen_in_the_middle() -> str:
    """Run the sweep in a terminal of its own; its screen, escapes included, when `ENDED` trials had ended, and no more.

    Raises:
        NoPictureError: It never came to that.
    """
    with tempfile.TemporaryDirectory(prefix="picture-") as folder:
        tmux = ["tmux", "-S", f"{folder}/socket", "-f", "/dev/null"]
        shell = f"echo '$ {COMMAND}'; {COMMAND} --state {folder}/state"
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        environment = {key: value for key, value in os.environ.items() if key != "TMUX"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        subprocess.run([*tmux, "new-session", "-d", *size, shell], cwd=ROOT, env=environment, check=True)  # noqa: S603
        found = ""
        until = time.monotonic() + LONGEST_S
        try:
            while time.monotonic() < until:
                done = subprocess.run(  # noqa: S603
                    [*tmux, "capture-pane", "-e", "-p"], capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    break
                if f"\ntrials {ENDED} of " in re.sub(r"\x1b\[[\d;]*m", "", done.stdout):
                    found = done.stdout
                time.sleep(2)
        finally:
            subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)  # noqa: S603
    if not found:
        raise NoPictureError(f"`{COMMAND}` was never seen with {ENDED} trials that have ended")
    return found


def page(screen: str) -> str:
    """A page with the screen's text in the terminal's colours, without the empty lines below it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen.rstrip()), highlight=False)
    return console.export_html(
        theme=_THEME,
        inline_styles=True,
        code_format=_PAGE.replace("{text}", "{code}").replace("{command}", COMMAND),
    )


async def draw(html: str, picture: Path, *, width: int) -> None:
    """Write the picture of a page that says `data-drawn` when it is ready."""
    with tempfile.TemporaryDirectory(prefix="picture-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(html, encoding="utf-8")
        async with browser_page(ensure_chromium()) as opened:
            await opened.open(file)
            await opened.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=900,
                deviceScaleFactor=1,
                mobile=False,
            )
            height = await opened.value("Math.ceil(document.body.getBoundingClientRect().height)")
            await opened.screenshot(picture, width=width, height=height)


def main() -> None:
    """Run, draw, write."""
    asyncio.run(draw(page(screen_in_the_middle()), PICTURE, width=WIDTH))


if __name__ == "__main__":
    main()
