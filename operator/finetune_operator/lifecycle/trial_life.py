"""A trial's life, one level-triggered step at a time."""

from __future__ import annotations

from contextlib import suppress

from finetune_operator.lifecycle import doubt, elsewhere, leftovers, patience, purchase, serving
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.evaluating import start_evaluation, take_outcome
from finetune_operator.lifecycle.job_slots import holds_job, is_served
from finetune_operator.lifecycle.release import release_trial
from finetune_operator.lifecycle.scene import note
from finetune_operator.lifecycle.store import Key, NotFound
from finetune_operator.lifecycle.training import train
from finetune_operator.lifecycle.transitions import advance, end, key_of, sweep_key_of
from finetune_operator.lifecycle.unreadable import release_unreadable_trial
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_providers.errors import PermanentProviderError

LANE_AGAIN_S = 15.0
REFUSED_AGAIN_S = 15.0
SUSPENDED_AGAIN_S = 15.0
SWEEP_AGAIN_S = 60.0
REFUSED_MAY_LAST_S = 600.0
SWEEP_MISSING = "SweepMissing"


async def reconcile_trial(context: Context, key: Key) -> float | None:
    """Take a trial one step further.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    trial = await context.store.get_trial(key)
    if trial is None:
        return await _without_trial(context, key)
    entry = trial.status.create
    note(
        sweep=trial.spec.sweep_ref.name,
        provider=trial.spec.provider_ref.name,
        job=None if entry is None else entry.external_id,
    )
    if not holds_job(trial) and trial.phase is not TrialPhase.PENDING:
        context.accounts.leave(key)
    if trial.deleting:
        context.patience.pop(key, None)
        await context.background.drop(("evaluation", key))
        return await _released(context, trial)
    if trial.terminal:
        await leftovers.take_back(context, trial)
        await _forget(context, key)
        await context.store.remove_finalizer(trial)
        return None
    sweep = await context.store.get_sweep(sweep_key_of(trial))
    if sweep is None or not trial.belongs_to(sweep):
        return await _without_sweep(context, trial)
    if trial.phase is TrialPhase.STALLED:
        return await _stalled(context, trial)
    trial = await _held(context, trial, sweep)
    account = await _account(context, trial)
    account.slots.take_in([(key, trial)])  # also where a write came through whose answer was lost
    with account.lane(key) as free:
        if not free:
            return LANE_AGAIN_S
        try:
            return await _step(context, trial, sweep, account)
        except Exception:
            # Who fails before anything is bought keeps nobody waiting; the step may have bought, though.
            now = await context.store.get_trial(key)
            if now is not None:
                _stand_back(context, now)
            raise


async def _released(context: Context, trial: FinetuneTrial) -> float | None:
    """Let a deleted trial go; many of an account whose provider hangs take no worker from other accounts."""
    account = context.accounts.last_known(key_of(trial).namespace, trial.spec.provider_ref.name)
    if account is None:
        return await release_trial(context, trial)
    with account.lane(key_of(trial)) as free:
        return await release_trial(context, trial) if free else LANE_AGAIN_S


async def _stalled(context: Context, trial: FinetuneTrial) -> float | None:
    if trial.status.reason == SWEEP_MISSING:
        await _go_on(context, trial)
        return None
    if await doubt.unstall(context, trial) or not elsewhere.is_held(trial):
        return None
    with suppress(NotFound, PermanentProviderError):
        await elsewhere.look_again(context, trial, await _account(context, trial))
    return elsewhere.LOOK_AGAIN_S


async def _without_trial(context: Context, key: Key) -> float | None:
    remains = await context.store.remains(key)
    if remains is not None and remains.has_finalizer:
        return await release_unreadable_trial(context, key, remains)
    await _forget(context, key)
    return None


async def _held(context: Context, trial: FinetuneTrial, sweep: FinetuneSweep) -> FinetuneTrial:
    """The trial with its finalizer, without which a deletion would leave its job running."""
    if sweep.deleting:
        return trial  # with the policy Orphan its finalizer was taken away on purpose
    return await context.store.add_finalizer(trial)  # a restore or a person may have taken it away


async def _account(context: Context, trial: FinetuneTrial) -> Account:
    namespace, name = key_of(trial).namespace, trial.spec.provider_ref.name
    try:
        return await context.accounts.get(namespace, name)
    except NotFound:
        account = context.accounts.last_known(namespace, name)
        if account is None or not is_served(trial):
            raise
        return account  # what costs by the hour comes down though its FinetuneProvider is gone


async def _step(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account
) -> float | None:
    if trial.phase is TrialPhase.TRAINING:
        return await train(context, trial, sweep, account)
    if serving.is_concluded(trial):
        await serving.take_down(context, trial, sweep, account)
        return None
    if trial.phase is TrialPhase.EVALUATING and (
        await take_outcome(context, trial, sweep, account)
        or await patience.give_up(context, trial, sweep, account)
    ):
        return None
    admission = context.admissions.get(sweep_key_of(trial), sweep, waiter=key_of(trial))
    if admission is None or admission.problems:
        # The sweep's condition tells what is wrong; the trial waits for it to be mended.
        _stand_back(context, trial)
        if admission is None:
            return None
        context.patience.pop(key_of(trial), None)  # it is not asked, and does not run out of time
        await _wait_for_a_person(context, trial, sweep, account)
        return REFUSED_AGAIN_S
    if trial.phase is TrialPhase.EVALUATING:
        return await start_evaluation(context, trial, sweep, account, admission)
    return await _create(context, trial, sweep, account, admission)


def _stand_back(context: Context, trial: FinetuneTrial) -> None:
    """A trial that cannot buy now keeps nobody waiting behind it."""
    if not holds_job(trial):
        context.accounts.leave(key_of(trial))


async def _wait_for_a_person(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account
) -> None:
    """A model that is deployed, and not asked, does not cost by the hour while its sweep is refused for long."""
    accepted = sweep.status.condition("Accepted")
    if not is_served(trial) or ("evaluation", key_of(trial)) in context.background:
        return
    since = accepted.last_transition_time if accepted is not None and accepted.status == "False" else None
    if since is not None and (context.now() - since).total_seconds() > REFUSED_MAY_LAST_S:
        await serving.stand_down(context, trial, sweep, account, why="its sweep is refused")


async def _create(
    context: Context, trial: FinetuneTrial, sweep: FinetuneSweep, account: Account, admission: Admission
) -> float | None:
    entry = trial.status.create
    if entry is not None and entry.state in {"Pending", "Unknown"}:
        return await purchase.resolve(context, trial, account, admission)
    if trial.status.cancel is not None:
        if not await doubt.look_back(context, trial, account):
            cancel = trial.status.cancel
            await end(context, trial, TrialPhase.CANCELLED, reason=cancel.reason, message=cancel.message)
        return None
    if sweep.deleting or sweep.spec.suspend:
        _stand_back(context, trial)
        return None if sweep.deleting else SUSPENDED_AGAIN_S  # a sweep takes its trials with it
    return await purchase.buy(context, trial, account, admission)


async def _without_sweep(context: Context, trial: FinetuneTrial) -> float | None:
    if is_served(trial):
        await _take_from_machines(context, trial)
        return None
    message = (
        f"its FinetuneSweep {trial.spec.sweep_ref.name} is gone, so nobody can say what it is for; "
        "delete this trial to cancel its job"
    )
    if trial.phase is not TrialPhase.STALLED:
        await advance(context, trial, TrialPhase.STALLED, reason=SWEEP_MISSING, message=message)
    return SWEEP_AGAIN_S


async def _take_from_machines(context: Context, trial: FinetuneTrial) -> None:
    account = await _account(context, trial)
    if serving.is_concluded(trial):
        await serving.take_down(context, trial, None, account)
        return
    await context.background.drop(("evaluation", key_of(trial)))
    await serving.stand_down(context, trial, None, account, why="its sweep is gone")


async def _go_on(context: Context, trial: FinetuneTrial) -> None:
    """The sweep is back, as in a restore that brought it later: the status tells where the trial was."""
    entry = trial.status.create
    if trial.status.fine_tuned_model is not None:
        phase = TrialPhase.EVALUATING
    elif entry is None or entry.state == "Failed":
        phase = TrialPhase.PENDING
    else:
        has_job = entry.state == "Succeeded" or entry.external_id is not None
        phase = TrialPhase.TRAINING if has_job else TrialPhase.SUBMITTING
    await advance(context, trial, phase, reason="SweepFound", message="its FinetuneSweep is back: it goes on")


async def _forget(context: Context, key: Key) -> None:
    context.accounts.forget_trial(key)
    context.evaluating.pop(key, None)
    context.deploying.pop(key, None)
    context.said_held_at.pop(key, None)
    context.patience.pop(key, None)
    context.quick_since.pop(key, None)
    context.doubted.pop(key, None)
    await context.background.drop(("evaluation", key))
