"""A sweep's datasets at its providers: deleted once the sweep has ended."""

from __future__ import annotations

import logging
from collections.abc import Collection

from finetune_operator.decisions import data_scopes
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.admission import data_scope
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key, NotFound, Refused
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse

log = logging.getLogger(__name__)

PATIENCE_AFTER_END_S = 24 * 3600.0
PATIENCE_AT_DELETION_S = 600.0


async def delete_data(context: Context, sweep: FinetuneSweep, trials: Collection[FinetuneTrial]) -> bool:
    """Delete what was uploaded for a sweep, unless `keepData` says otherwise; then its finalizer may go.

    Returns:
        Whether that is done; not while an upload goes on, after which the sweep is looked at again.

    Raises:
        TransientProviderError: A provider cannot be asked now; try again.
    """
    scopes = dict.fromkeys((*data_scopes(sweep, tuple(trials)), data_scope(sweep)))
    for scope in scopes:
        context.uploads.forget(scope)
    if sweep.spec.keep_data:
        return True
    # What nobody waits for any more still arrives, and would arrive after all else was deleted.
    arriving = [scope for scope in scopes if context.uploads.go_on(scope, waiter=_key(sweep))]
    if arriving and not _patience_is_over(context, sweep):
        return False
    # Not only where there are trials: of a deleted sweep's trials none may be left.
    used = {each.provider_ref.name for each in sweep.spec.candidates}
    for provider in sorted(used | {trial.spec.provider_ref.name for trial in trials}):
        for scope in scopes:
            await _delete_or_tell(context, sweep, provider, scope)
    return True


async def remember_scopes(
    context: Context, sweep: FinetuneSweep, trials: tuple[FinetuneTrial, ...]
) -> FinetuneSweep:
    """The sweep with the scopes of its trials in its status: what is deleted last outlives the trials."""
    scopes = data_scopes(sweep, trials)
    if scopes == sweep.status.data_scopes:
        return sweep
    status = sweep.status.model_copy(update={"data_scopes": scopes})
    return await context.store.write_sweep_status(sweep, status)


def scope_for_new_trials(sweep: FinetuneSweep, trials: tuple[FinetuneTrial, ...]) -> str:
    """The name for uploads: the one that the sweep has used so far, though a restore gave it another UID."""
    return (*data_scopes(sweep, trials), data_scope(sweep))[0]


async def _delete_or_tell(context: Context, sweep: FinetuneSweep, provider: str, scope: str) -> None:
    try:
        await _delete_at(context, sweep, provider, scope)
    except TransientProviderError:
        if not _patience_is_over(context, sweep):
            raise
        await _say_that_it_stays(context, sweep, provider, scope, "the provider could not be asked for long")
    except (NotFound, Refused, InvalidManifest, PermanentProviderError, UnexpectedResponse) as error:
        await _say_that_it_stays(context, sweep, provider, scope, str(error))


def _key(sweep: FinetuneSweep) -> Key:
    return Key("FinetuneSweep", sweep.metadata.namespace or "default", sweep.name)


async def _delete_at(context: Context, sweep: FinetuneSweep, provider: str, scope: str) -> None:
    namespace = sweep.metadata.namespace or "default"
    try:
        account = await context.accounts.get(namespace, provider)
    except NotFound:
        # In a file of manifests, or with its namespace, the provider is deleted first; what is open still works.
        last = context.accounts.last_known(namespace, provider)
        if last is None:
            raise
        account = last
    await account.provider.delete_data(scope)


def _patience_is_over(context: Context, sweep: FinetuneSweep) -> bool:
    deleted, finished = sweep.metadata.deletion_timestamp, sweep.status.finished_at
    if deleted is not None:
        return (context.now() - deleted).total_seconds() > PATIENCE_AT_DELETION_S
    return finished is not None and (context.now() - finished).total_seconds() > PATIENCE_AFTER_END_S


async def _say_that_it_stays(
    context: Context, sweep: FinetuneSweep, provider: str, scope: str, why: str
) -> None:
    message = (
        f"what was uploaded to provider {provider}, if anything, could not be deleted: {why}. "
        f"Delete what is named {scope}.* there by hand"
    )
    log.warning("FinetuneSweep %s/%s: %s", sweep.metadata.namespace, sweep.name, message)
    await context.store.record_event(sweep, "DataNotDeleted", message, warning=True)
