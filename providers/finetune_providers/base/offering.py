"""What a provider sells and what it can do, as far as decisions depend on it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class OfferState(enum.StrEnum):
    """Whether a provider still sells fine-tuning."""

    OFFERED = "Offered"
    CLOSING = "Closing"
    CLOSED = "Closed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether, and for whom, a provider still takes fine-tuning jobs.

    Attributes:
        state: In one word.
        message: For people: for whom, until when, and where that is written.
    """

    state: OfferState = OfferState.UNKNOWN
    message: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider offers, as far as the operator's decisions depend on it.

    Attributes:
        finds_by_key: `find` can see a job by the key of its creation.
        idempotent_create: Submitting the same key again returns the first job and buys nothing.
        lookup_window_s: Seconds after a create call from which an empty `find` proves that no job exists;
            None where it never does.
        metrics: Names that may appear in a job's series.
        poll_interval_s: How long to wait between two `observe` calls, in seconds.
        deletes_models: `delete_model` works.
        appears_within_s: Seconds for which a job may be missing from `find` after a create call in doubt: for
            so long it is looked for before anybody is asked. Of interest where `lookup_window_s` is None.
        needs_deployment: A fine-tuned model answers only through `deploy`.
        native_states: The provider's own words for a job's state that are understood; a person is told of any other.
            Empty where there can be no other.
        live_metrics: Names that may be told of a job while it runs, by its snapshot or by `RunningMetrics`. Empty where
            nothing is told before the end.
    """

    finds_by_key: bool
    idempotent_create: bool
    lookup_window_s: float | None
    metrics: frozenset[str]
    poll_interval_s: float
    deletes_models: bool
    appears_within_s: float = 0.0
    needs_deployment: bool = False
    native_states: frozenset[str] = frozenset()
    live_metrics: frozenset[str] = frozenset()
