"""The words in which numbers are shown, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from finetune_operator.resources import FinetuneSweep, FinetuneTrial


def number_text(value: float | str) -> str:
    """A hyperparameter or score: four significant digits are enough for a person."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration_text(seconds: float | None) -> str:
    """`12s`, `3m05s` or `2h07m`; nothing where it is unknown."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def hyperparameters_text(values: Mapping[str, int | float | str], *, between: str = " ") -> str:
    """`epochs=2 learningRate=1e-05`, sorted by name."""
    return between.join(f"{name}={number_text(values[name])}" for name in sorted(values))


def money_text(sweep: FinetuneSweep) -> str:
    """Money spent and reserved, the budget and what was saved; nothing where prices are unknown."""
    cost, budget = sweep.status.cost, sweep.spec.limits.budget
    if cost is None:
        return ""
    unit, limit = (
        (f" {cost.currency}", "") if budget is None else ("", f" of {budget.max_cost:f} {cost.currency}")
    )
    reserved = f" + {cost.reserved:f}{unit} reserved" if cost.reserved else ""
    saved = f", {cost.saved:f} saved by stopping trials early" if cost.saved else ""
    return f"{cost.spent or Decimal(0):f}{unit} spent{reserved}{limit}{saved}"


def cost_text(sweep: FinetuneSweep, trial: FinetuneTrial) -> str:
    """What the trial cost; `~` marks an estimate: reserved for one that goes on, counted as spent for one that ended.

    Nothing where it bought nothing, or nothing has a price.
    """
    if trial.status.cost is not None:
        return f"{trial.status.cost:f}"
    estimate = _counted(sweep, trial) if trial.terminal else trial.spec.estimated_cost
    return f"~{estimate:f}" if estimate else ""


def _counted(sweep: FinetuneSweep, trial: FinetuneTrial) -> Decimal | None:
    """What the sweep counts for a trial whose cost nobody told."""
    counted = () if sweep.status.cost is None else sweep.status.cost.per_trial
    return counted[trial.spec.index] if trial.spec.index < len(counted) else None
