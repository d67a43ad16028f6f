"""Tells on a sweep what is tried again and again, at its beginning or at its end: nothing else would tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from finetune_operator.decisions import validating_status
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import NotFound, Refused
from finetune_operator.resources import FinetuneSweep
from finetune_providers.errors import ProviderError

REASON = "Retrying"


@asynccontextmanager
async def telling(
    context: Context, sweep: FinetuneSweep, what: str, *, unless: bool = False
) -> AsyncIterator[None]:
    """Have a failure of what is done within it said in the sweep's conditions; it is raised all the same.

    Args:
        context: The reconcilers' hands.
        sweep: As it was read.
        what: What fails then, in words.
        unless: Say nothing: what the conditions say stands until more is known.
    """
    try:
        yield
    except (NotFound, Refused, InvalidManifest, ProviderError) as error:
        ready = sweep.status.condition("Ready")
        # Messages of outages differ from call to call: each would be a write, and each write another try.
        if not unless and (ready is None or ready.reason != REASON):
            message = f"{what} and is tried again, later each time: {error}"
            status = validating_status(sweep, REASON, message, now=context.now())
            await context.store.write_sweep_status(sweep, status)
        raise
