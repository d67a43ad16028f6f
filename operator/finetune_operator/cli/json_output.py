"""A sweep for programs: the documented JSON of `finetune run -o json`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.decisions.best import value_of
from finetune_operator.resources import FinetuneSweep, FinetuneTrial

SHAPE_HELP = """\b
With -o json one object is printed at the end; a field that is unknown is null:
  {sweep, namespace, phase, message, elapsedSeconds, state,
   objective: {metric, direction, goal},
   cost: {spent, reserved, saved, currency},
   best: {trial, candidate, provider, baseModel, fineTunedModel, hyperparameters, score, baseScore;
          value, cost where objective.costWeight is set; meanScore, repeats where confirm is},
   trials: [{name, index, candidate, provider, baseModel, hyperparameters, origin, repeatOf,
             phase, reason, message, score, value, seconds, cost, fineTunedModel}]}
origin says by which rule of the search a point was chosen, repeatOf which trial `confirm` repeats (its index),
value is the score less its cost where objective.costWeight is set, saved what trials left that were stopped early.
"""

_COST = ("spent", "reserved", "saved", "currency")


def sweep_as_json(snapshot: Snapshot, state: Path | None) -> dict[str, Any]:
    """The sweep with all its trials; money is text, so that no cent is lost. A cluster's has no state folder."""
    sweep, objective = snapshot.sweep, snapshot.sweep.spec.objective
    return {
        "sweep": sweep.name,
        "namespace": sweep.metadata.namespace,
        "phase": sweep.status.phase,
        "message": snapshot.reason or None,
        "elapsedSeconds": snapshot.elapsed_s,
        "state": None if state is None else str(state),
        "objective": {"metric": objective.metric, "direction": objective.sense, "goal": objective.goal},
        "cost": cost_as_json(sweep),
        "best": best_as_json(sweep),
        "trials": [trial_as_json(snapshot, trial) for trial in snapshot.trials],
    }


def cost_as_json(sweep: FinetuneSweep) -> dict[str, Any] | None:
    """The sweep's money as text; None where prices are unknown."""
    cost = sweep.status.cost
    return None if cost is None else {name: cost.to_dict().get(name) for name in _COST}


def best_as_json(sweep: FinetuneSweep) -> dict[str, Any] | None:
    """The best trial so far."""
    best = sweep.status.best
    if best is None:
        return None
    scores = {"score": _finite(best.score), "baseScore": _finite(best.base_score)}
    return {"fineTunedModel": None} | best.to_dict() | scores


def _finite(value: float | None) -> float | None:
    """JSON has no word for NaN and infinity, which a training that diverged reports."""
    return value if value is not None and math.isfinite(value) else None


def trial_as_json(snapshot: Snapshot, trial: FinetuneTrial) -> dict[str, Any]:
    """One trial."""
    objective = snapshot.sweep.spec.objective
    return {
        "name": trial.name,
        "index": trial.spec.index,
        "candidate": trial.spec.candidate,
        "provider": trial.spec.provider_ref.name,
        "baseModel": trial.spec.base_model,
        "hyperparameters": dict(trial.spec.hyperparameters),
        "origin": trial.spec.origin or None,
        "repeatOf": trial.spec.repeat_of,
        "phase": str(trial.phase),
        "reason": trial.status.reason,
        "message": trial.status.message,
        "score": _finite(trial.status.score),
        "value": value_of(objective, trial) if objective.cost_weight else None,
        "seconds": snapshot.trial_seconds(trial),
        "cost": None if trial.status.cost is None else f"{trial.status.cost:f}",
        "fineTunedModel": trial.status.fine_tuned_model,
    }
