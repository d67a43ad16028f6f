"""Carrying out what was decided for a sweep."""

from __future__ import annotations

import logging
import secrets

from finetune_operator.decisions import (
    CancelTrial,
    CreateTrial,
    Decision,
    DeleteModel,
    MeasureBaseline,
    WriteOutput,
)
from finetune_operator.decisions.naming import trial_name
from finetune_operator.lifecycle.admission import Admission
from finetune_operator.lifecycle.answering import questions_of
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.data_life import scope_for_new_trials
from finetune_operator.lifecycle.evaluating import measure_baseline
from finetune_operator.lifecycle.launches import note_launch
from finetune_operator.lifecycle.leftovers import delete_model
from finetune_operator.lifecycle.narration import output_data
from finetune_operator.lifecycle.obstacles import note_taken_name
from finetune_operator.lifecycle.retrying import telling
from finetune_operator.lifecycle.store import AlreadyExists, Key, Refused
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, ObjectMeta, TrialSpec
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.trial import CancelRequest

log = logging.getLogger(__name__)


async def act(
    context: Context,
    key: Key,
    sweep: FinetuneSweep,
    trials: tuple[FinetuneTrial, ...],
    decision: Decision,
    admission: Admission,
) -> tuple[FinetuneSweep, bool]:
    """Carry the actions out; returns the sweep as it is then, and whether the decision was made on old news."""
    by_name = {trial.name: trial for trial in trials}
    for action in decision.actions:
        if isinstance(action, CreateTrial):
            sweep = await context.store.add_finalizer(sweep)
            if not await _create_trial(context, key, sweep, action, trials):
                return sweep, True
        elif isinstance(action, CancelTrial):
            await _cancel(context, by_name[action.trial], action)
        elif isinstance(action, MeasureBaseline):
            async with telling(context, sweep, f"base model {action.base_model} cannot be asked"):
                await _start_baseline(context, key, sweep, action, admission)
        elif isinstance(action, DeleteModel):
            async with telling(context, sweep, f"the model of trial {action.trial} cannot be deleted"):
                await delete_model(context, by_name[action.trial])
        elif not await _write_output(context, key, sweep, action, decision):
            return sweep, True
    return sweep, False


async def _create_trial(
    context: Context, key: Key, sweep: FinetuneSweep, action: CreateTrial, trials: tuple[FinetuneTrial, ...]
) -> bool:
    point = action.proposal.point
    provider = next(each.provider_ref for each in sweep.spec.candidates if each.name == point.candidate)
    trial = FinetuneTrial(
        api_version="finetune-operator.dev/v1alpha1",
        metadata=ObjectMeta(name=trial_name(sweep, action.index), namespace=sweep.metadata.namespace),
        spec=TrialSpec(
            sweep_ref=NameRef(name=sweep.name),
            index=action.index,
            candidate=point.candidate,
            provider_ref=provider,
            base_model=point.base_model,
            hyperparameters=dict(point.parameters),
            run_key=f"ft-{secrets.token_hex(10)}",
            # A repeat is another training of the same point: with the same seed it would be the same one.
            seed=sweep.spec.search.seed if action.repeat_of is None else _other_seed(sweep, action.index),
            repeat_of=action.repeat_of,
            origin=action.proposal.origin,
            estimated_cost=action.estimated_cost,
            currency=sweep.spec.limits.currency,
            data_scope=scope_for_new_trials(sweep, trials),
        ),
    )
    try:
        created = await context.store.create_trial(trial, owner=sweep)
    except AlreadyExists:
        log.info("trial %s exists already: the sweep is looked at again", trial.name)
        await note_taken_name(context, key, trial.name)
        return False
    context.taken_names.pop(key, None)
    note_launch(context, key, created)
    return True


def _other_seed(sweep: FinetuneSweep, index: int) -> int:
    return (sweep.spec.search.seed + 1 + index) % 2_147_483_648


async def _cancel(context: Context, trial: FinetuneTrial, action: CancelTrial) -> None:
    request = CancelRequest(reason=action.reason, message=action.message, exceeded=action.exceeded)
    await context.store.write_trial_status(trial, trial.status.model_copy(update={"cancel": request}))


async def _start_baseline(
    context: Context, key: Key, sweep: FinetuneSweep, action: MeasureBaseline, admission: Admission
) -> None:
    candidate = next(each for each in sweep.spec.candidates if each.name == action.candidate)
    provider = candidate.provider_ref.name
    account = await context.accounts.get(key.namespace, provider)
    base_model, questions, metric = (
        action.base_model,
        questions_of(sweep, admission),
        sweep.spec.objective.metric,
    )
    context.background.start(
        ("baseline", key, sweep.metadata.uid, provider, base_model),
        lambda: measure_baseline(context, key, base_model, questions, account, metric=metric),
        then=lambda: context.enqueue(key),
    )


async def _write_output(
    context: Context, key: Key, sweep: FinetuneSweep, action: WriteOutput, decision: Decision
) -> bool:
    try:
        await context.store.write_output(sweep, action.config_map, output_data(sweep, decision.status))
    except Refused as error:
        context.output_problems[key] = str(error)
        return False
    return True
