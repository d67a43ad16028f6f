"""The real helm, away from the configuration of whoever runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Values = Mapping[str, Any]
# The same loader in C where it is there: the CRDs are long.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CHART = Path(__file__).resolve().parents[2] / "charts" / "finetune-operator"


class HelmError(AssertionError):
    """Helm ended with an error; holds what it said."""


class Helm:
    """Runs helm.

    Attributes:
        binary: The file.
    """

    def __init__(self, binary: Path, home: Path) -> None:
        """Names the binary and a folder for its configuration, which it fills."""
        self.binary = binary
        self._home = home
        self._rendered: dict[str, str] = {}

    def __call__(self, *arguments: str, kubeconfig: Path | None = None, values: Values | None = None) -> str:
        """Runs helm and returns what it says.

        Args:
            *arguments: As on the command line.
            kubeconfig: Whose credentials; none for commands that need no cluster.
            values: Values in place of the chart's.

        Raises:
            HelmError: It failed.
        """
        given = ("--values=-",) if values is not None else ()
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
            "KUBECONFIG": str(kubeconfig or self._home / "no-kubeconfig"),
        }
        done = subprocess.run(
            [str(self.binary), *arguments, *given],
            input=json.dumps(values) if values is not None else "",
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise HelmError(f"helm {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def render(
        self, values: Values | None = None, *, release: str = "finetune-operator", namespace: str = "finetune"
    ) -> list[dict[str, Any]]:
        """The objects that a release would have; the text is rendered once and read anew each time."""
        arguments = ("template", release, str(CHART), f"--namespace={namespace}")
        key = json.dumps([arguments, values or {}])
        if key not in self._rendered:
            self._rendered[key] = self(*arguments, values=values or {})
        return [each for each in yaml.load_all(self._rendered[key], Loader=_LOADER) if each]
