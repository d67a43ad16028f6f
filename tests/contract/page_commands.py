"""Commands and manifests of all pages, and which of the commands cannot be run by a test.

Each command stands in a fenced block `sh`, and is either run, with the others of its page and in their order, by
`tests/cluster/test_page_commands.py` (a cluster) or `tests/unit/test_page_commands.py` (a folder), or named in
`NOT_RUN`, with the reason. `docs/cli.md` shows outputs too, in blocks `console`: `commands_page.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md"))),
    "charts/finetune-operator/README.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "examples").rglob("*.md"))),
]
RUN_ON_A_CLUSTER = (
    "README.md",
    "docs/getting-started.md",
    "docs/result.md",
    "charts/finetune-operator/README.md",
)
RUN_IN_A_FOLDER = ("docs/report.md", "examples/plugin-provider/README.md")
WITH_OUTPUT = "docs/cli.md"

NOT_RUN: Mapping[str, str] = {
    "make ": "installs, or takes minutes to hours; make itself is asked whether it knows how (make -n)",
    ".venv/bin/pre-commit install": "changes the clone's Git hooks; its configuration is a file of the repository",
    "pip install ": "changes an environment; what is installed is looked up: an extra, or a folder",
    "docker build ": "needs a container engine; file and target are looked up",
    "podman build ": "needs a container engine; file and target are looked up",
    "podman push ": "needs a registry; the image is one that the page builds",
    "kind ": "needs a container engine",
}
"""Beginnings of commands, and why no test runs them."""

LANGUAGES = {"sh", "console", "yaml", "python", "toml", "dockerfile", "json", "csv", ""}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: on which page, in which language, with which text."""

    page: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command, without its comment, and with its continued lines as one."""

    page: str
    text: str

    @property
    def not_run(self) -> str:
        """The beginning in `NOT_RUN` that it has, or nothing."""
        return next((each for each in NOT_RUN if self.text.startswith(each)), "")


def blocks_of(page: str, text: str) -> list[Block]:
    """All fenced blocks of a page's text."""
    return [Block(page, language, body) for language, body in _BLOCK.findall(text)]


def all_blocks() -> list[Block]:
    """Those of all pages."""
    return [block for page in PAGES for block in blocks_of(page, (ROOT / page).read_text("utf-8"))]


def commands_of(block: Block) -> list[Command]:
    """The commands of a block for the shell."""
    text = block.text.replace("\\\n", " ")
    lines = (re.sub(r"(?:^|\s+)# .*$", "", line).strip() for line in text.splitlines())
    return [Command(block.page, re.sub(r"\s+", " ", line)) for line in lines if line]


def all_commands() -> list[Command]:
    """Those of all pages, in their order."""
    return [command for block in all_blocks() if block.language == "sh" for command in commands_of(block)]
