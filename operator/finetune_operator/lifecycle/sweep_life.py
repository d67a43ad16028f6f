"""A sweep's life: look, decide, act, write down."""

from __future__ import annotations

import asyncio
import logging

from finetune_operator.decisions import Knowledge, decide, refused_status, validating_status
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.acting import act
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.counting import forget_numbers, status_may_wait_s, with_unwritten
from finetune_operator.lifecycle.data_life import delete_data, remember_scopes
from finetune_operator.lifecycle.early_stopping import have_judged
from finetune_operator.lifecycle.evaluating import BaselineName, baseline_outcome
from finetune_operator.lifecycle.launches import tell_launches
from finetune_operator.lifecycle.leftovers import delete_leftovers
from finetune_operator.lifecycle.narration import sweep_events
from finetune_operator.lifecycle.obstacles import obstacle_of, tried_again_s
from finetune_operator.lifecycle.release import release_sweep
from finetune_operator.lifecycle.retrying import telling
from finetune_operator.lifecycle.store import Key
from finetune_operator.lifecycle.unreadable import release_unreadable_sweep
from finetune_operator.lifecycle.warm_starting import WarmStartNotReady, learn_from_earlier, waiting_status
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, SweepStatus
from finetune_operator.resources.sweep import Baseline

log = logging.getLogger(__name__)

STALE_S = 1.0
REFERENCES_AGAIN_S = 2.0
OUTPUT_AGAIN_S = 60.0


