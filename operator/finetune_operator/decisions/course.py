"""How the search of a sweep goes on: what is launched now, or why it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from finetune_operator.decisions.actions import CreateTrial
from finetune_operator.decisions.confirming import Repeats, next_repeats, too_late
from finetune_operator.decisions.costs import CostModel, Ledger, ledger_of, with_counted_tokens
from finetune_operator.decisions.knowledge import Knowledge
from finetune_operator.decisions.obstacle import Obstacle
from finetune_operator.decisions.proposing import and_overspent, exceeded_limit, next_trials, overspent
from finetune_operator.decisions.stopping import Stop, deadline_of, stop_reason
from finetune_operator.resources import FinetuneSweep, FinetuneTrial


@dataclass(frozen=True, slots=True)
class Course:
    """How a search goes on.

    Attributes:
        started_at: When its first trial was bought, or now.
        deadline: When `limits.maxDuration` ends it; None where nothing does.
        costs: What trials are expected to cost, by all that was counted until now.
        ledger: Money that is spent or reserved, that of `creations` included.
        exceeded: The highest `maxCost` that was exceeded; None where none was.
        stop: Why the search has ended; None while it goes on.
        creations: Trials to launch now, repeats among them.
        repeats: What is to be done about repeats.
        obstacle: What keeps it from launching trials, or from its end; None where nothing does.
    """

    started_at: datetime
    deadline: datetime | None
    costs: CostModel
    ledger: Ledger
    exceeded: Decimal | None
    stop: Stop | None
    creations: tuple[CreateTrial, ...]
    repeats: Repeats
    obstacle: Obstacle | None


def course_of(
    sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], knowledge: Knowledge, *, now: datetime
) -> Course:
    """How the search goes on now; the trials in order of their index."""
    started_at = _started_at(sweep, trials, now)
    deadline = deadline_of(sweep, started_at)
    costs = with_counted_tokens(knowledge.costs, trials)
    ledger = ledger_of(sweep, trials, costs=costs, now=now)
    exceeded = exceeded_limit(sweep, trials, ledger)
    stop = stop_reason(sweep, trials, deadline, now=now)
    stop = and_overspent(stop, overspent(sweep, trials, ledger, exceeded))
    creations: tuple[CreateTrial, ...] = ()
    repeats = Repeats()
    if stop is None and not sweep.spec.suspend:
        creations, stop = next_trials(sweep, trials, costs=costs, ledger=ledger, defaults=knowledge.defaults)
    if stop is not None and deadline is not None and now >= deadline:
        repeats = too_late(sweep, trials, stop)
    elif stop is not None and not creations:
        repeats = next_repeats(sweep, trials, stop, costs=costs, ledger=ledger)
        creations = repeats.creations
    obstacle = _in_the_way(knowledge.obstacle, creations)
    if obstacle is not None:
        creations, repeats = (), replace(repeats, creations=(), held_back=True)
    ledger = _with(ledger, creations)
    return Course(started_at, deadline, costs, ledger, exceeded, stop, creations, repeats, obstacle)


def _in_the_way(obstacle: Obstacle | None, creations: Sequence[CreateTrial]) -> Obstacle | None:
    return obstacle if obstacle is not None and (creations or obstacle.hides_trials) else None


def _with(ledger: Ledger, creations: Sequence[CreateTrial]) -> Ledger:
    for each in creations:
        ledger = ledger.with_reserved(each.index, each.estimated_cost or Decimal(0))
    return ledger


def _started_at(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial], now: datetime) -> datetime:
    known = [trial.status.started_at for trial in trials if trial.status.started_at is not None]
    return sweep.status.started_at or min([*known, now])
