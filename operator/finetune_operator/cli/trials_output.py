"""The trials of a sweep as a table or CSV, in the order that was asked for."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from finetune_operator.cli.fitting import FittingTable, add_last_column, plain, plain_table
from finetune_operator.cli.json_output import trial_as_json
from finetune_operator.cli.snapshot import (
    Snapshot,
    model_text,
    only_model,
    score_text,
)
from finetune_operator.cli.tables import STYLES, phase_with_reason
from finetune_operator.errors import SweepError
from finetune_operator.report.words import cost_text, duration_text, hyperparameters_text, number_text
from finetune_operator.resources import FinetuneTrial

SORT_KEYS = ("index", "score", "cost", "duration")

_MOST_COLUMNS = 6
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FIXED_COLUMNS = ("trial", "index", "phase", "candidate", "provider", "baseModel")
_LAST_COLUMNS = ("score", "cost", "currency", "seconds", "origin", "reason", "message", "fineTunedModel")


class NoSuchKey(SweepError):
    """Trials cannot be sorted by that."""


def hyperparameter_names(trials: Sequence[FinetuneTrial]) -> tuple[str, ...]:
    """The names of all hyperparameters that any trial has, sorted."""
    return tuple(sorted({name for trial in trials for name in trial.spec.hyperparameters}))


def sorted_trials(snapshot: Snapshot, key: str, *, descending: bool) -> tuple[FinetuneTrial, ...]:
    """The trials by a key; those without a value come last, in either direction.

    Args:
        snapshot: The sweep.
        key: One of `SORT_KEYS`, or a hyperparameter.
        descending: The largest first.

    Raises:
        NoSuchKey: There is no such key; names those that there are.
    """
    names = hyperparameter_names(snapshot.trials)
    if key not in SORT_KEYS and key not in names:
        raise NoSuchKey(f"trials cannot be sorted by {key!r}; keys: {', '.join((*SORT_KEYS, *names))}")
    values = {trial.name: _value(snapshot, trial, key) for trial in snapshot.trials}
    known = [trial for trial in snapshot.trials if values[trial.name] is not None]
    known.sort(key=lambda trial: values[trial.name] or (0, 0.0, ""), reverse=descending)
    return (*known, *(trial for trial in snapshot.trials if values[trial.name] is None))


def _value(snapshot: Snapshot, trial: FinetuneTrial, key: str) -> tuple[int, float, str] | None:
    """What a trial is sorted by: numbers before texts, and what is no number counts as unknown."""
    values: dict[str, object] = {
        "index": trial.spec.index,
        "score": trial.status.score,
        "cost": trial.status.cost,
        "duration": snapshot.trial_seconds(trial),
    }
    value = values[key] if key in SORT_KEYS else trial.spec.hyperparameters.get(key)
    if value is None:
        return None
    try:
        number = float(str(value))
    except ValueError:
        return 1, 0.0, str(value)
    return None if math.isnan(number) else (0, number, "")


def trials_table(snapshot: Snapshot, trials: Sequence[FinetuneTrial]) -> RenderableType:
    """A row for each trial; what is said of it takes the room that is left."""
    names = hyperparameter_names(trials)
    columns = [names] if len(names) <= _MOST_COLUMNS else []
    return FittingTable(
        [
            *(lambda room, c=column: _table(snapshot, trials, room, columns=c) for column in columns),
            lambda room: _table(snapshot, trials, room, between=" "),
            lambda room: _table(snapshot, trials, room, between="\n"),
        ]
    )


def _table(
    snapshot: Snapshot,
    trials: Sequence[FinetuneTrial],
    room: int | None,
    *,
    columns: Sequence[str] | None = None,
    between: str = " ",
) -> Table:
    table = plain_table()
    table.add_column("TRIAL", overflow="fold")
    if with_model := only_model(snapshot.sweep) is None:
        table.add_column("MODEL", overflow="fold")
    for name in ("HYPERPARAMETERS",) if columns is None else columns:
        table.add_column(name, justify="left" if columns is None else "right", no_wrap=True)
    table.add_column("PHASE", overflow="fold")
    for name in ("SCORE", "COST", "TIME"):
        table.add_column(name, justify="right", no_wrap=True)
    add_last_column(table, "MESSAGE", room)
    for trial in trials:
        values = trial.spec.hyperparameters
        shown = (
            [hyperparameters_text(values, between=between)]
            if columns is None
            else [number_text(values[name]) if name in values else "" for name in columns]
        )
        model = model_text(snapshot.sweep, trial.spec.candidate, trial.spec.base_model)
        row = [
            _name(snapshot, trial),
            *([Text(model)] if with_model else []),
            *(Text(each) for each in shown),
            phase_with_reason(trial)
            if room == 0
            else Text(str(trial.phase), style=STYLES.get(trial.phase, "")),
            Text(score_text(trial)),
            Text(cost_text(snapshot.sweep, trial)),
            Text(duration_text(snapshot.trial_seconds(trial))),
            plain(why(trial)),
        ]
        table.add_row(*row[: len(table.columns)])
    return table


def wide_table(snapshot: Snapshot, trials: Sequence[FinetuneTrial]) -> RenderableType:
    """All there is to say of each trial on one line, however wide that is."""
    names = hyperparameter_names(trials)
    table = plain_table()
    heads = (
        "TRIAL",
        "PHASE",
        "PROVIDER",
        "MODEL",
        *names,
        "SCORE",
        "COST",
        "TIME",
        "CHOSEN BY",
        "FINE-TUNED MODEL",
    )
    for head in (*heads, "MESSAGE"):
        table.add_column(head, no_wrap=True)
    for trial in trials:
        values, spec = trial.spec.hyperparameters, trial.spec
        table.add_row(
            _name(snapshot, trial),
            Text(str(trial.phase), style=STYLES.get(trial.phase, "")),
            Text(spec.provider_ref.name),
            Text(model_text(snapshot.sweep, spec.candidate, spec.base_model)),
            *(plain(number_text(values[name]) if name in values else "") for name in names),
            Text(score_text(trial)),
            Text(cost_text(snapshot.sweep, trial)),
            Text(duration_text(snapshot.trial_seconds(trial))),
            plain(_chosen_by(snapshot, trial)),
            plain(trial.status.fine_tuned_model),
            plain(why(trial)),
        )
    return table


def _name(snapshot: Snapshot, trial: FinetuneTrial) -> Text:
    best = snapshot.sweep.status.best
    if best is None or best.trial != trial.name:
        return Text(trial.name)
    return Text(f"{trial.name}*", style="bold green")


def _chosen_by(snapshot: Snapshot, trial: FinetuneTrial) -> str:
    """By which rule of the search its point was chosen, or which trial it repeats."""
    again = trial.spec.repeat_of
    return trial.spec.origin if again is None else f"repeat of {snapshot.sweep.name}-{again}"


def why(trial: FinetuneTrial) -> str:
    """Why a trial ended as it did, or what it waits for."""
    reason, message = trial.status.reason, trial.status.message
    return ": ".join(part for part in (reason, message) if part)


def trials_as_csv(snapshot: Snapshot, trials: Sequence[FinetuneTrial]) -> str:
    """A line for each trial, with a column for each hyperparameter; numbers are as exact as they are known."""
    names = hyperparameter_names(trials)
    cost = snapshot.sweep.status.cost
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow((*_FIXED_COLUMNS, *names, *_LAST_COLUMNS))
    for trial in trials:
        row = trial_as_json(snapshot, trial)
        row |= {"trial": row["name"], "currency": None if cost is None else cost.currency}
        row["message"], row["reason"] = _no_formula(row["message"]), _no_formula(row["reason"])
        values = row["hyperparameters"]
        table.writerow(
            (
                *(row[name] for name in _FIXED_COLUMNS),
                *(values.get(name) for name in names),
                *(row[name] for name in _LAST_COLUMNS),
            )
        )
    return written.getvalue()


def _no_formula(text: str | None) -> str | None:
    """What a company says must not be taken for a formula by a spreadsheet."""
    return f"'{text}" if text and text.startswith(_FORMULA) else text
