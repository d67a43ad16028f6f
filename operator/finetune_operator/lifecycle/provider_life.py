"""A provider account's resource: can it be used?"""

from __future__ import annotations

import logging

from finetune_operator.decisions import conditions
from finetune_operator.errors import InvalidManifest
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.store import Key, NotFound
from finetune_operator.resources import Condition
from finetune_operator.resources.provider import ProviderStatus
from finetune_providers.base import Offer, OfferState
from finetune_providers.errors import PermanentProviderError

log = logging.getLogger(__name__)

CREDENTIALS_AGAIN_S = 60.0


async def reconcile_provider(context: Context, key: Key) -> float | None:
    """Say on a FinetuneProvider whether it can be used, and have sweeps checked again after it changed.

    Returns:
        Seconds until the next look; None where a change will bring it.
    """
    try:
        resource = await context.store.get_provider(key)
    except InvalidManifest as error:
        log.warning("%s cannot be read: %s", key, error)
        return None
    if resource is None:
        return None
    generation = resource.metadata.generation or 0
    again: float | None = None
    try:
        account = await context.accounts.get(key.namespace, key.name)
    except (NotFound, PermanentProviderError) as error:
        accepted = conditions.condition("Accepted", False, reason="InvalidSpec", message=str(error))
        wanted = (accepted, *conditions.needs_a_person("InvalidSpec", str(error)))
        again = CREDENTIALS_AGAIN_S if isinstance(error, NotFound) else None
    else:
        message = f"provider type {resource.spec.type} is ready to use"
        accepted = conditions.condition("Accepted", True, reason="Valid", message=message)
        wanted = (accepted, *conditions.ready("Valid", message), *_offered(account.provider.offer))
    stamped = conditions.stamped(resource.status.conditions, wanted, generation=generation, now=context.now())
    status = ProviderStatus(observed_generation=generation, conditions=stamped)
    if status != resource.status:
        await context.store.write_provider_status(resource, status)
        # A refused sweep may be right now, and an accepted one reckons with the prices that were.
        for sweep in context.admissions.checked(key.namespace):
            context.admissions.forget(sweep)
            context.enqueue(sweep)
    return again


def _offered(offer: Offer) -> tuple[Condition, ...]:
    """Whether the provider still sells what sweeps want to buy, and until when; no word of it where nobody knows."""
    if offer.state is OfferState.UNKNOWN:
        return ()
    offered = offer.state is not OfferState.CLOSED
    return (conditions.condition("Offered", offered, reason=str(offer.state), message=offer.message),)
