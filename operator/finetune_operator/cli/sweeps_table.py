"""Many sweeps at a glance: a table for people, JSON for programs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from finetune_operator.cli.fitting import FittingTable, add_last_column, plain, plain_table
from finetune_operator.cli.json_output import best_as_json, cost_as_json
from finetune_operator.cli.snapshot import Snapshot, shown_phase
from finetune_operator.report.words import duration_text, number_text
from finetune_operator.resources import FinetuneSweep

SHAPE_HELP = """\b
Without SWEEP, -o json prints a list of
  {namespace, sweep, phase, message, elapsedSeconds,
   trials: {done, running, pending, failed, stalled, max},
   objective: {metric, direction, goal}, cost, best}
"""

_STYLES = {
    "Succeeded": "green",
    "Failed": "red",
    "Searching": "cyan",
    "Finishing": "cyan",
    "Suspended": "dim",
}


def sweeps_table(sweeps: Sequence[FinetuneSweep], now: datetime, *, namespaces: bool) -> RenderableType:
    """A row for each sweep; what the sweep's Ready condition says takes the room that is left."""

    def table(room: int | None, *, money: bool = True) -> Table:
        made = plain_table()
        if namespaces:
            made.add_column("NAMESPACE", no_wrap=True)
        for name in ("SWEEP", "PHASE"):
            made.add_column(name, overflow="fold")
        for name in ("TRIALS", "BEST", "TIME"):
            made.add_column(name, justify="right", no_wrap=True)
        if money:
            made.add_column("SPENT", justify="right", no_wrap=True)
        add_last_column(made, "MESSAGE", room)
        for sweep in sweeps:
            row = [Text(sweep.metadata.namespace or "")] if namespaces else []
            made.add_row(*(row + _row(sweep, now, money=money))[: len(made.columns)])
        return made

    return FittingTable([table, functools.partial(table, money=False)])


def _row(sweep: FinetuneSweep, now: datetime, *, money: bool) -> list[Text]:
    best, snapshot = sweep.status.best, Snapshot(sweep, (), now)
    phase = shown_phase(sweep)
    return [
        Text(sweep.name, style="bold"),
        Text(phase, style="bold red" if phase == "Stalled" else _STYLES.get(phase, "")),
        Text(f"{sweep.status.trials.done}/{sweep.spec.limits.max_trials}"),
        Text("" if best is None else number_text(best.score)),
        Text(duration_text(snapshot.elapsed_s)),
        *([Text(_spent(sweep))] if money else []),
        plain(snapshot.reason),
    ]


def _spent(sweep: FinetuneSweep) -> str:
    cost = sweep.status.cost
    return "" if cost is None else f"{cost.spent or Decimal(0):f} {cost.currency}"


def sweeps_as_json(sweeps: Sequence[FinetuneSweep], now: datetime) -> list[dict[str, Any]]:
    """What the table shows, and more."""
    return [_as_json(sweep, now) for sweep in sweeps]


def _as_json(sweep: FinetuneSweep, now: datetime) -> dict[str, Any]:
    counts, objective = sweep.status.trials, sweep.spec.objective
    snapshot = Snapshot(sweep, (), now)
    counted = {name: getattr(counts, name) for name in ("done", "running", "pending", "failed", "stalled")}
    return {
        "namespace": sweep.metadata.namespace,
        "sweep": sweep.name,
        "phase": sweep.status.phase,
        "message": snapshot.reason or None,
        "elapsedSeconds": snapshot.elapsed_s,
        "trials": {**counted, "max": sweep.spec.limits.max_trials},
        "objective": {"metric": objective.metric, "direction": objective.sense, "goal": objective.goal},
        "cost": cost_as_json(sweep),
        "best": best_as_json(sweep),
    }


def sweep_lines(
    before: Sequence[FinetuneSweep], after: Sequence[FinetuneSweep], now: datetime
) -> Iterator[str]:
    """A line for each sweep that is not as it was, and for each that is gone."""
    stamp = now.strftime("%H:%M:%S")
    known = {_identity(sweep): sweep for sweep in before}
    for sweep in after:
        earlier = known.pop(_identity(sweep), None)
        if earlier is None or _told(earlier) != _told(sweep):
            parts = [text.plain for text in _row(sweep, now, money=False)]
            names = "/".join(part for part in _identity(sweep) if part)
            score = f", best {parts[3]}" if parts[3] else ""
            line = f"{stamp} sweep {names} {parts[1]}, trials {parts[2]}{score}"
            yield f"{line}: {parts[-1]}" if parts[-1] else line
    for namespace, name in known:
        yield f"{stamp} sweep {'/'.join(part for part in (namespace, name) if part)} is gone"


def _identity(sweep: FinetuneSweep) -> tuple[str, str]:
    return sweep.metadata.namespace or "", sweep.name


def _told(sweep: FinetuneSweep) -> tuple[object, ...]:
    best = sweep.status.best
    return shown_phase(sweep), sweep.status.trials.done, None if best is None else best.trial
