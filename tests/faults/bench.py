"""Kills operators at random moments, a thousand times, and counts what went wrong: `make bench-faults`.

Every write to the API server and every call to a company is as likely a moment as any other, before it is carried out
and after. A fifth of the kills come by the clock instead, whatever goes on then, and every second round is
`finetune run` over a folder. What a person is asked is answered as the company's console says.

The seed chooses providers and moments. Two runs of one seed differ all the same, as threads and processes do.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.folder_world import FolderWorld
from tests.faults.moments import Moment, Moments
from tests.faults.nursery import Nursery
from tests.faults.oracle import Findings
from tests.faults.report import write_report
from tests.faults.world import World

from controlplane.binaries import ensure_binaries
from controlplane.plane import ControlPlane

FOLDER = ("folder",)
ROUNDS = (
    *(("OpenAI", "Bedrock"), FOLDER),
    *(("AzureOpenAI", "Cohere"), FOLDER),
    *(("VertexAI", "GoogleAIStudio"), FOLDER),
    *(("OpenAI", "AzureOpenAI"), FOLDER),
    *(("Bedrock", "VertexAI"), FOLDER),
    *(("Cohere", "GoogleAIStudio"), FOLDER),
)
MOMENTS_BETWEEN_KILLS = 16.0
BY_THE_CLOCK = 0.2
CRDS = Path(__file__).parents[2] / "crds"


@dataclass
class Tally:
    """What all rounds came to.

    Attributes:
        kills: Processes that were killed at work.
        stores: Kills by the store over which the process worked.
        where: Kills by the place at which it was seen, or by the clock.
        steps: Kills by what was called.
        rounds: Sweeps that were begun, by type of provider.
        trials: Trials in all.
        jobs: Jobs that were sold in all.
        asked: Questions to a person.
        findings: What went wrong.
    """

    kills: int = 0
    stores: Counter[str] = field(default_factory=Counter)
    where: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    jobs: int = 0
    asked: int = 0
    findings: Findings = field(default_factory=Findings)


def _counts(moment: Moment) -> bool:
    """Not what an operator reads when it starts, which would be most of its moments."""
    return moment.place != "api" or moment.call.method != "GET"


class Killer:
    """Kills at random, again after each start."""

    def __init__(
        self, world: World | FolderWorld, moments: Moments, rng: random.Random, tally: Tally
    ) -> None:
        self._world, self._moments, self._rng, self._tally = world, moments, rng, tally
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """A process was started: choose when it dies."""
        self.end()
        if self._rng.random() < BY_THE_CLOCK:
            self._timer = threading.Timer(self._rng.uniform(0.05, 2.5), self._by_the_clock)
            self._timer.start()
            return
        between = MOMENTS_BETWEEN_KILLS if isinstance(self._world, World) else MOMENTS_BETWEEN_KILLS / 3
        skip = int(self._rng.expovariate(1 / between))
        self._moments.at(_counts, self._at_a_moment, skip=skip)

    def end(self) -> None:
        """Kill no more."""
        self._moments.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _by_the_clock(self) -> None:
        if self._world.kill():
            self._note("by the clock", "between two calls")

    def _at_a_moment(self, moment: Moment) -> bool:
        if not self._world.kill():
            return False
        self._note(
            "at the API server" if moment.place == "api" else "at a company", f"{moment.step}, {moment.when}"
        )
        return True

    def _note(self, where: str, what: str) -> None:
        self._tally.kills += 1
        store = (
            "`finetune operator` on a real API server"
            if isinstance(self._world, World)
            else "`finetune run` on a folder"
        )
        self._tally.stores[store] += 1
        self._tally.where[where] += 1
        self._tally.steps[what] += 1


def cluster_round(
    plane: ControlPlane,
    nursery: Nursery,
    folder: Path,
    *,
    kinds: tuple[str, ...],
    rng: random.Random,
    tally: Tally,
) -> None:
    """Sweeps at some companies, whose operator is killed again and again until they end."""
    with World(plane, nursery, folder) as world:
        world.apply(*kinds, trials=rng.randint(3, 5), parallel=rng.randint(1, 3))
        killer, last = Killer(world, world.moments, rng, tally), None

        def again() -> None:
            nonlocal last
            if world.operator is not last:
                last = world.operator
                killer.begin()

        ended = world.run(within_s=600.0, look=again)
        killer.end()
        # Nobody is killed any more: what stands still now stands still for ever.
        ended = ended or world.run(within_s=120.0)
        found = world.judge()
        if not ended:
            found.stuck.append(f"{kinds}: {world.states()}\n{world.log()}")
        tally.findings.add(found)
        tally.rounds.update(kinds)
        tally.trials += len(world.trials())
        tally.jobs += sum(len(server.jobs) for server in world.servers.values())
        tally.asked += len(world.person.asked)


def folder_round(nursery: Nursery, folder: Path, *, rng: random.Random, tally: Tally) -> None:
    """A sweep of `finetune run`, which is killed again and again until it ends."""
    kind = rng.choice(["OpenAI", "Bedrock", "GoogleAIStudio", "Cohere"])
    with FolderWorld(kind, nursery, folder, trials=4, parallel=2) as world:
        killer = Killer(world, world.moments, rng, tally)
        ended = world.run(within_s=600.0, started=killer.begin)
        killer.end()
        ended = ended or world.run(within_s=120.0)
        found = world.judge()
        if not ended:
            found.stuck.append(f"folder with {kind}: exit codes {world.codes}")
        tally.findings.add(found)
        tally.rounds[f"{kind}, in a folder"] += 1
        tally.trials += len(world.trials())
        tally.jobs += len(world.server.jobs)
        tally.asked += len(world.asked)


def bench(kills: int, seed: int, *, nursery: Nursery, plane: ControlPlane, folder: Path) -> Tally:
    """Rounds until so many kills were made."""
    rng, tally, number = random.Random(seed), Tally(), 0
    began = time.monotonic()
    while tally.kills < kills:
        kinds = ROUNDS[number % len(ROUNDS)]
        place = folder / f"round-{number}"
        if kinds == FOLDER:
            folder_round(nursery, place, rng=rng, tally=tally)
        else:
            cluster_round(plane, nursery, place, kinds=kinds, rng=rng, tally=tally)
        number += 1
        print(
            f"round {number} ({', '.join(kinds)}): {tally.kills} kills, findings: {tally.findings}",
            flush=True,
        )
        write_report(tally, seed=seed, seconds=time.monotonic() - began)
    return tally


def main() -> int:
    """Run the benchmark; the exit code is 1 where anything went wrong."""
    kills, seed = int(os.environ.get("KILLS", "1000")), int(os.environ.get("SEED", "1"))
    binaries = ensure_binaries(notify=lambda text: print(text, flush=True))
    with tempfile.TemporaryDirectory(prefix="faults-") as name, Nursery() as nursery:
        folder = Path(name)
        plane = ControlPlane.create(folder / "plane", binaries)
        plane.start(CRDS, guarded=True)
        try:
            tally = bench(kills, seed, nursery=nursery, plane=plane, folder=folder)
        finally:
            plane.stop()
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
