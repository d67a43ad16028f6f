"""The real promtool: Prometheus' own opinion of metrics and rules."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Promtool:
    """Runs promtool."""

    def __init__(self, binary: Path) -> None:
        """Names the binary."""
        self._binary = binary

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Runs it and returns what it says; AssertionError with that where it finds anything."""
        done = subprocess.run(
            [str(self._binary), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"promtool {' '.join(arguments)}: {said}"
        return said
