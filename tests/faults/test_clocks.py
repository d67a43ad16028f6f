"""Clocks that differ: what one operator dated is read by another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.faults.cluster_api import Raw
from tests.faults.endings import ends_well
from tests.faults.moments import When, step
from tests.faults.world import World


@pytest.mark.parametrize("kind", ["OpenAI", "Bedrock"])
@pytest.mark.parametrize("skew", [timedelta(hours=-2), timedelta(hours=2)], ids=["behind", "ahead"])
def test_a_purchase_that_was_dated_by_a_wrong_clock_is_not_made_again(
    world: World, kind: str, skew: timedelta
) -> None:
    world.person.patient = False
    world.apply(kind, trials=1)
    # For three seconds no list shows what was sold: who trusts the date alone might think that nothing was.
    world.servers[kind].list_lag_s = 1500.0
    trap = world.moments.at(step("create", When.DONE), world.kill)
    assert world.run(lambda: trap.wait(0.0))

    def dated(trial: Raw) -> Raw:
        at = (datetime.now(UTC) + skew).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"status": {"create": {"at": at}}}

    (trial,) = world.trials()
    world.api.change_until_taken("FinetuneTrial", trial["metadata"]["name"], dated, part="status")
    ends_well(world, trap)
    assert len(world.servers[kind].jobs) == 1
