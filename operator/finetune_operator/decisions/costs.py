"""Money: what a trial is expected to cost, what is reserved, what is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal

from finetune_operator.decisions.space import point_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.search import Point

CENT = Decimal("0.01")
NOTHING = Decimal("0.00")
"""No money, in the form in which money is shown."""
PER_MILLION = Decimal(1_000_000)
HOUR = timedelta(hours=1)
MOST_TRIALS = 1000


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
        counted: Tokens of one epoch by (candidate, base model), where a provider has counted them by now: a tokenizer
            may make several times as many of a text as is estimated.
    """

    training_tokens: int = 0
    prices: Mapping[tuple[str, str], ModelPrice] = field(default_factory=dict)
    currency: str = "USD"
    counted: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def estimate(self, point: Point) -> Decimal | None:
        """Expected cost of a point, rounded up to the cent; None where the price is unknown."""
        key = (point.candidate, point.base_model)
        price = self.prices.get(key)
        if price is None:
            return None
        epochs = point.parameters.get("epochs", price.default_epochs)
        training = token_cost(
            self.counted.get(key, self.training_tokens) * int(epochs), price.per_million_tokens
        )
        return training + (price.serving_per_hour or Decimal(0)) * price.served


def with_counted_tokens(costs: CostModel, trials: Sequence[FinetuneTrial]) -> CostModel:
    """Costs by the tokens that providers counted for trials that were trained to the end, where there are such."""
    counted = dict(costs.counted)
    for trial in trials:
        key = (trial.spec.candidate, trial.spec.base_model)
        price, tokens = costs.prices.get(key), trial.status.trained_tokens
        if price is None or not tokens or trial.status.fine_tuned_model is None:
            continue
        epochs = int(trial.spec.hyperparameters.get("epochs", price.default_epochs))
        counted[key] = max(counted.get(key, 0), -(-tokens // epochs))
    return replace(costs, counted=counted)


def token_cost(tokens: int, per_million: Decimal) -> Decimal:
    """Cost of trained tokens, rounded up to the cent."""
    return (Decimal(tokens) * per_million / PER_MILLION).quantize(CENT, rounding=ROUND_UP)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The money of a sweep.

    Attributes:
        per_trial: What each trial cost or may still cost, by its index. It outlives the trial: who deletes one
            does not get its money back.
        spent: On trials that have ended or are gone.
        reserved: For trials that have not ended.
    """

    per_trial: tuple[Decimal, ...] = ()
    spent: Decimal = NOTHING
    reserved: Decimal = NOTHING

    @property
    def committed(self) -> Decimal:
        """What is not free any more."""
        return self.spent + self.reserved

    def with_reserved(self, index: int, cost: Decimal) -> Ledger:
        """The ledger once a trial is launched."""
        amounts = {**dict(enumerate(self.per_trial)), index: cost}
        return Ledger(_in_order(amounts), self.spent, self.reserved + cost)


def ledger_of(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], *, costs: CostModel, now: datetime
) -> Ledger:
    """What a sweep's trials cost, those that are gone included.

    What is known of a trial that is there comes from the trial alone, so that nothing depends on when it was last
    looked at; the status only remembers those that are gone, at what they were last known to cost.
    """
    known = () if sweep.status.cost is None else sweep.status.cost.per_trial
    amounts = dict(enumerate(known))
    kept = NOTHING
    for trial in trials:
        amount = _paid(trial, costs) if trial.terminal else _reserved(trial, costs, now)
        amounts[trial.spec.index] = amount
        kept += Decimal(0) if trial.terminal else amount
    return Ledger(_in_order(amounts), spent=sum(amounts.values(), NOTHING) - kept, reserved=kept)


def _in_order(amounts: Mapping[int, Decimal]) -> tuple[Decimal, ...]:
    # No sweep launches more; a trial that somebody made by hand with a huge index must not fill the status.
    length = min(max(amounts, default=-1) + 1, MOST_TRIALS)
    return tuple(amounts.get(index, Decimal(0)) for index in range(length))


def next_hour(trials: Sequence[FinetuneTrial], now: datetime) -> datetime | None:
    """When another hour of a deployed model begins, and more is reserved; None where nothing is deployed."""
    begins = (_deployed_at(trial) for trial in trials if not trial.terminal)
    return min((at + timedelta(hours=_hours_begun(at, now)) for at in begins if at is not None), default=None)


def _reserved(trial: FinetuneTrial, costs: CostModel, now: datetime) -> Decimal:
    """What a trial that has not ended may cost: as expected, or more where that is known to be too little."""
    price = costs.prices.get((trial.spec.candidate, trial.spec.base_model))
    an_hour = (None if price is None else price.serving_per_hour) or Decimal(0)
    at = _deployed_at(trial)
    hours = _hours_begun(at, now) if at is not None else int(price is not None and price.served)
    expected = max(
        _expected(trial, costs), costs.estimate(point_of(trial)) or Decimal(0)
    )  # prices may have risen
    return max(expected, _without_hours(trial, expected, an_hour) + hours * an_hour)


def _paid(trial: FinetuneTrial, costs: CostModel) -> Decimal:
    """What a trial that ended cost; where that is unknown, what it was expected to, with the hours that are known."""
    if trial.status.cost is not None:
        return trial.status.cost
    never_bought = trial.status.create is None or trial.status.create.state == "Failed"
    if never_bought and trial.phase is not TrialPhase.SUCCEEDED:
        return Decimal(0)
    price = costs.prices.get((trial.spec.candidate, trial.spec.base_model))
    an_hour = (None if price is None else price.serving_per_hour) or Decimal(0)
    expected = _expected(trial, costs)
    return max(expected, _without_hours(trial, expected, an_hour))


def _without_hours(trial: FinetuneTrial, expected: Decimal, an_hour: Decimal) -> Decimal:
    """What a trial cost so far without the hours of the deployment that is there now."""
    if trial.status.cost is not None:
        return trial.status.cost
    trained = max(Decimal(0), expected - an_hour)  # one hour is a part of what is expected
    return trained + (trial.status.serving_cost or Decimal(0))


def _expected(trial: FinetuneTrial, costs: CostModel) -> Decimal:
    """The estimate of its launch; what it would be today where no price was known then, or its tokens are by now."""
    launched = trial.spec.estimated_cost
    counted = (trial.spec.candidate, trial.spec.base_model) in costs.counted
    if launched is not None and not counted:
        return launched
    return max(launched or Decimal(0), costs.estimate(point_of(trial)) or Decimal(0))


def _deployed_at(trial: FinetuneTrial) -> datetime | None:
    serving = trial.status.serving
    return None if serving is None or serving.state == "Deleted" else serving.at


def _hours_begun(at: datetime, now: datetime) -> int:
    return max(0, (now - at) // HOUR) + 1
