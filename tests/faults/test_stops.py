"""SIGTERM, as a rollout or a drained node sends it: what is under way is finished and written down."""

from __future__ import annotations

import pytest
from tests.contract.patience import PATIENCE_S
from tests.faults.endings import ends_well
from tests.faults.moments import Moment, When, step
from tests.faults.world import World


@pytest.mark.parametrize("kind", ["OpenAI", "Cohere"])
def test_a_create_call_that_is_under_way_at_a_stop_is_finished_and_journaled(world: World, kind: str) -> None:
    lived_on: list[bool] = []

    def stop(_: Moment) -> bool:
        assert world.operator is not None
        lived_on.append(not world.operator.stop(within_s=0.5))
        return False

    trap = world.moments.at(step("create", When.DONE), stop)
    world.apply(kind, trials=1)
    world.start()
    assert world.run(lambda: trap.wait(0.0), start=False), world.log()
    stopped = world.operator
    assert stopped is not None
    assert stopped.wait(PATIENCE_S), world.log()
    assert (lived_on, stopped.exit_code) == ([True], 0), world.log()
    (job,) = world.servers[kind].jobs
    (trial,) = world.trials()
    entry = trial["status"]["create"]
    assert (entry["state"], entry["attempt"]) == ("Succeeded", 1)
    assert entry["externalId"].endswith(job)
    ends_well(world, trap)
    assert len(world.servers[kind].jobs) == 1
    assert world.person.asked == {}
