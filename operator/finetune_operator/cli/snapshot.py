"""What there is to show of a sweep at one moment, and the words in which numbers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from finetune_operator.report.words import number_text
from finetune_operator.resources import BestTrial, FinetuneSweep, FinetuneTrial

if TYPE_CHECKING:  # it comes with the client of http datasets, for which a look at a sweep need not wait
    from finetune_operator.lifecycle.context import TrialProgress


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A sweep at one moment.

    Attributes:
        sweep: The sweep.
        trials: Its trials, in order of their index.
        now: The moment, timezone-aware.
        progress: Where trials are that go on, by name.
    """

    sweep: FinetuneSweep
    trials: tuple[FinetuneTrial, ...]
    now: datetime
    progress: Mapping[str, TrialProgress] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since the sweep started, until it finished; None before it starts."""
        status = self.sweep.status
        return _seconds_between(status.started_at, status.finished_at or self.now)

    def trial_seconds(self, trial: FinetuneTrial) -> float | None:
        """Seconds that a trial took or has taken so far; None before it starts."""
        end = trial.status.finished_at or (None if trial.terminal else self.now)
        return _seconds_between(trial.status.started_at, end)

    @property
    def reason(self) -> str:
        """Why the sweep is where it is, as its Ready condition says."""
        ready = self.sweep.status.condition("Ready")
        return "" if ready is None else ready.message


def _seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None:
        return None
    return max(0.0, (end - start).total_seconds())


def only_model(sweep: FinetuneSweep) -> str | None:
    """The base model, where the sweep has no choice of it."""
    models = [model for candidate in sweep.spec.candidates for model in candidate.base_models]
    return models[0] if len(models) == 1 else None


def varied_parameters(sweep: FinetuneSweep) -> tuple[str, ...] | None:
    """The hyperparameters that differ between trials; None where candidates have their own."""
    if len(sweep.spec.candidates) != 1:
        return None
    fixed = fixed_parameters(sweep)
    return tuple(name for name in sorted(sweep.spec.candidates[0].parameters) if name not in fixed)


def fixed_parameters(sweep: FinetuneSweep) -> frozenset[str]:
    """The hyperparameters that are the same in every trial, so that a row need not repeat them."""
    if len(sweep.spec.candidates) != 1:
        return frozenset()
    parameters = sweep.spec.candidates[0].parameters
    return frozenset(name for name, spec in parameters.items() if spec.values and len(spec.values) == 1)


def model_text(sweep: FinetuneSweep, candidate: str, base_model: str) -> str:
    """The base model, with its candidate in front where there are several."""
    return base_model if len(sweep.spec.candidates) == 1 else f"{candidate}/{base_model}"


def score_text(trial: FinetuneTrial) -> str:
    """The trial's score, or nothing."""
    if trial.status.score_text is not None:
        return trial.status.score_text
    return "" if trial.status.score is None else number_text(trial.status.score)


def beside_score_text(sweep: FinetuneSweep) -> str:
    """What the best trial's score is to be read with: its base model, its repeats, and what its cost takes away.

    By the latter two another trial than the one that scored best may be the best one.
    """
    best = sweep.status.best
    if best is None:
        return ""
    parts = [_improvement_text(sweep, best)]
    if best.mean_score is not None:
        repeats = "1 repeat" if best.repeats == 1 else f"{best.repeats} repeats"
        parts.append(f"mean {number_text(best.mean_score)} with {repeats}")
    if best.value is not None and best.cost is not None:
        parts.append(f"worth {number_text(best.value)} with its cost of {best.cost:f}")
    return "; ".join(part for part in parts if part)


def _improvement_text(sweep: FinetuneSweep, best: BestTrial) -> str:
    """The base model's score against the best, such as `base model 0.5, better by 0.3125`."""
    if best.base_score is None:
        return ""
    gain = best.score - best.base_score
    if sweep.spec.objective.sense == "Minimize":
        gain = -gain
    change = f"{'better' if gain > 0 else 'worse'} by {abs(gain):.4g}" if gain else "no better"
    return f"base model {number_text(best.base_score)}, {change}"


def shown_phase(sweep: FinetuneSweep) -> str:
    """The phase, or `Stalled` where a person is waited for."""
    stalled = sweep.status.condition("Stalled")
    if stalled is not None and stalled.status == "True" and not sweep.status.finished:
        return "Stalled"
    return sweep.status.phase or "Pending"
