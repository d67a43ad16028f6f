"""How far one operator goes: `make bench-operator`.

Sweeps are created on a real API server, served by the operator's real process, and trained by a company that trains at
once or slowly. Counted are requests, latencies, CPU and memory; see `docs/benchmarks.md`.

`SIZES` says how many sweeps (`1 100 1000`), `CASES` picks cases by a part of their name. The operator's process id is
printed, so that a profiler can be led to it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.scale.cases import Case, cases
from tests.benchmarks.scale.measuring import measure
from tests.benchmarks.scale.report import write_report
from tests.benchmarks.scale.world import ROOT, World

from controlplane.binaries import ensure_binaries
from controlplane.plane import ControlPlane

CRDS = ROOT / "crds"
RESULTS = ROOT / ".cache" / "bench-operator"


def main() -> int:
    """Run the benchmark."""
    sizes = [int(each) for each in os.environ.get("SIZES", "1 100 1000").split()]
    wanted = os.environ.get("CASES", "")
    binaries = ensure_binaries(notify=lambda text: print(text, flush=True))
    RESULTS.mkdir(parents=True, exist_ok=True)
    for case in cases(sizes):
        if wanted not in case.name:
            continue
        # Each has an API server of its own: what one leaves behind does not burden the next.
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            plane = ControlPlane.create(Path(name) / "plane", binaries)
            plane.start(CRDS, guarded=True)
            try:
                with World(plane, Path(name) / "world", case) as world:
                    figures = measure(world)
            finally:
                plane.stop()
        print(json.dumps(figures, indent=1), flush=True)
        _file(case).write_text(json.dumps(figures, indent=1), "utf-8")
    # With what was measured before, so that a case may be measured anew alone.
    known = [_file(case) for case in cases(sizes) if _file(case).exists()]
    write_report([json.loads(file.read_text("utf-8")) for file in known])
    return 0


def _file(case: Case) -> Path:
    return RESULTS / f"{case.name.replace(' ', '-').replace(',', '')}.json"


if __name__ == "__main__":
    sys.exit(main())
