"""Ends a control plane whose owner is gone, even if that was killed.

The owner holds the other end of this process's standard input. The kernel closes it when the owner ends,
however it ends, so that an interrupted test session leaves no server behind.
"""

import shutil
import sys
from pathlib import Path

from controlplane.processes import kill_recorded


def main() -> None:
    """Waits for the owner's end, then ends what the folder's pid files name and drops the data."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    kill_recorded(folder)
    shutil.rmtree(folder / "etcd", ignore_errors=True)


if __name__ == "__main__":
    main()
