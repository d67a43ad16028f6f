"""A shell as a person has it who follows a page: a clone, the installed commands, kubectl and helm on the PATH."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.local_sweep import lines
from tests.contract.page_commands import ROOT
from tests.contract.tiny_model import write_tiny_model

from finetune_operator.resources import dump_yaml, load_yaml_documents

SCRIPTS = {"finetune": "main", "kubectl-finetune": "kubectl_main"}
LONGEST_S = 300.0


@dataclass
class PageShell:
    """Runs commands in a folder.

    Attributes:
        folder: The clone: it has the files that pages name.
        environment: What a command sees beside the PATH.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def over_a_clone(cls, folder: Path, **tools: Path) -> PageShell:
        """A folder with links to this clone's, and with the tools of these names on the PATH."""
        folder.mkdir(parents=True)
        for name in ("crds", "charts", "docs", "README.md"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "examples").mkdir()
        for each in (ROOT / "examples").iterdir():
            (folder / "examples" / each.name).symlink_to(each)
        scripts = folder / ".venv" / "bin"
        scripts.mkdir(parents=True)
        for name, function in SCRIPTS.items():
            places = [
                str(ROOT / "operator"),
                str(ROOT / "providers"),
                str(ROOT / "examples" / "plugin-provider"),
            ]
            (scripts / name).write_text(
                f"#!{sys.executable}\nimport sys\nsys.path[:0] = {places!r}\n"
                f"from finetune_operator.cli import {function}\n{function}()\n"
            )
            (scripts / name).chmod(0o755)
        for name, tool in tools.items():
            (scripts / name).symlink_to(tool)
        return cls(folder)

    def replace_example(self, name: str, text: str) -> None:
        """Have an example differ from the clone's."""
        (self.folder / "examples" / name).unlink()
        (self.folder / "examples" / name).write_text(text, "utf-8")

    def __call__(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; an AssertionError says what went wrong."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{command}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done

    def variables(self) -> Mapping[str, str]:
        """The environment of its commands."""
        return {
            "PATH": f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.folder),
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            **self.environment,
        }

    def background(self, command: str, *, log: Path) -> subprocess.Popen[bytes]:
        """Start a command that goes on until it is stopped."""
        with log.open("ab") as out:
            return subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self.variables(), stdout=out, stderr=out
            )


def quick_quickstart(folder: Path) -> str:
    """The quickstart with another model, less data and fewer trials; all else is as in the file."""
    documents = load_yaml_documents((ROOT / "examples" / "quickstart.yaml").read_text("utf-8"))
    model = write_tiny_model(folder / "model")
    for document in documents:
        if document["kind"] == "FinetuneSweep":
            document["spec"]["candidates"][0]["baseModels"] = [str(model)]
            document["spec"]["search"]["initialTrials"] = 2
            document["spec"]["limits"] = {"maxTrials": 3, "parallelTrials": 2}
        if document["kind"] == "ConfigMap":
            document["data"] = dict.fromkeys(document["data"], lines(repeat=2))
    return "---\n".join(map(dump_yaml, documents))
