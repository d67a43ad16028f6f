"""Taking from earlier sweeps what a new one learns, once and before its first trial."""

from __future__ import annotations

import asyncio

from finetune_operator.decisions import build_space
from finetune_operator.decisions.warm_start import Earlier, learn
from finetune_operator.errors import InvalidManifest, SweepError
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_operator.resources.sweep_status import DatasetHashes, EarlierSweep


class WarmStartNotReady(SweepError):
    """An earlier sweep is not there or not at its end; it may come to be.

    Attributes:
        again_after_s: Seconds after which to look again: no change of this sweep tells of it.
    """

    again_after_s = 30.0


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
        WarmStartNotReady: Says which sweep is waited for, and why.
    """
    warm_start = sweep.spec.warm_start
    if warm_start is None or sweep.status.warm_start:
        return sweep
    found: list[Earlier] = []
    gone: list[EarlierSweep] = []
    for index, reference in enumerate(warm_start.sweep_refs):
        try:
            found.append(await _earlier(store, key.sibling("FinetuneSweep", reference.name)))
        except WarmStartNotReady as error:
            if not trials:
                raise WarmStartNotReady(f"spec.warmStart.sweepRefs[{index}].name: {error}") from error
            gone.append(EarlierSweep(sweep=reference.name))
    # Some thousand trials take a while to go through, during which others want to be looked at.
    learnt = await asyncio.to_thread(learn, sweep, build_space(sweep.spec), found, datasets=datasets)
    learnt = (*learnt, *gone)
    return await store.write_sweep_status(sweep, sweep.status.model_copy(update={"warm_start": learnt}))


async def _earlier(store: Store, key: Key) -> Earlier:
    try:
        sweep = await store.get_sweep(key)
    except InvalidManifest as error:
        raise WarmStartNotReady(f"FinetuneSweep {key.name} cannot be read: {error}") from error
    if sweep is None:
        raise WarmStartNotReady(f"there is no FinetuneSweep {key.name}; it is waited for")
    if not sweep.status.finished:
        phase = sweep.status.phase or "Pending"
        raise WarmStartNotReady(f"FinetuneSweep {key.name} is {phase}; its end is waited for")
    return Earlier(sweep, await store.list_trials(key))
