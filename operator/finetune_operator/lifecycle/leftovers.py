"""Deployments that came to be after they were deleted: one operator asked late, while another had ended the trial.

And models that nobody keeps.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.accounts import Account
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.data_life import patience_is_over
from finetune_operator.lifecycle.store import NotFound, Refused
from finetune_operator.lifecycle.transitions import key_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_providers.errors import PermanentProviderError, ProviderError, UnexpectedResponse

log = logging.getLogger(__name__)


async def take_back(context: Context, trial: FinetuneTrial) -> None:
    """Delete what this process may have had deployed for a trial that another one has ended meanwhile.

    Raises:
        ProviderError: It could not be deleted.
    """
    account = context.accounts.last_known(key_of(trial).namespace, trial.spec.provider_ref.name)
    if account is None or trial.status.serving is None or key_of(trial) not in account.deployed:
        return
    await account.provider.undeploy(trial.status.serving.name)
    account.deployed.discard(key_of(trial))


async def delete_leftovers(context: Context, sweep: FinetuneSweep, trials: Collection[FinetuneTrial]) -> None:
    """At a sweep's end, delete all its deployments once more: who asked late may have died before it could take back.

    Raises:
        ProviderError: One could not be deleted; try again.
    """
    for trial in trials:
        if trial.status.serving is None:
            continue
        account = await _account(context, trial)
        if account is None:
            continue  # every deletion that is known to be needed was made
        name = trial.status.serving.name
        try:
            await account.provider.undeploy(name)
        except ProviderError as error:
            definite = isinstance(error, (PermanentProviderError, UnexpectedResponse))
            if not definite and not patience_is_over(context, sweep):
                raise
            message = (
                f"whether deployment {name} is gone, which may cost by the hour, could not be seen: {error}"
            )
            log.warning("%s: %s", key_of(trial), message)
            await context.store.record_event(trial, "DeploymentNotDeleted", message, warning=True)


async def _account(context: Context, trial: FinetuneTrial) -> Account | None:
    namespace, name = key_of(trial).namespace, trial.spec.provider_ref.name
    try:
        return await context.accounts.get(namespace, name)
    except (NotFound, Refused, InvalidManifest, PermanentProviderError):
        return context.accounts.last_known(namespace, name)


async def delete_model(context: Context, trial: FinetuneTrial) -> None:
    """Delete a trial's model; one that the provider will not delete is told of and left there.

    Raises:
        NotFound: Its FinetuneProvider is gone.
        TransientProviderError: The provider cannot be asked now.
    """
    account = await _account(context, trial)
    model, deleted = trial.status.fine_tuned_model, True
    if account is None:
        raise NotFound(
            f"FinetuneProvider {trial.spec.provider_ref.name}, where model {model} is to be deleted, or its Secret is "
            "gone: bring it back, or set spec.keepModels: All"
        )
    try:
        if model is not None:
            await account.provider.delete_model(model)
    except (PermanentProviderError, UnexpectedResponse) as error:
        deleted = False
        message = f"model {model} could not be deleted: {error}"
        await context.store.record_event(trial, "ModelNotDeleted", message, warning=True)
    await context.store.write_trial_status(trial, trial.status.model_copy(update={"model_deleted": deleted}))
