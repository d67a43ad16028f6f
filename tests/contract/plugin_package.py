"""The example of a provider in a package of its own, installed into a folder as a person would install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin-provider"


def install_plugin(target: Path) -> Path:
    """Install the example package into a folder, from its source and without a registry.

    Raises:
        AssertionError: It could not be built or installed; with what was said about it.
    """
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-cache",
        "--no-deps",
    ]
    done = subprocess.run(
        [*command, "--python", sys.executable, "--target", str(target), str(PACKAGE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target