async def reconcile_sweep(context: Context, key: Key) -> float | None:
    """Take a sweep one step further.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    try:
        sweep = await context.store.get_sweep(key)
    except InvalidManifest as error:
        return await _unreadable(context, key, error)
    if sweep is None:
        await _forget(context, key)
        return None
    trials = await context.store.list_trials(key)
    if sweep.deleting:
        sweep = await remember_scopes(context, sweep, trials)
        await release_sweep(context, sweep, trials)
        return None
    if sweep.status.finished and sweep.status.observed_generation == sweep.metadata.generation:
        await _forget(context, key)
        await _clear_away(context, sweep, trials)
        return None
    if strangers := [trial.name for trial in trials if not trial.belongs_to(sweep)]:
        await _wait_for_strangers(context, sweep, strangers)
        return None
    if trials:
        # A restore or a person may have taken it away; without it nobody would delete the data at the end.
        sweep = await context.store.add_finalizer(sweep)
    async with telling(context, sweep, "the sweep cannot be checked", unless=_is_judged(sweep)):
        admission = context.admissions.get(key, sweep, waiter=key)
    if admission is None:
        return await _say_that_it_is_checked(context, key, sweep)
    context.checking_since.pop(key, None)
    if admission.problems:
        return await _refuse(context, key, sweep, admission)
    try:
        sweep = await learn_from_earlier(
            context.store, key, sweep, trials=trials, datasets=admission.dataset_hashes
        )
    except WarmStartNotReady as error:
        await _write(context, sweep, waiting_status(sweep, error, now=context.now()))
        return error.again_after_s
    return await _decide_and_act(context, key, sweep, trials, admission)


def _is_judged(sweep: FinetuneSweep) -> bool:
    """Whether its conditions tell what was made of the manifest that it has now."""
    ready = sweep.status.condition("Ready")
    seen = sweep.status.observed_generation == sweep.metadata.generation
    return seen and ready is not None and ready.reason != "Checking"


async def _unreadable(context: Context, key: Key, error: InvalidManifest) -> float | None:
    if (remains := await context.store.remains(key)) is not None:
        return await release_unreadable_sweep(context, key, remains, error)
    await context.store.refuse(key, error.problems)
    return None


async def _clear_away(context: Context, sweep: FinetuneSweep, trials: tuple[FinetuneTrial, ...]) -> None:
    """Delete what a finished sweep has left at its providers, then let it go."""
    if sweep.has_finalizer:
        await delete_leftovers(context, sweep, trials)
        if await delete_data(context, sweep, trials):
            await context.store.remove_finalizer(sweep)


async def _refuse(context: Context, key: Key, sweep: FinetuneSweep, admission: Admission) -> float:
    """Say what is wrong; where objects are missing that may be applied just after the sweep, wait for them."""
    created = sweep.metadata.creation_timestamp or context.now()
    age_s = (context.now() - created).total_seconds()
    generation = sweep.metadata.generation or 0
    if all(problem.missing for problem in admission.problems) and age_s < context.reference_grace_s:
        message = "; ".join(str(problem) for problem in admission.problems)
        status = validating_status(sweep, "WaitingForReferences", message, now=context.now())
        context.admissions.forget(key)
        again = REFERENCES_AGAIN_S
    else:
        status = refused_status(sweep.status, generation, admission.problems, now=context.now())
        again = admission.again_after_s + 1.0
    await _write(context, sweep, status)
    return again


async def _decide_and_act(
    context: Context, key: Key, sweep: FinetuneSweep, trials: tuple[FinetuneTrial, ...], admission: Admission
) -> float | None:
    knowledge = Knowledge(
        costs=admission.costs,
        baselines=_measured(context, key, sweep, trials),
        deletable=admission.deletable,
        defaults=admission.defaults,
        datasets=admission.dataset_hashes,
        output_problem=context.output_problems.pop(key, ""),
        obstacle=await obstacle_of(context, key, trials),
    )
    decision = await asyncio.to_thread(
        decide, with_unwritten(context, key, sweep), trials, knowledge, now=context.now()
    )
    have_judged(context, sweep, trials)
    sweep, stale = await act(context, key, sweep, trials, decision, admission)
    if stale:
        return STALE_S
    wake_s = (
        None if decision.wake_at is None else max(0.0, (decision.wake_at - context.now()).total_seconds())
    )
    tell_s = await tell_launches(context, key, sweep, last=_launches_no_more(sweep.status, decision.status))
    retry_s = tried_again_s(context, key, knowledge.obstacle)
    if (wait_s := status_may_wait_s(context, key, sweep, decision, trials)) > 0:
        return _first(wait_s, wake_s, tell_s, retry_s)
    await _write(context, sweep, decision.status)
    forget_numbers(context, key)
    if knowledge.output_problem:
        return OUTPUT_AGAIN_S  # a person mends it elsewhere, and no change of the sweep's tells of that
    return _first(wake_s, tell_s, retry_s)


def _launches_no_more(before: SweepStatus, after: SweepStatus) -> bool:
    """Whether a search ends, or a sweep; repeats may follow a search, which are told like all launches."""
    return after.finished or (after.phase == "Finishing" and before.phase != "Finishing")


def _first(*waits: float | None) -> float | None:
    return min((each for each in waits if each is not None), default=None)


def _measured(
    context: Context, key: Key, sweep: FinetuneSweep, trials: tuple[FinetuneTrial, ...]
) -> dict[tuple[str, str], Baseline]:
    """Baselines that were measured and are not in the status yet."""
    written = {(each.provider, each.base_model) for each in sweep.status.baselines}
    measured: dict[tuple[str, str], Baseline] = {}
    for each in sorted({(trial.spec.provider_ref.name, trial.spec.base_model) for trial in trials}):
        name: BaselineName = ("baseline", key, sweep.metadata.uid, *each)
        outcome = baseline_outcome(context, name, trials)
        if each in written:
            context.background.forget(name)
        elif outcome is not None:
            measured[each] = outcome
    return measured


async def _forget(context: Context, key: Key) -> None:
    """Keep nothing of a sweep that is gone or finished: another one may come to have its name."""
    context.admissions.forget(key)
    context.output_problems.pop(key, None)
    context.taken_names.pop(key, None)
    forget_numbers(context, key)
    context.launches.pop(key, None)
    context.checking_since.pop(key, None)
    for name in context.background.names():
        if isinstance(name, tuple) and name[:2] in {("admission", key), ("baseline", key)}:
            await context.background.drop(name)


async def _wait_for_strangers(context: Context, sweep: FinetuneSweep, names: list[str]) -> None:
    """An earlier sweep of this name has left trials: they are no trials of this one, but have their names."""
    message = (
        f"{len(names)} trials of an earlier sweep of this name are still there, such as {names[0]}; they are "
        "waited for. If they do not go by themselves, delete them, or give this sweep another name"
    )
    await _write(context, sweep, validating_status(sweep, "EarlierTrials", message, now=context.now()))


async def _say_that_it_is_checked(context: Context, key: Key, sweep: FinetuneSweep) -> float | None:
    if sweep.status.observed_generation == sweep.metadata.generation:
        return None  # checked before, or found wanting: what was said then stands until the outcome is there
    now = context.monotonic()
    if (wait_s := context.checking_since.setdefault(key, now) + context.checks_said_after_s - now) > 0:
        return wait_s  # most checks are over by then, and what they found is written
    status = validating_status(
        sweep, "Checking", "the providers and the datasets are being checked", now=context.now()
    )
    await _write(context, sweep, status)
    return None


async def _write(context: Context, sweep: FinetuneSweep, status: SweepStatus) -> None:
    written = await context.store.write_sweep_status(sweep, status)
    for event in sweep_events(sweep.status, status):
        log.info(
            "FinetuneSweep %s/%s: %s: %s", sweep.metadata.namespace, sweep.name, event.reason, event.message
        )
        if not event.routine:
            await context.store.record_event(written, event.reason, event.message, warning=event.warning)
    if status.finished:
        # What must be done after the end is done at the next look; the finalizer holds the sweep until then.
        context.enqueue(Key("FinetuneSweep", sweep.metadata.namespace or "default", sweep.name))
