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

from finetune_operator.cli.fitting import plain
from finetune_operator.cli.snapshot import (
    Snapshot,
    beside_score_text,
    fixed_parameters,
    model_text,
    only_model,
    score_text,
    shown_phase,
    varied_parameters,
)
from finetune_operator.report.words import (
    cost_text,
    duration_text,
    hyperparameters_text,
    money_text,
    number_text,
)
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase

ROWS_WHILE_LIVE = 20

STYLES = {
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
        parts.append(plain(snapshot.reason, "dim"))
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
    text.append(f"  {shown_phase(sweep)}")
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
    if money := money_text(sweep):
        facts.append(money)
    text.append("".join(f"{line}\n" for line in _same_for_all(snapshot)), style="dim")
    return text.append(" · ".join(facts), style="dim")


def _same_for_all(snapshot: Snapshot) -> list[str]:
    """What the rows of the trials leave out."""
    sweep = snapshot.sweep
    fixed = fixed_parameters(sweep)
    values = {
        name: spec.values[0]
        for name, spec in sweep.spec.candidates[0].parameters.items()
        if name in fixed and spec.values
    }
    line = " ".join(part for part in (only_model(sweep), hyperparameters_text(values)) if part)
    return [line] if line else []


def trial_table(snapshot: Snapshot, *, rows: int | None = None) -> RenderableType:
    """A row for each trial; with `rows`, only the last ones, and those that still go on."""
    shown = _chosen(snapshot.trials, rows)
    hidden = len(snapshot.trials) - len(shown)
    table = _FittingTable(snapshot, shown)
    if not hidden:
        return table
    return Group(table, Text(f"{hidden} earlier trials are not shown", style="dim"))


class _FittingTable:
    """The first of three forms that fits: a column for each hyperparameter, all on one line, or one a line.

    Columns are only for sweeps where all trials have the same hyperparameters.
    """

    def __init__(self, snapshot: Snapshot, trials: Sequence[FinetuneTrial]) -> None:
        self._snapshot = snapshot
        self._trials = trials

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        varied = varied_parameters(self._snapshot.sweep)
        unbounded = options.update(max_width=10_000)
        wider = [self._table(varied)] if varied is not None else []
        for table in (*wider, self._table(between=" ")):
            if Measurement.get(console, unbounded, table).maximum <= options.max_width:
                yield table
                return
        yield self._table(between="\n")

    def _table(self, columns: Sequence[str] | None = None, *, between: str = " ") -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("TRIAL", no_wrap=True)
        if only_model(self._snapshot.sweep) is None:
            table.add_column("MODEL", overflow="fold")
        for name in ("HYPERPARAMETERS",) if columns is None else columns:
            table.add_column(name, justify="left" if columns is None else "right", no_wrap=True)
        table.add_column("PHASE", overflow="fold")
        table.add_column("SCORE", justify="right", no_wrap=True)
        table.add_column("TIME", justify="right", no_wrap=True)
        if any(cost_text(self._snapshot.sweep, trial) for trial in self._snapshot.trials):
            table.add_column("COST", justify="right", no_wrap=True)
        for trial in self._trials:
            values = _hyperparameters(self._snapshot.sweep, trial, columns, between=between)
            table.add_row(*_row(self._snapshot, trial, values)[: len(table.columns)])
        return table


def _chosen(trials: tuple[FinetuneTrial, ...], rows: int | None) -> tuple[FinetuneTrial, ...]:
    if rows is None or len(trials) <= rows:
        return trials
    going_on = [trial for trial in trials if not trial.terminal][-rows:]
    ended = [trial for trial in trials if trial.terminal]
    chosen = going_on + ended[len(ended) - (rows - len(going_on)) :]
    return tuple(sorted(chosen, key=lambda trial: trial.spec.index))


def _row(snapshot: Snapshot, trial: FinetuneTrial, hyperparameters: Sequence[Text]) -> list[RenderableType]:
    best = snapshot.sweep.status.best
    is_best = best is not None and best.trial == trial.name
    name = Text(f"{trial.name}*" if is_best else trial.name, style="bold green" if is_best else "")
    model = model_text(snapshot.sweep, trial.spec.candidate, trial.spec.base_model)
    return [
        name,
        *([Text(model)] if only_model(snapshot.sweep) is None else []),
        *hyperparameters,
        _phase(snapshot, trial),
        Text(score_text(trial), style="bold" if is_best else ""),
        Text(duration_text(snapshot.trial_seconds(trial))),
        Text(cost_text(snapshot.sweep, trial)),
    ]


def _hyperparameters(
    sweep: FinetuneSweep, trial: FinetuneTrial, columns: Sequence[str] | None, *, between: str
) -> list[Text]:
    values = trial.spec.hyperparameters
    if columns is not None:
        return [Text(number_text(values[name]) if name in values else "") for name in columns]
    fixed = fixed_parameters(sweep)
    varied = {name: value for name, value in values.items() if name not in fixed}
    return [Text(hyperparameters_text(varied, between=between))]


def _phase(snapshot: Snapshot, trial: FinetuneTrial) -> RenderableType:
    """The phase; for a trial that goes on how far it is, for one that came to nothing why."""
    progress = snapshot.progress.get(trial.name)
    if trial.terminal or progress is None:
        return phase_with_reason(trial)
    text = Text(str(trial.phase), style=STYLES.get(trial.phase, ""))
    if progress.fraction is None:
        stage = "" if progress.stage == str(trial.phase) else f" {progress.stage}"
        return text.append(stage, style="dim")
    percent = round(100 * min(1.0, max(0.0, progress.fraction)))
    return Group(text.append(f" {percent}%"), ProgressBar(total=100, completed=percent, width=12))


def phase_with_reason(trial: FinetuneTrial) -> Text:
    """The phase; where the trial came to nothing with the reason in one word."""
    text = Text(str(trial.phase), style=STYLES.get(trial.phase, ""))
    tells_why = trial.phase in _NEEDS_A_REASON and trial.status.reason
    return text.append_text(plain(f" {trial.status.reason}", "dim")) if tells_why else text


def best_line(snapshot: Snapshot) -> Text:
    """The best trial, so far or at the end, or the base models' scores where there is none."""
    best, metric = snapshot.sweep.status.best, snapshot.sweep.spec.objective.metric
    ended = snapshot.sweep.status.finished
    if best is None:
        known = [each for each in snapshot.sweep.status.baselines if each.score is not None]
        scores = ", ".join(f"{each.base_model} {number_text(each.score or 0.0)}" for each in known)
        yet = "" if ended else " yet"
        return Text(f"no trial has succeeded{yet}{'; base models: ' + scores if scores else ''}")
    text = Text("best: " if ended else "best so far: ")
    text.append(f"{best.trial} with {metric} {number_text(best.score)}", style="bold green")
    if beside := beside_score_text(snapshot.sweep):
        text.append(f" ({beside})")
    return text


def summary(snapshot: Snapshot, state: Path | None) -> Text:
    """How the sweep ended, for a person: the last thing that is printed."""
    sweep, best = snapshot.sweep, snapshot.sweep.status.best
    metric = sweep.spec.objective.metric
    lines: list[str] = [f"Sweep {sweep.name}: {shown_phase(sweep)}. {plain(snapshot.reason)}".rstrip()]
    if best is not None:
        model = best.fine_tuned_model or "(no longer there)"
        lines += [
            f"Best trial:  {best.trial}, {best.candidate}/{best.base_model} at provider {best.provider}",
            f"             {hyperparameters_text(best.hyperparameters)}",
            f"Model:       {model}",
            f"Score:       {metric} {number_text(best.score)}",
        ]
        if beside := beside_score_text(sweep):
            lines[-1] += f" ({beside})"
    if money := money_text(sweep):
        lines.append(f"Cost:        {money}")
    if snapshot.elapsed_s is not None:
        lines.append(f"Time:        {duration_text(snapshot.elapsed_s)}")
    if state is not None:
        lines.append(f"State:       {state}")
    return Text("\n".join(lines))
