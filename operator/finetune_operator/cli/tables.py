"""A sweep as a person reads it: pure functions from a snapshot to what rich prints.

Names and messages come from outside; they are put into Text objects and never read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finetune_operator.cli.snapshot import (
    Snapshot,
    cost_text,
    duration_text,
    hyperparameters_text,
    improvement_text,
    model_text,
    number_text,
    score_text,
    sweep_cost_text,
)
from finetune_operator.resources import FinetuneTrial, TrialPhase

ROWS_WHILE_LIVE = 20

_STYLES = {
    TrialPhase.SUCCEEDED: "green",
    TrialPhase.FAILED: "red",
    TrialPhase.STALLED: "bold red",
    TrialPhase.CANCELLED: "dim",
    TrialPhase.EARLY_STOPPED: "dim",
    TrialPhase.TRAINING: "cyan",
    TrialPhase.EVALUATING: "cyan",
}

_NEEDS_A_REASON = {
    TrialPhase.FAILED,
    TrialPhase.CANCELLED,
    TrialPhase.EARLY_STOPPED,
    TrialPhase.STALLED,
}


def live_view(snapshot: Snapshot, *, hint: str = "", rows: int = ROWS_WHILE_LIVE) -> RenderableType:
    """What is shown while the sweep goes on: header, trials, best so far."""
    parts: list[RenderableType] = [header(snapshot), trial_table(snapshot, rows=rows)]
    parts.append(best_line(snapshot))
    if snapshot.reason:
        parts.append(Text(snapshot.reason, style="dim"))
    if hint:
        parts.append(Text(hint, style="yellow"))
    return Group(*parts)


def header(snapshot: Snapshot) -> Text:
    """Which sweep, what it looks for, and how far it is."""
    sweep, counts = snapshot.sweep, snapshot.sweep.status.trials
    objective = sweep.spec.objective
    goal = "" if objective.goal is None else f", goal {number_text(objective.goal)}"
    text = Text()
    text.append(sweep.name, style="bold")
    text.append(f"  {sweep.status.phase or 'Pending'}")
    text.append(f"  {sweep.spec.search.method} search: {objective.sense} {objective.metric}{goal}\n")
    facts = [f"trials {counts.done} of {sweep.spec.limits.max_trials}"]
    if counts.running or counts.pending:
        facts.append(f"{counts.running + counts.pending} going on")
    if counts.failed:
        facts.append(f"{counts.failed} failed")
    if counts.stalled:
        facts.append(f"{counts.stalled} stalled")
    if snapshot.elapsed_s is not None:
        facts.append(f"elapsed {duration_text(snapshot.elapsed_s)}")
    if money := sweep_cost_text(sweep):
        facts.append(money)
    return text.append(" · ".join(facts), style="dim")


def trial_table(snapshot: Snapshot, *, rows: int | None = None) -> RenderableType:
    """A row for each trial; with `rows`, only the last ones, and those that still go on."""
    shown = _chosen(snapshot.trials, rows)
    hidden = len(snapshot.trials) - len(shown)
    table = _FittingTable(snapshot, shown)
    if not hidden:
        return table
    return Group(table, Text(f"{hidden} earlier trials are not shown", style="dim"))


class _FittingTable:
    """A table with a line for each trial where that fits, else with a line for each hyperparameter."""

    def __init__(self, snapshot: Snapshot, trials: Sequence[FinetuneTrial]) -> None:
        self._snapshot = snapshot
        self._trials = trials

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._table(between=" ")
        needed = Measurement.get(console, options.update(max_width=10_000), wide).maximum
        yield wide if needed <= options.max_width else self._table(between="\n")

    def _table(self, *, between: str) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("TRIAL", no_wrap=True)
        table.add_column("MODEL", overflow="fold")
        table.add_column("HYPERPARAMETERS", no_wrap=True)
        table.add_column("PHASE", overflow="fold")
        table.add_column("SCORE", justify="right", no_wrap=True)
        table.add_column("TIME", justify="right", no_wrap=True)
        if any(cost_text(trial) for trial in self._snapshot.trials):
            table.add_column("COST", justify="right", no_wrap=True)
        for trial in self._trials:
            row = _row(self._snapshot, trial, between=between)
            table.add_row(*row[: len(table.columns)])
        return table


def _chosen(trials: tuple[FinetuneTrial, ...], rows: int | None) -> tuple[FinetuneTrial, ...]:
    if rows is None or len(trials) <= rows:
        return trials
    going_on = [trial for trial in trials if not trial.terminal][-rows:]
    ended = [trial for trial in trials if trial.terminal]
    chosen = going_on + ended[len(ended) - (rows - len(going_on)) :]
    return tuple(sorted(chosen, key=lambda trial: trial.spec.index))


def _row(snapshot: Snapshot, trial: FinetuneTrial, *, between: str) -> list[RenderableType]:
    best = snapshot.sweep.status.best
    is_best = best is not None and best.trial == trial.name
    name = Text(f"{trial.name}*" if is_best else trial.name, style="bold green" if is_best else "")
    return [
        name,
        Text(model_text(snapshot.sweep, trial.spec.candidate, trial.spec.base_model)),
        Text(hyperparameters_text(trial.spec.hyperparameters, between=between)),
        _phase(snapshot, trial),
        Text(score_text(trial), style="bold" if is_best else ""),
        Text(duration_text(snapshot.trial_seconds(trial))),
        Text(cost_text(trial)),
    ]


def _phase(snapshot: Snapshot, trial: FinetuneTrial) -> RenderableType:
    """The phase; for a trial that goes on how far it is, for one that came to nothing why."""
    text = Text(str(trial.phase), style=_STYLES.get(trial.phase, ""))
    progress = snapshot.progress.get(trial.name)
    if trial.terminal or progress is None:
        tells_why = trial.phase in _NEEDS_A_REASON and trial.status.reason
        return text.append(f" {trial.status.reason}", style="dim") if tells_why else text
    if progress.fraction is None:
        stage = "" if progress.stage == str(trial.phase) else f" {progress.stage}"
        return text.append(stage, style="dim")
    percent = round(100 * min(1.0, max(0.0, progress.fraction)))
    return Group(text.append(f" {percent}%"), ProgressBar(total=100, completed=percent, width=12))


def best_line(snapshot: Snapshot) -> Text:
    """The best trial so far, or the base models' scores while there is none."""
    best, metric = snapshot.sweep.status.best, snapshot.sweep.spec.objective.metric
    if best is None:
        known = [each for each in snapshot.sweep.status.baselines if each.score is not None]
        scores = ", ".join(f"{each.base_model} {number_text(each.score or 0.0)}" for each in known)
        return Text(f"no trial has succeeded yet{'; base models: ' + scores if scores else ''}")
    text = Text("best so far: ")
    text.append(f"{best.trial} with {metric} {number_text(best.score)}", style="bold green")
    if improvement := improvement_text(snapshot.sweep):
        text.append(f" ({improvement})")
    return text


def summary(snapshot: Snapshot, state: Path) -> Text:
    """How the sweep ended, for a person: the last thing that is printed."""
    sweep, best = snapshot.sweep, snapshot.sweep.status.best
    metric = sweep.spec.objective.metric
    lines: list[str] = [f"Sweep {sweep.name}: {sweep.status.phase or 'Pending'}. {snapshot.reason}".rstrip()]
    if best is not None:
        model = best.fine_tuned_model or "(no longer there)"
        lines += [
            f"Best trial:  {best.trial}, {best.candidate}/{best.base_model} at provider {best.provider}",
            f"             {hyperparameters_text(best.hyperparameters)}",
            f"Model:       {model}",
            f"Score:       {metric} {number_text(best.score)}",
        ]
        if improvement := improvement_text(sweep):
            lines[-1] += f" ({improvement})"
    if money := sweep_cost_text(sweep):
        lines.append(f"Cost:        {money}")
    if snapshot.elapsed_s is not None:
        lines.append(f"Time:        {duration_text(snapshot.elapsed_s)}")
    lines.append(f"State:       {state}")
    return Text("\n".join(lines))
