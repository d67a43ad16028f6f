"""How a scenario must end."""

from __future__ import annotations

from tests.contract.patience import PATIENCE_S
from tests.faults.cluster_api import Raw
from tests.faults.companies import deployments, is_running, jobs_by_run_key, uploads
from tests.faults.moments import Trap
from tests.faults.world import World


def ends_well(
    world: World, *traps: Trap, within_s: float = PATIENCE_S, data_may_stay: bool = False
) -> list[Raw]:
    """All sweeps end and every trap was sprung; nothing was bought twice, lost or leaked, nobody is stuck.

    Returns:
        The trials.
    """
    ended = world.run(lambda: world.settled() and all(trap.wait(0.0) for trap in traps), within_s=within_s)
    waiting = [trap for trap in traps if not trap.sprung]
    assert not waiting, f"never seen; seen: {sorted(map(str, world.moments.seen))}\n{world.log()}"
    assert ended, f"stuck: {world.states()}\n{world.log()}"
    findings = world.judge(data_may_stay=data_may_stay)
    assert not findings, f"{findings}\n{world.log()}"
    return world.trials()


def nothing_goes_on(world: World) -> None:
    """No company works for anybody, keeps anything, or was paid twice for one trial."""
    for kind, server in world.servers.items():
        going = [job.job_id for job in server.jobs.values() if is_running(server, job)]
        assert (kind, going, deployments(server), uploads(server)) == (kind, [], [], []), world.log()
        twice = [key for key, jobs in jobs_by_run_key(server).items() if len(jobs) > 1]
        assert not twice, world.log()
