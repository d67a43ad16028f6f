"""Trials as rows of a table and points of a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetune_operator.decisions import best_of, usable_score
from finetune_operator.report.content import Report
from finetune_operator.report.dimensions import Dimension, model_of, value_of
from finetune_operator.report.words import cost_text, duration_text, number_text
from finetune_operator.resources import FinetuneTrial, TrialPhase

Cell = float | str | bool | None

_WHY_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as it is shown.

    Attributes:
        index: Number of the trial.
        name: Its name.
        phase: What became of it.
        ended: Whether nothing more becomes of it.
        why: Why it ended so, as its status says.
        score: Where it counts; None for one that did not succeed.
        best_so_far: The best score of this trial and all before it.
        is_best: Whether it is the best of all.
        model: The base model, with its candidate where there are several.
        candidate: Its candidate.
        provider: Who trained it.
        fine_tuned_model: What came out, where it is still there.
        cost: Money that is known to be spent, training and serving together, in the sweep's currency.
        cost_text: The same in words; where it is not known, what is reserved or counted for it, marked with `~`.
        seconds: How long it took.
        values: By the key of each dimension; None where the trial has no such hyperparameter.
        hyperparameters: All of them, as text.
        origin: Which part of the search proposed it.
    """

    index: int
    name: str
    phase: str
    ended: bool
    why: str
    score: float | None
    best_so_far: float | None
    is_best: bool
    model: str
    candidate: str
    provider: str
    fine_tuned_model: str
    cost: float | None
    cost_text: str
    seconds: float | None
    values: dict[str, int | float | str | None]
    hyperparameters: dict[str, int | float | str]
    origin: str


def rows_of(report: Report, dimensions: Sequence[Dimension]) -> tuple[TrialRow, ...]:
    """A row for each trial, in order of their index."""
    objective = report.sweep.spec.objective
    best = best_of(report.sweep, report.trials)
    better = max if objective.sense == "Maximize" else min
    rows: list[TrialRow] = []
    so_far: float | None = None
    for trial in sorted(report.trials, key=lambda each: each.spec.index):
        score = usable_score(trial)
        if score is not None:
            so_far = score if so_far is None else better(so_far, score)
        rows.append(_row(report, trial, dimensions, so_far=so_far, is_best=trial is best))
    return tuple(rows)


def _row(
    report: Report,
    trial: FinetuneTrial,
    dimensions: Sequence[Dimension],
    *,
    so_far: float | None,
    is_best: bool,
) -> TrialRow:
    spec, status = trial.spec, trial.status
    kept = status.fine_tuned_model if not status.model_deleted else None
    return TrialRow(
        index=spec.index,
        name=trial.name,
        phase=str(trial.phase),
        ended=trial.terminal,
        why=why(trial),
        score=usable_score(trial),
        best_so_far=so_far,
        is_best=is_best,
        model=model_of(report.sweep, trial),
        candidate=spec.candidate,
        provider=spec.provider_ref.name,
        fine_tuned_model=kept or "",
        cost=None if status.cost is None else float(status.cost),
        cost_text=cost_text(report.sweep, trial),
        seconds=_seconds(trial, report),
        values={each.key: value_of(each, report.sweep, trial) for each in dimensions},
        hyperparameters=dict(sorted(spec.hyperparameters.items())),
        origin=spec.origin,
    )


def why(trial: FinetuneTrial) -> str:
    """Why a trial is where it is: the reason for programs, and the message for people where it says more."""
    reason, message = trial.status.reason or "", trial.status.message or ""
    if trial.phase is TrialPhase.SUCCEEDED or reason == str(trial.phase):
        reason = ""
    text = f"{reason}: {message}" if reason and message else reason or message
    return text if len(text) <= _WHY_CHARACTERS else text[: _WHY_CHARACTERS - 1] + "…"


def _seconds(trial: FinetuneTrial, report: Report) -> float | None:
    start = trial.status.started_at
    end = trial.status.finished_at or (None if trial.terminal else report.now)
    return None if start is None or end is None else max(0.0, (end - start).total_seconds())


def plot_cells(row: TrialRow, dimensions: Sequence[Dimension], color: str) -> dict[str, Cell]:
    """A row as the plots' data: numbers for axes, texts for tooltips."""
    cells: dict[str, Cell] = {
        "i": row.index,
        "trial": row.name,
        "phase": row.phase,
        "why": row.why[:120],
        "score": row.score,
        "sofar": row.best_so_far,
        "best": row.is_best,
        "ended": row.ended,
        "model": row.model,
        "group": color,
        "cost": row.cost,
        "minutes": None if row.seconds is None else row.seconds / 60,
        "took": duration_text(row.seconds),
    }
    for each in dimensions:
        value = row.values[each.key]
        shown = None if value is None else number_text(value)
        cells[each.key] = shown if each.scale == "choice" or value is None else each.number(value)
    return cells
