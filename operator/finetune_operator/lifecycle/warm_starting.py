"""Taking from earlier sweeps what a new one learns, once and before its first trial."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from finetune_operator.decisions import build_space, refused_status, validating_status
from finetune_operator.decisions.warm_start import Earlier, learn
from finetune_operator.errors import InvalidManifest, Problem, SweepError
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, SweepStatus
from finetune_operator.resources.sweep_status import DatasetHashes, EarlierSweep


class WarmStartNotReady(SweepError):
    """An earlier sweep is not there or not at its end; it may come to be.

    Attributes:
        field: The path of the reference.
        why: What is waited for.
        again_after_s: Seconds after which to look again: no change of this sweep tells of it.
    """

    again_after_s = 30.0

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class WarmStartCycle(WarmStartNotReady):
    """An earlier sweep waits for this one in its turn: neither begins before a person mends it."""


def waiting_status(sweep: FinetuneSweep, error: WarmStartNotReady, *, now: datetime) -> SweepStatus:
    """The status of a sweep that waits for an earlier one."""
    if isinstance(error, WarmStartCycle):
        problem = Problem(error.field, error.why)
        return refused_status(sweep.status, sweep.metadata.generation or 0, (problem,), now=now)
    return validating_status(sweep, "WarmStartNotReady", str(error), now=now)


async def learn_from_earlier(
    store: Store,
    key: Key,
    sweep: FinetuneSweep,
    *,
    trials: tuple[FinetuneTrial, ...],
    datasets: DatasetHashes,
) -> FinetuneSweep:
    """The sweep with what it learns from earlier ones in its status, which is written before anything is bought.

    From then on nothing is read of them: they may be deleted, or changed.

    Args:
        store: Where the sweeps are.
        key: The sweep's key.
        sweep: The sweep as it was read, accepted.
        trials: Its own trials. Where there are some the status was lost, and an earlier sweep that is gone since then
            is done without.
        datasets: Hashes of its data.

    Raises:
        WarmStartNotReady: Says which sweep is waited for, and why; WarmStartCycle, that it waits for this one.
    """
    warm_start = sweep.spec.warm_start
    if warm_start is None or sweep.status.warm_start:
        return sweep
    found: list[Earlier] = []
    gone: list[EarlierSweep] = []
    for index, reference in enumerate(warm_start.sweep_refs):
        known = await _earlier(store, key.sibling("FinetuneSweep", reference.name))
        if isinstance(known, Earlier):
            found.append(known)
        elif trials:
            gone.append(EarlierSweep(sweep=reference.name))
        else:
            await _refuse_cycle(store, key, index, reference.name)
            raise WarmStartNotReady(_path(index), known)
    # Some thousand trials take a while to go through, during which others want to be looked at.
    learnt = await asyncio.to_thread(learn, sweep, build_space(sweep.spec), found, datasets=datasets)
    learnt = (*learnt, *gone)
    return await store.write_sweep_status(sweep, sweep.status.model_copy(update={"warm_start": learnt}))


def _path(index: int) -> str:
    return f"spec.warmStart.sweepRefs[{index}].name"


async def _earlier(store: Store, key: Key) -> Earlier | str:
    """A finished sweep with its trials, or why it is waited for."""
    try:
        sweep = await store.get_sweep(key)
    except InvalidManifest as error:
        return f"FinetuneSweep {key.name} cannot be read: {error}"
    if sweep is None:
        return f"there is no FinetuneSweep {key.name} in the sweep's own namespace; it is waited for"
    if not sweep.status.finished:
        return f"FinetuneSweep {key.name} is {sweep.status.phase or 'Pending'}; its end is waited for"
    return Earlier(sweep, await store.list_trials(key))


async def _refuse_cycle(store: Store, key: Key, index: int, name: str) -> None:
    """Follow who waits for whom from an earlier sweep on; WarmStartCycle where that leads back."""
    came_from = {name: key.name}
    ahead = [name]
    for at in ahead:  # it grows on the way
        for other in await _waited_for(store, key.sibling("FinetuneSweep", at)):
            if other == key.name:
                raise WarmStartCycle(_path(index), _cycle_message(came_from, at, name))
            if other not in came_from:
                came_from[other] = at
                ahead.append(other)


def _cycle_message(came_from: Mapping[str, str], last: str, name: str) -> str:
    way = [last]
    while way[0] != name:
        way.insert(0, came_from[way[0]])
    own = came_from[name]
    return (
        f"FinetuneSweep {name} waits for this sweep in its turn ({' -> '.join((own, *way, own))}), so that none of "
        "them begins; delete one of them, and make it anew without this reference"
    )


async def _waited_for(store: Store, key: Key) -> tuple[str, ...]:
    """The sweeps whose end a sweep may wait for before it begins."""
    try:
        sweep = await store.get_sweep(key)
    except InvalidManifest:
        return ()
    if sweep is None or sweep.status.finished or sweep.status.warm_start or sweep.spec.warm_start is None:
        return ()
    return tuple(each.name for each in sweep.spec.warm_start.sweep_refs)
