"""What providers behind an API read of their account in the same way."""

from __future__ import annotations

from collections.abc import Mapping

from finetune_providers.base import ModelRules, Offer
from finetune_providers.catalog import Catalog
from finetune_providers.errors import PermanentProviderError

POLL_INTERVAL_S = 30.0
LONGEST_POLL_INTERVAL_S = 86_400.0


class FromCatalog:
    """The part of a provider that answers out of its catalog, without I/O."""

    def __init__(self, catalog: Catalog) -> None:
        """Answer out of an account's catalog."""
        self._catalog = catalog

    @property
    def offer(self) -> Offer:
        """See `Provider.offer`."""
        return self._catalog.offer

    def model_rules(self, base_model: str) -> ModelRules | None:
        """See `Provider.model_rules`."""
        return self._catalog.rules(base_model)

    def model_names(self) -> tuple[str, ...]:
        """See `Provider.model_names`."""
        return self._catalog.names()


def poll_interval_s(options: Mapping[str, object]) -> float:
    """Seconds between two looks at the jobs, as `spec.options` says, or 30.

    Raises:
        PermanentProviderError: It is no number of seconds that can be waited for.
    """
    written = options.get("pollIntervalSeconds", POLL_INTERVAL_S)
    try:
        seconds = float(str(written))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_POLL_INTERVAL_S:  # NaN is not either
        raise PermanentProviderError(
            f"spec.options.pollIntervalSeconds is {written!r}; allowed is a number of seconds above 0 and up to "
            f"{LONGEST_POLL_INTERVAL_S:,.0f}",
            field="spec.options.pollIntervalSeconds",
        )
    return seconds
