"""A fine-tuned model on machines of its own."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class DeploymentState(enum.StrEnum):
    """A deployment's state; an unknown native state counts as CREATING."""

    CREATING = "Creating"
    ACTIVE = "Active"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A fine-tuned model that was put on machines so that it can answer; it may cost by the hour.

    Attributes:
        name: The name given at its creation.
        state: Canonical state.
        model: What `inference` takes, once it is active.
        native_state: The provider's own word for its state.
        message: What the provider says about a failure, safe to show.
    """

    name: str
    state: DeploymentState
    model: str
    native_state: str = ""
    message: str = ""
