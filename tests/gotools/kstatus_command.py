"""What Flux makes of objects, by the library that Flux uses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class KStatus:
    """Computes the status that decides whether a Kustomization of Flux waits, goes on or fails."""

    def __init__(self, binary: Path) -> None:
        """Names the binary."""
        self._binary = binary

    def __call__(self, manifests: Iterable[Mapping[str, Any]]) -> list[str]:
        """The status of each object: Current, InProgress, Failed or Terminating."""
        lines = "".join(f"{json.dumps(manifest)}\n" for manifest in manifests)
        done = subprocess.run(
            [str(self._binary)], input=lines, capture_output=True, text=True, timeout=300, check=True
        )
        return [json.loads(line)["status"] for line in done.stdout.splitlines()]
