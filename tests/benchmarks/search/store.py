"""Results, one JSON line a sweep, in a file for each problem; what did not change is not computed anew."""

import json
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.search.arena import VERSION, Sweep
from tests.benchmarks.search.methods import version_of
from tests.benchmarks.search.problem import Problem

FOLDER = Path(__file__).parents[3] / ".cache/bench-search"


class Store:
    """The results of one problem that are still valid.

    Args:
        problem: The problem.
    """

    def __init__(self, problem: Problem, folder: Path = FOLDER) -> None:
        self._problem = problem
        self._path = folder / f"{problem.name.replace('/', '-')}.jsonl"
        self._found: dict[str, Sweep] = {}
        self._versions: dict[str, str] = {}
        if self._path.exists():
            text = self._path.read_text("utf-8")
            if text and not text.endswith("\n"):
                with self._path.open("a", encoding="utf-8") as file:
                    file.write("\n")
            for line in text.splitlines():
                # A line that was cut off by the end of the process is computed again.
                if line.endswith("}}"):
                    record = json.loads(line)
                    self._found[record["key"]] = Sweep(**record["sweep"])

    def get(self, method: str, mode: str, seed: int) -> Sweep | None:
        """The result, None if there is none or something it depends on changed."""
        return self._found.get(self._key(method, mode, seed))

    def put(self, method: str, mode: str, seed: int, sweep: Sweep) -> None:
        """Keep a result."""
        key = self._key(method, mode, seed)
        self._found[key] = sweep
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "sweep": asdict(sweep)}) + "\n")

    def _key(self, method: str, mode: str, seed: int) -> str:
        if method not in self._versions:
            self._versions[method] = version_of(method)
        return f"{VERSION}/{self._problem.fingerprint}/{method}/{self._versions[method]}/{mode}/{seed}"
