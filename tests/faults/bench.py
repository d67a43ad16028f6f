"""Kills operators at random moments, a thousand times, and counts what went wrong: `make bench-faults`.

Every write to the API server and every call to a company is as likely a moment as any other of its place, before it is
carried out and after. A fifth of the kills come by the clock instead, whatever goes on then. Rounds over a real API
server alternate with rounds of `finetune run` over a folder; in some, people delete the sweeps amid it all. What a
person is asked is answered as the company's console says.

The seed chooses moments. Two runs of one seed differ all the same, as threads and processes do.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.folder_world import FolderWorld
from tests.faults.local import LOCAL
from tests.faults.moments import Moment, Moments
from tests.faults.nursery import Nursery
from tests.faults.oracle import Findings
from tests.faults.report import write_report
from tests.faults.world import World

from controlplane.binaries import ensure_binaries
from controlplane.plane import ControlPlane

CLUSTER, DELETED, FOLDER = "cluster", "cluster, deleted", "folder"


@dataclass(frozen=True)
class Round:
    """Sweeps that live through kills.

    Attributes:
        how: Over which store, and whether the sweeps are deleted.
        kinds: The types of their providers.
    """

    how: str
    kinds: tuple[str, ...]


ROUNDS = (
    Round(CLUSTER, ("OpenAI", "Bedrock")),
    Round(FOLDER, ("OpenAI",)),
    Round(DELETED, ("Cohere", "VertexAI")),
    Round(FOLDER, ("Bedrock",)),
    Round(CLUSTER, ("AzureOpenAI", "Cohere")),
    Round(FOLDER, ("VertexAI",)),
    Round(CLUSTER, (LOCAL,)),
    Round(FOLDER, ("Cohere",)),
    Round(DELETED, ("OpenAI", "AzureOpenAI")),
    Round(FOLDER, ("GoogleAIStudio",)),
    Round(CLUSTER, ("VertexAI", "GoogleAIStudio")),
    Round(FOLDER, ("AzureOpenAI",)),
    Round(DELETED, ("Bedrock", "GoogleAIStudio")),
    Round(FOLDER, (LOCAL,)),
    Round(DELETED, (LOCAL,)),
)
BY_THE_CLOCK = 0.2
MOMENTS_BETWEEN_KILLS = 7.0
WITHIN_S, OF_LOCAL_WITHIN_S = 2.5, 10.0
"""How long a process may live whose death comes by the clock; libraries that train take seconds to load."""
LONG_TRAINING_S = 5000.0
PATIENCE_S = 600.0
CRDS = Path(__file__).parents[2] / "crds"


@dataclass
class Tally:
    """What all rounds came to.

    Attributes:
        kills: Processes that were killed at work.
        stores: Kills by the store over which the process worked.
        where: Kills by the place at which it was seen, or by the clock.
        steps: Kills by what was called.
        sweeps: Sweeps by the type of their provider and by how they lived.
        trials: Trials in all.
        jobs: Jobs that were sold in all.
        asked: Questions to a person.
        findings: What went wrong.
    """

    kills: int = 0
    stores: Counter[str] = field(default_factory=Counter)
    where: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    sweeps: Counter[tuple[str, str]] = field(default_factory=Counter)
    trials: int = 0
    jobs: int = 0
    asked: int = 0
    findings: Findings = field(default_factory=Findings)


def _writes(moment: Moment) -> bool:
    """Not what an operator reads when it starts, which would be most of its moments."""
    return moment.place == "api" and moment.call.method != "GET"


def _asks_a_company(moment: Moment) -> bool:
    return moment.place != "api"


class Killer:
    """Kills at random, again after each start, until it has killed often enough.

    Attributes:
        kills: How often it did.
    """

    def __init__(
        self,
        world: World | FolderWorld,
        kinds: tuple[str, ...],
        rng: random.Random,
        tally: Tally,
        *,
        most: int,
    ) -> None:
        self.kills = 0
        self._world, self._rng, self._tally, self._most = world, rng, tally, most
        self._moments: Moments = world.moments
        self._places: list[Callable[[Moment], bool]] = [_writes] if isinstance(world, World) else []
        self._places += [_asks_a_company] * (kinds != (LOCAL,))
        self._within_s = OF_LOCAL_WITHIN_S if kinds == (LOCAL,) else WITHIN_S
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """A process was started: choose when it dies."""
        self.end()
        if self.kills >= self._most:
            return
        if not self._places or self._rng.random() < BY_THE_CLOCK:
            self._timer = threading.Timer(self._rng.uniform(0.05, self._within_s), self._by_the_clock)
            self._timer.start()
            return
        skip = int(self._rng.expovariate(1 / MOMENTS_BETWEEN_KILLS))
        self._moments.at(self._rng.choice(self._places), self._at_a_moment, skip=skip)

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
        place = "at the API server" if moment.place == "api" else "at a company"
        self._note(place, f"{moment.step}, {moment.when}")
        return True

    def _note(self, where: str, what: str) -> None:
        self.kills += 1
        self._tally.kills += 1
        over_api = isinstance(self._world, World)
        command = "`finetune operator` on a real API server" if over_api else "`finetune run` on a folder"
        self._tally.stores[command] += 1
        self._tally.where[where] += 1
        self._tally.steps[what] += 1


def cluster_round(world: World, which: Round, *, most: int, rng: random.Random, tally: Tally) -> None:
    """Sweeps whose operator is killed again and again until they end, or are deleted and gone."""
    deleted = which.how == DELETED
    world.apply(*which.kinds, trials=rng.randint(2, 4), parallel=rng.randint(1, 3))
    for server in world.servers.values():
        server.training_s = LONG_TRAINING_S if deleted else server.training_s
    killer, last, enough = (
        Killer(world, which.kinds, rng, tally, most=most),
        None,
        rng.randint(1, max(1, most // 2)),
    )

    def again() -> None:
        nonlocal last
        if deleted and killer.kills >= enough:
            world.delete_sweeps()
        if world.operator is not last:
            last = world.operator
            killer.begin()

    ends = world.is_gone if deleted else world.settled
    ended = world.run(ends, within_s=PATIENCE_S, look=again)
    killer.end()
    # Nobody is killed any more: what stands still now stands still for ever.
    ended = ended or world.run(ends, within_s=120.0)
    found = world.judge_deletion() if deleted else world.judge()
    if not ended:
        found.stuck.append(f"{which}: {world.states()}\n{world.log()}")
    _enter(tally, which, found, trials=len(world.ever), jobs=sum(each.count for each in world.books()))
    tally.asked += len(world.person.asked)


def folder_round(world: FolderWorld, which: Round, *, most: int, rng: random.Random, tally: Tally) -> None:
    """A sweep of `finetune run`, which is killed again and again until it ends."""
    killer = Killer(world, which.kinds, rng, tally, most=most)
    ended = world.run(within_s=PATIENCE_S, started=killer.begin)
    killer.end()
    ended = ended or world.run(within_s=120.0)
    found = world.judge()
    if not ended:
        found.stuck.append(f"{which}: exit codes {world.codes}\n{world.log.read_text('utf-8')[-3000:]}")
    _enter(tally, which, found, trials=len(world.trials()), jobs=world.books().count)
    tally.asked += len(world.asked)


def _enter(tally: Tally, which: Round, found: Findings, *, trials: int, jobs: int) -> None:
    tally.findings.add(found)
    tally.sweeps.update((kind, which.how) for kind in which.kinds)
    tally.trials += trials
    tally.jobs += jobs


def one_round(
    which: Round,
    *,
    most: int,
    rng: random.Random,
    tally: Tally,
    plane: ControlPlane,
    nursery: Nursery,
    folder: Path,
) -> None:
    """One round with at most so many kills."""
    if which.how == FOLDER:
        (kind,) = which.kinds
        with FolderWorld(kind, nursery, folder, trials=rng.randint(3, 4), parallel=2) as in_folder:
            folder_round(in_folder, which, most=most, rng=rng, tally=tally)
    else:
        with World(plane, nursery, folder) as in_cluster:
            cluster_round(in_cluster, which, most=most, rng=rng, tally=tally)


def bench(kills: int, seed: int, *, nursery: Nursery, plane: ControlPlane, folder: Path) -> Tally:
    """Rounds until so many kills were made."""
    rng, tally, number = random.Random(seed), Tally(), 0
    began = time.monotonic()
    share = -(-kills // len(ROUNDS))
    while tally.kills < kills:
        which = ROUNDS[number % len(ROUNDS)]
        place = folder / f"round-{number}"
        # What one round could not use up, as its sweeps had ended, the next may.
        most = min(share * (number + 1) - tally.kills, kills - tally.kills) if number < len(ROUNDS) else share
        one_round(which, most=most, rng=rng, tally=tally, plane=plane, nursery=nursery, folder=place)
        number += 1
        print(f"round {number} ({which}): {tally.kills} kills, findings: {tally.findings}", flush=True)
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
