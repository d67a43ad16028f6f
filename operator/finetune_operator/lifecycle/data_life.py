"""A sweep's datasets at its providers: deleted once the sweep has ended."""

from __future__ import annotations

import logging
from collections.abc import Collection

from finetune_operator.lifecycle.admission import data_scope
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import NotFound
from finetune_operator.resources import FinetuneSweep, FinetuneTrial
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse

log = logging.getLogger(__name__)

PATIENCE_AFTER_END_S = 24 * 3600.0
PATIENCE_AT_DELETION_S = 600.0


async def delete_data(context: Context, sweep: FinetuneSweep, trials: Collection[FinetuneTrial]) -> None:
    """Delete what was uploaded for a sweep, unless `keepData` says otherwise; then its finalizer may go.

    Raises:
        TransientProviderError: A provider cannot be asked now; try again.
    """
    scope = data_scope(sweep)
    context.uploads.forget(scope)
    if sweep.spec.keep_data:
        return
    providers = {trial.spec.provider_ref.name for trial in trials}
    if sweep.deleting:
        # Trials that were released are gone by now, and what was uploaded for them is not.
        providers |= {candidate.provider_ref.name for candidate in sweep.spec.candidates}
    for provider in sorted(providers):
        try:
            await _delete_at(context, sweep, provider, scope)
        except TransientProviderError:
            if not _patience_is_over(context, sweep):
                raise
            await _say_that_it_stays(
                context, sweep, provider, scope, "the provider could not be asked for long"
            )
        except (NotFound, PermanentProviderError, UnexpectedResponse) as error:
            await _say_that_it_stays(context, sweep, provider, scope, str(error))


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
        f"the datasets uploaded to provider {provider} could not be deleted: {why}. "
        f"Delete what is named {scope}.* there by hand"
    )
    log.warning("FinetuneSweep %s/%s: %s", sweep.metadata.namespace, sweep.name, message)
    await context.store.record_event(sweep, "DataNotDeleted", message, warning=True)
