"""What a decision may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from finetune_operator.resources import SweepStatus
from finetune_operator.search import Proposal


@dataclass(frozen=True, slots=True)
class CreateTrial:
    """Create the trial of an index for a proposal.

    Attributes:
        index: The trial's.
        proposal: Its point, and how that came about.
        estimated_cost: What is reserved from the budget; None where it is unknown.
        repeat_of: The index of the trial that is trained again.
    """

    index: int
    proposal: Proposal
    estimated_cost: Decimal | None
    repeat_of: int | None = None


@dataclass(frozen=True, slots=True)
class CancelTrial:
    """End a trial that has not ended, and say why.

    Attributes:
        trial: Its name.
        reason: One CamelCase word for programs.
        message: The same for people.
        exceeded: The highest `maxCost` that was exceeded, where it is ended for that.
    """

    trial: str
    reason: str
    message: str
    exceeded: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MeasureBaseline:
    """Let a base model answer the evaluation set, to see what fine-tuning buys."""

    candidate: str
    base_model: str


@dataclass(frozen=True, slots=True)
class DeleteModel:
    """Delete the fine-tuned model of a trial that is not the best."""

    trial: str


@dataclass(frozen=True, slots=True)
class WriteOutput:
    """Write what applications read."""

    config_map: str


Action = CreateTrial | CancelTrial | MeasureBaseline | DeleteModel | WriteOutput


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that follows from one look at a sweep.

    Attributes:
        actions: What to do, in order.
        status: The status as of this look; final only where no action is left.
        wake_at: When to look again although nothing changed, such as at `maxDuration`.
    """

    actions: tuple[Action, ...]
    status: SweepStatus
    wake_at: datetime | None = None
