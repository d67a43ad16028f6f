"""The median rule: which trials train worse than earlier ones did at the same point of their training.

The rule is that of Golovin et al., Google Vizier: A Service for Black-Box Optimization (KDD 2017), section 3.2.1: a
trial is stopped if its best value so far is worse than the median of the running averages that completed trials had
at the same point. A point here is a number of examples seen where the batch size is known, else a number of steps, and
trials are compared within a base model of a provider only: losses of two models mean different things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from finetune_operator.decisions.actions import CancelTrial
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import MedianStopping

MEDIAN_STOPPED = "WorseThanMedian"
_LOSSES = frozenset({"trainingLoss", "validationLoss"})
_STAND_INS = ("validationLoss", "trainingLoss")


@dataclass(frozen=True, slots=True)
class _Curve:
    """One metric of one trial on its way: pairs of (position, value), ordered; the base model's own is left out."""

    points: tuple[tuple[float, float], ...]

    def until(self, position: float) -> tuple[float, ...]:
        return tuple(value for at, value in self.points if at <= position)


def early_stops(sweep: FinetuneSweep, trials: Sequence[FinetuneTrial]) -> tuple[CancelTrial, ...]:
    """The running trials to cancel by `earlyStopping.median`."""
    rule = None if sweep.spec.early_stopping is None else sweep.spec.early_stopping.median
    if rule is None:
        return ()
    # A repeat that is stopped has no score: the mean of those that are left would be too good.
    running = [
        trial
        for trial in trials
        if trial.phase is TrialPhase.TRAINING and trial.status.cancel is None and trial.spec.repeat_of is None
    ]
    verdicts = [(trial, _verdict(sweep, trial, trials, rule)) for trial in running]
    return tuple(CancelTrial(trial.name, MEDIAN_STOPPED, message) for trial, message in verdicts if message)


def _verdict(
    sweep: FinetuneSweep, trial: FinetuneTrial, trials: Sequence[FinetuneTrial], rule: MedianStopping
) -> str:
    """Why the trial is stopped; "" where it goes on."""
    peers = [each for each in trials if each.phase is TrialPhase.SUCCEEDED and _comparable(each, trial)]
    if len(peers) < rule.min_trials:
        return ""
    for metric in dict.fromkeys((sweep.spec.objective.metric, *_STAND_INS)):
        own = _curve(trial, metric)
        if not own.points:
            continue
        position = own.points[-1][0]
        averages = [fmean(values) for each in peers if (values := _curve(each, metric).until(position))]
        if len(averages) < rule.min_trials:
            continue
        if _last_step(trial, metric) < rule.min_steps:
            return ""
        return _judged(metric, own, averages, step=_last_step(trial, metric))
    return ""


def _judged(metric: str, own: _Curve, averages: Sequence[float], *, step: int) -> str:
    less_is_better = metric in _LOSSES
    values = [value for _, value in own.points]
    best, bar = (min(values) if less_is_better else max(values)), median(averages)
    if not (best > bar if less_is_better else best < bar):
        return ""
    return (
        f"{metric} is at best {best:.4g} by step {step}, worse than {bar:.4g}, the median of {len(averages)} earlier "
        "trials of this base model at that point (earlyStopping.median)"
    )


def _comparable(peer: FinetuneTrial, trial: FinetuneTrial) -> bool:
    return (peer.spec.provider_ref, peer.spec.base_model) == (
        trial.spec.provider_ref,
        trial.spec.base_model,
    ) and ((_batch(peer) is None) == (_batch(trial) is None))


def _curve(trial: FinetuneTrial, metric: str) -> _Curve:
    batch = _batch(trial) or 1.0
    return _Curve(
        tuple(
            (point.step * batch, value)
            for point in trial.status.series
            if point.step > 0 and math.isfinite(value := point.values.get(metric, math.nan))
        )
    )


def _last_step(trial: FinetuneTrial, metric: str) -> int:
    return max((point.step for point in trial.status.series if metric in point.values), default=0)


def _batch(trial: FinetuneTrial) -> float | None:
    """Examples in a step; None where the provider chooses them."""
    size = trial.spec.hyperparameters.get("batchSize")
    return float(size) if isinstance(size, int | float) and size > 0 else None
