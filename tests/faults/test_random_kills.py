"""The same rounds as `make bench-faults`, with a few kills each."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.faults.bench import ROUNDS, Round, Tally, one_round
from tests.faults.nursery import Nursery

from controlplane.plane import ControlPlane

KILLS = 4


@pytest.mark.parametrize(
    "number", range(len(ROUNDS)), ids=[f"{each.how}-{'-'.join(each.kinds)}" for each in ROUNDS]
)
def test_whatever_dies_nothing_is_bought_twice_lost_or_left(
    control_plane: ControlPlane, nursery: Nursery, tmp_path: Path, number: int
) -> None:
    which: Round = ROUNDS[number]
    tally = Tally()
    one_round(
        which,
        most=KILLS,
        rng=random.Random(number),
        tally=tally,
        plane=control_plane,
        nursery=nursery,
        folder=tmp_path,
    )
    assert not tally.findings, tally.findings
    assert tally.jobs <= tally.trials
    assert sum(tally.sweeps.values()) == len(which.kinds)
