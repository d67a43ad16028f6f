"""What a whole sweep may come to: tokens, money and rounds, from the cheapest to the dearest of its points.

A trial's tokens and cost depend on its base model and its epochs alone (`CostModel`). So the extremes of the space are
found at the least and the most epochs of each base model, and the sweep lies between trials that are all like the
one and trials that are all like the other. No durations: no provider tells beforehand how long a job takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from finetune_operator.decisions import CostModel
from finetune_operator.decisions.starting import Defaults
from finetune_operator.resources.sweep import Limits, SweepSpec
from finetune_operator.search import Arm, Point, SearchSpace

CENT = Decimal("0.01")
FEW_ENOUGH = 1000
"""A space of as many points is gone through one by one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one trial is expected to come to.

    Attributes:
        candidate: The candidate of its point.
        base_model: The model that is fine-tuned.
        epochs: As the point or the provider's default has it; None where neither is known.
        tokens: Trained tokens; None where the epochs are not known.
        cost: In the sweep's currency; None where the price is not known.
    """

    candidate: str
    base_model: str
    epochs: int | None
    tokens: int | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Spread:
    """The same of all trials together, exact where the whole space is tried.

    Attributes:
        least: If all were like the cheapest.
        expected: If they were on average like the first ones.
        most: If all were like the dearest.
    """

    least: Decimal
    expected: Decimal
    most: Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a sweep may come to.

    Attributes:
        trials: The most trials that would be launched.
        rounds: How many times `parallelTrials` that is.
        repeats: How many of them repeat the best ones (`confirm`).
        cheapest: The cheapest trial; None where a price is not known.
        dearest: The dearest trial, likewise.
        tokens: Trained tokens of all trials; None where unknown.
        cost: Money for all trials, without the budget; None where a price is not known.
        within_budget: The fewest, the expected and the most trials that the budget allows; None without one. The first
            trials are known, so that these differ by what comes after them alone.
    """

    trials: int
    rounds: int
    repeats: int = 0
    cheapest: Estimate | None = None
    dearest: Estimate | None = None
    tokens: Spread | None = None
    cost: Spread | None = None
    within_budget: tuple[int, int, int] | None = None


class Estimator:
    """Estimates single trials.

    Args:
        costs: Prices and the tokens of an epoch.
        defaults: What providers take for parameters that are not given.
    """

    def __init__(self, costs: CostModel, defaults: Defaults) -> None:
        self._costs = costs
        self._defaults = defaults

    def __call__(self, point: Point) -> Estimate:
        """What a trial at this point is expected to come to."""
        arm = (point.candidate, point.base_model)
        price = self._costs.prices.get(arm)
        default = self._defaults.get(arm, {}).get("epochs") if price is None else price.default_epochs
        stated = point.parameters.get("epochs", default)
        epochs = None if stated is None else int(stated)
        tokens = None if epochs is None else self._costs.training_tokens * epochs
        return Estimate(point.candidate, point.base_model, epochs, tokens, self._costs.estimate(point))


def forecast(space: SearchSpace, spec: SweepSpec, estimate: Estimator, *, first: Sequence[Point]) -> Forecast:
    """What a sweep over a space may come to.

    Args:
        space: The search space.
        spec: The sweep.
        estimate: Estimates a trial.
        first: The points of its first trials.
    """
    searched, repeats = _counts(space, spec)
    trials = searched + repeats
    ends = sorted((estimate(point) for arm in space.arms for point in _ends(arm)), key=_by_cost)
    # Which trials are repeated nobody knows beforehand, so that with repeats nothing is exact.
    whole = not repeats and searched == space.size and searched <= FEW_ENOUGH
    firsts = [estimate(point) for point in first]
    tried = [estimate(point) for point in _all_points(space)] if whole else firsts
    tokens = _spread(
        [_number(each.tokens) for each in ends], [_number(each.tokens) for each in tried], trials, whole=whole
    )
    cost = _spread([each.cost for each in ends], [each.cost for each in tried], trials, whole=whole)
    return Forecast(
        trials,
        -(-trials // spec.limits.parallel_trials),
        repeats=repeats,
        cheapest=ends[0] if cost else None,
        dearest=ends[-1] if cost else None,
        tokens=tokens,
        cost=cost,
        within_budget=_within_budget(spec.limits, trials, [each.cost for each in firsts], cost),
    )


def _counts(space: SearchSpace, spec: SweepSpec) -> tuple[int, int]:
    """The most trials of the search, and the most repeats."""
    confirm = spec.confirm
    kept = 0 if confirm is None else confirm.top * confirm.repeats
    left = spec.limits.max_trials - kept
    searched = left if space.size is None else min(left, space.size)
    return searched, 0 if confirm is None else min(kept, searched * confirm.repeats)


def _by_cost(each: Estimate) -> tuple[Decimal, int, str]:
    return each.cost or Decimal(0), each.tokens or 0, each.base_model


def _number(tokens: int | None) -> Decimal | None:
    return None if tokens is None else Decimal(tokens)


def _spread(
    ends: Sequence[Decimal | None], tried: Sequence[Decimal | None], trials: int, *, whole: bool
) -> Spread | None:
    """All trials together; None where anything of them is not known."""
    known, own = [each for each in ends if each is not None], [each for each in tried if each is not None]
    if not own or (len(known), len(own)) != (len(ends), len(tried)):
        return None
    total = sum(own, Decimal(0))
    if whole:
        return Spread(total, total, total)
    return Spread(min(known) * trials, (total * trials / len(own)).quantize(CENT), max(known) * trials)


def _within_budget(
    limits: Limits, trials: int, first: Sequence[Decimal | None], cost: Spread | None
) -> tuple[int, int, int] | None:
    if limits.budget is None or cost is None:
        return None
    left, fitting = limits.budget.max_cost, 0
    for each in first:
        if each is None or each > left:
            return fitting, fitting, fitting  # one that does not fit ends the search
        left, fitting = left - each, fitting + 1
    rest, known = trials - fitting, limits.budget.max_cost - left
    of_rest = [
        total - known if cost.least == cost.most else total * rest / trials
        for total in (cost.most, cost.expected, cost.least)
    ]
    fewest, expected, most = (
        fitting + (rest if total <= left else int(left * rest / total)) for total in of_rest
    )
    return fewest, expected, most


def _all_points(space: SearchSpace) -> Iterator[Point]:
    return (arm.point_at(index) for arm in space.arms for index in range(arm.size or 0))


def _ends(arm: Arm) -> Iterator[Point]:
    """Two points with the least and the most epochs; the other values do not matter for what a trial costs."""
    for place in (0.0, 1.0):
        values = {
            name: each.decode((place,) * (each.size or 1)) for name, each in arm.branch.parameters.items()
        }
        yield arm.point(list(values.values()))
