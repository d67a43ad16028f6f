"""Money: what a trial is expected to cost, what is reserved, what is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal

from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.search import Point

CENT = Decimal("0.01")
PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What training one base model costs.

    Attributes:
        per_million_tokens: Money for a million trained tokens.
        default_epochs: Epochs that the provider trains where the point does not say.
        serving_per_hour: Money for an hour in which the fine-tuned model is deployed; None where it is not known.
        served: The model is deployed to be evaluated.
    """

    per_million_tokens: Decimal
    default_epochs: int
    serving_per_hour: Decimal | None = None
    served: bool = False


@dataclass(frozen=True, slots=True)
class CostModel:
    """Expected cost of a point: tokens of the training data x epochs x price, and an hour of serving where needed.

    Attributes:
        training_tokens: Estimated tokens of one epoch.
        prices: By (candidate, base model); a missing entry means that the price is unknown.
        currency: Of all prices.
    """

    training_tokens: int = 0
    prices: Mapping[tuple[str, str], ModelPrice] = field(default_factory=dict)
    currency: str = "USD"

    def estimate(self, point: Point) -> Decimal | None:
        """Expected cost of a point, rounded up to the cent; None where the price is unknown."""
        price = self.prices.get((point.candidate, point.base_model))
        if price is None:
            return None
        epochs = point.parameters.get("epochs", price.default_epochs)
        training = token_cost(self.training_tokens * int(epochs), price.per_million_tokens)
        return training + (price.serving_per_hour or Decimal(0)) * price.served


def token_cost(tokens: int, per_million: Decimal) -> Decimal:
    """Cost of trained tokens, rounded up to the cent."""
    return (Decimal(tokens) * per_million / PER_MILLION).quantize(CENT, rounding=ROUND_UP)


def reserved(trials: Sequence[FinetuneTrial]) -> Decimal:
    """Money set aside for trials that have not ended."""
    return sum(
        (trial.spec.estimated_cost or Decimal(0) for trial in trials if not trial.terminal), Decimal(0)
    )


def spent(trials: Sequence[FinetuneTrial]) -> Decimal:
    """Money of the trials that ended: what they cost, or what they were expected to where that is unknown."""
    return sum((_paid(trial) for trial in trials if trial.terminal), Decimal(0))


def _paid(trial: FinetuneTrial) -> Decimal:
    if trial.status.cost is not None:
        return trial.status.cost
    never_bought = trial.status.create is None or trial.status.create.state == "Failed"
    if never_bought and trial.phase is not TrialPhase.SUCCEEDED:
        return Decimal(0)
    return trial.spec.estimated_cost or Decimal(0)
