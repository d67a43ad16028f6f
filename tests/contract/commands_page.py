"""The commands of `docs/cli.md` and what they are said to print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COLUMNS = 100

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILES = ("plan ", "run ")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command and its output.

    Attributes:
        command: What is typed.
        output: What is printed; `…` stands for anything, and alone on a line for any lines.
    """

    command: str
    output: str

    @property
    def local(self) -> bool:
        """Whether it needs no cluster."""
        return "--state" in self.command or self.command.removeprefix("finetune ").startswith(_FILES)

    def matches(self, printed: str) -> bool:
        """Whether something that was printed is what the page shows."""
        parts = []
        for line in self.output.splitlines():
            if line == "…":
                parts.append(r"(?:.*\n)*?")
            else:
                parts.append(".*?".join(map(re.escape, line.rstrip().split("…"))) + r"\n")
        lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        return re.fullmatch("".join(parts), lines) is not None


def shown_commands() -> list[Shown]:
    """All commands of the page, in its order."""
    found = []
    for block in _BLOCK.findall(PAGE.read_text("utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Shown(command, output))
    return found
