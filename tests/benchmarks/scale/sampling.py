"""The `finetune` command with somebody who looks a hundred times a second at what its threads do.

What they do is in `samples.txt` where it ran, at the end: by function alone, and with what is below it. A thread that
waits does nothing; what happens in C without Python's lock counts for the Python function that called it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_S = 0.01
_WAITS = frozenset(
    {"select", "poll", "wait", "_wait_for_tstate_lock", "accept", "get", "_worker", "_recv", "sleep", "watch"}
)
_MOST = 120


class Sampler(threading.Thread):
    """Looks until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="sampler")
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look."""
        while not self._stopped.wait(EVERY_S):
            for thread, frame in sys._current_frames().items():
                if thread != threading.get_ident() and frame.f_code.co_name not in _WAITS:
                    self._note(frame)

    def _note(self, frame: FrameType) -> None:
        stack = []
        here: FrameType | None = frame
        while here is not None:
            code = here.f_code
            stack.append(f"{'/'.join(Path(code.co_filename).parts[-3:])}:{code.co_name}")
            here = here.f_back
        self.own[stack[0]] += 1
        self.within.update(set(stack))
        self.stacks[tuple(stack[:14])] += 1

    def write(self, file: Path) -> None:
        """Write down what was seen."""
        self._stopped.set()
        everything = sum(self.own.values()) or 1
        with file.open("w", encoding="utf-8") as out:
            for title, counter in (("alone", self.own), ("with what is below", self.within)):
                print(f"== {title} ({everything} samples)", file=out)
                for name, count in counter.most_common(_MOST):
                    print(f"{100 * count / everything:5.1f} %  {name}", file=out)
            print("== stacks", file=out)
            for stack, count in self.stacks.most_common(_MOST // 2):
                print(f"{100 * count / everything:5.1f} %  {' < '.join(stack)}", file=out)


def main() -> None:
    """Run the command."""
    from finetune_operator.cli import main as finetune

    sampler = Sampler()
    sampler.start()
    time.sleep(0.0)
    try:
        finetune(prog_name="finetune")
    finally:
        sampler.write(Path("samples.txt"))


if __name__ == "__main__":
    main()
