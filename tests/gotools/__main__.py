"""Builds what tests need: `python -m gotools`, with `tests/` on the path."""

import sys

from controlplane.errors import ControlPlaneError
from gotools import ensure_tool


def main() -> int:
    """Builds each tool unless it is there; 1 if one cannot be had."""
    try:
        for tool in ("helm", "kstatus", "promtool", "controller-gen"):
            print(ensure_tool(tool, notify=lambda message: print(message, flush=True)))
    except ControlPlaneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
