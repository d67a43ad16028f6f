"""The page as values: every text and number that a report shows, before there is any HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from finetune_operator.decisions.best import value_of
from finetune_operator.report.content import Report
from finetune_operator.report.dimensions import MODEL, Dimension, dimensions_of
from finetune_operator.report.examples import Comparison, compare
from finetune_operator.report.importance import Importances, importances
from finetune_operator.report.manifest import manifest_text
from finetune_operator.report.rows import TrialRow, rows_of
from finetune_operator.report.words import duration_text, hyperparameters_text, money_text, number_text

MOST_COLORS = 8


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One line of the comparison of base and best model."""

    label: str
    base: str
    best: str


@dataclass(frozen=True, slots=True)
class Page:
    """A report, ready to be laid out.

    Attributes:
        name: The sweep.
        headline: What came of it, in a sentence.
        facts: What it was, for whom it may concern.
        sides: Base and best model side by side; empty where there is no best one.
        comparison: Their answers.
        why_no_answers: Why there are none.
        dimensions: The axes.
        rows: The trials.
        color_by: What colors tell apart; nothing where one is enough.
        groups: Their names.
        importances: How much each hyperparameter mattered.
        currency: In what costs are counted; None where no trial's cost is known.
        manifest: The manifest that makes the sweep again.
        made: When and by what the report was made.
    """

    name: str
    headline: str
    facts: tuple[Fact, ...]
    sides: tuple[SideBySide, ...]
    comparison: Comparison | None
    why_no_answers: str
    dimensions: tuple[Dimension, ...]
    rows: tuple[TrialRow, ...]
    color_by: str
    groups: tuple[str, ...]
    importances: Importances
    currency: str | None
    manifest: str
    made: tuple[Fact, ...]

    @property
    def scored(self) -> tuple[TrialRow, ...]:
        """The trials that have a score."""
        return tuple(row for row in self.rows if row.score is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The hyperparameters that differ, for the table."""
        return tuple(each.name for each in self.dimensions if each.key != "model")

    @property
    def several_models(self) -> bool:
        """Whether trials differ in what was fine-tuned."""
        return any(each.key == "model" for each in self.dimensions)

    def group_of(self, row: TrialRow) -> str:
        """Which color a trial has."""
        return {MODEL: row.model, "candidate": row.candidate, "provider": row.provider}.get(self.color_by, "")


def page_of(report: Report) -> Page:
    """Lay out a report. Blocking: the importances of 1,000 trials take seconds."""
    sweep = report.sweep
    dimensions = dimensions_of(sweep, report.trials)
    rows = rows_of(report, dimensions)
    color_by, groups = _colors(rows)
    comparison = compare(report.answers)
    known_cost = any(row.cost is not None and row.score is not None for row in rows)
    ready = sweep.status.condition("Ready")
    return Page(
        name=sweep.name,
        headline="" if ready is None else ready.message,
        facts=_facts(report, rows),
        sides=_sides(report, rows),
        comparison=comparison,
        why_no_answers="" if comparison else report.why_no_answers,
        dimensions=dimensions,
        rows=rows,
        color_by=color_by,
        groups=groups,
        importances=importances(rows, dimensions),
        currency=sweep.spec.limits.currency if known_cost else None,
        manifest=manifest_text(sweep),
        made=_made(report),
    )


def _colors(rows: Sequence[TrialRow]) -> tuple[str, tuple[str, ...]]:
    """The finest division of the trials that there are colors for."""
    for name, values in (
        (MODEL, [row.model for row in rows]),
        ("candidate", [row.candidate for row in rows]),
        ("provider", [row.provider for row in rows]),
    ):
        groups = tuple(sorted(set(values)))
        if 1 < len(groups) <= MOST_COLORS:
            return name, groups
    return "", ()


def _facts(report: Report, rows: Sequence[TrialRow]) -> tuple[Fact, ...]:
    sweep, status = report.sweep, report.sweep.status
    objective, search = sweep.spec.objective, sweep.spec.search
    goal = "" if objective.goal is None else f", goal {number_text(objective.goal)}"
    weight = f", costWeight {number_text(objective.cost_weight)}" if objective.cost_weight else ""
    by_phase = {row.phase: sum(row.phase == each.phase for each in rows) for row in rows}
    counted = ", ".join(f"{count} {phase}" for phase, count in sorted(by_phase.items()))
    facts = [
        Fact("State", status.phase or "Pending"),
        Fact("Objective", f"{objective.sense} {objective.metric}{goal}{weight}"),
        Fact("Search", f"{search.method}, seed {search.seed}"),
        Fact("Trials", f"{len(rows)} of at most {sweep.spec.limits.max_trials}: {counted or 'none yet'}"),
        Fact("Time", _time(status.started_at, status.finished_at, report.now)),
    ]
    if status.cost is not None:
        facts.append(Fact("Cost", money_text(report.sweep)))
    fixed = _fixed(rows)
    if fixed:
        facts.append(Fact("Same in all trials", fixed))
    return tuple(facts)


def _time(start: datetime | None, end: datetime | None, now: datetime) -> str:
    if start is None:
        return "not started"
    took = duration_text(((end or now) - start).total_seconds())
    return f"{moment(start)} to {moment(end)} ({took})" if end else f"since {moment(start)} ({took} so far)"


def moment(time: datetime) -> str:
    """A moment in UTC, to the minute."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _fixed(rows: Sequence[TrialRow]) -> str:
    """Hyperparameters that every trial has with the same value."""
    if len(rows) < 2:
        return ""
    first = rows[0].hyperparameters
    same = {
        name: value
        for name, value in first.items()
        if all(row.hyperparameters.get(name) == value for row in rows)
    }
    return hyperparameters_text(same, between=", ")


def _sides(report: Report, rows: Sequence[TrialRow]) -> tuple[SideBySide, ...]:
    best = next((row for row in rows if row.is_best), None)
    if best is None or best.score is None:
        return ()
    trial = next(each for each in report.trials if each.name == best.name)
    base_score = base_score_of(report, best)
    metric = report.sweep.spec.objective.metric
    unknown = "not measured"
    sides = [
        SideBySide("Model", best.model, best.fine_tuned_model or "no longer there"),
        SideBySide("Provider", best.provider, best.provider),
        SideBySide(metric, unknown if base_score is None else f"{base_score:.4g}", f"{best.score:.4g}"),
    ]
    value = value_of(report.sweep.spec.objective, trial)
    if report.sweep.spec.objective.cost_weight and value is not None:
        sides.append(SideBySide("value, with its cost", "", f"{value:.4g}"))
    base = {name: f"{value:.4g}" for name, value in report.base_metrics.items()}
    sides += [
        SideBySide(name, base.get(name, unknown), f"{value:.4g}")
        for name, value in sorted(trial.status.metrics.items())
        if name != metric
    ]
    shown = hyperparameters_text(best.hyperparameters, between=", ")
    money = "" if best.cost is None else f", {best.cost:.2f} {report.sweep.spec.limits.currency}"
    return (
        *sides,
        SideBySide("Trial", "", f"{best.name} ({duration_text(best.seconds) or 'time unknown'}{money})"),
        SideBySide("Hyperparameters", "", shown),
    )


def base_score_of(report: Report, best: TrialRow) -> float | None:
    """What the best model's own base model scores without fine-tuning, where that was measured."""
    model = next(each for each in report.trials if each.name == best.name).spec.base_model
    scores = [
        each.score
        for each in report.sweep.status.baselines
        if each.provider == best.provider and each.base_model == model
    ]
    return scores[0] if scores else None


def _made(report: Report) -> tuple[Fact, ...]:
    versions = [Fact(name, version) for name, version in report.versions.items()]
    return (Fact("Report made", moment(report.now)), *versions)
