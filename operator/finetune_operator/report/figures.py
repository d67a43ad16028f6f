"""Which plots a page has, each with a sentence on what it shows, or with why it is not there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from finetune_operator.report import plots
from finetune_operator.report.content import Report
from finetune_operator.report.importance import METHOD
from finetune_operator.report.page import Page, base_score_of
from finetune_operator.report.parallel import LINES, line_rows, parallel_coordinates, score_dimension
from finetune_operator.report.rows import plot_cells
from finetune_operator.report.words import number_text


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot.

    Attributes:
        key: Its id in the page.
        title: What is seen.
        caption: How to read it.
        spec: The Vega-Lite specification; None where there is nothing to draw.
        section: The heading below which it stands.
        min_width: Pixels that it needs; where there are fewer, it scrolls.
    """

    key: str
    title: str
    caption: str
    spec: dict[str, Any] | None
    section: str
    min_width: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """All plots and their data.

    Attributes:
        figures: In the order of the page.
        data: Rows by the name under which specifications refer to them.
    """

    figures: tuple[Figure, ...]
    data: dict[str, list[Any]] = field(default_factory=dict)


def figures_of(report: Report, page: Page) -> Figures:
    """The plots of a page."""
    objective = report.sweep.spec.objective
    axes = plots.Axes(
        objective.metric, objective.sense == "Maximize", page.groups, page.color_by, len(page.scored)
    )
    data: dict[str, list[Any]] = {
        plots.TRIALS: [plot_cells(row, page.dimensions, page.group_of(row)) for row in page.rows]
    }
    figures = [_by_trial(report, page, axes), *_by_hyperparameter(page, axes)]
    if page.scored and page.dimensions:
        score = score_dimension(page.scored, objective.metric)
        data[LINES] = line_rows(page.rows, page.dimensions, score)
        figures.insert(1, _parallel(page, axes))
    figures += [_importance(page, objective.metric), _by_cost(page, axes)]
    return Figures(tuple(figures), data)


def _by_trial(report: Report, page: Page, axes: plots.Axes) -> Figure:
    caption = (
        "Each point is a trial. The stepped line is the best score so far, the ring the best trial of all, a red "
        "cross at the bottom a trial that ended without a score, a grey one a trial that is still running."
    )
    key, title = "score-by-trial", "Score over trials"
    if not page.scored:
        return Figure(key, title, "No trial has a score yet: the table says why.", None, "Search")
    gaps = len(page.scored) < len(page.rows)
    chart = plots.score_by_trial(axes, _marks(report, page), page.dimensions, gaps=gaps)
    return Figure(key, title, caption, chart.to_dict(), "Search")


def _marks(report: Report, page: Page) -> list[plots.Mark]:
    """Levels to compare with: the goal, and the score of the best trial's base model."""
    goal = report.sweep.spec.objective.goal
    marks = [] if goal is None else [plots.Mark(goal, f"goal {number_text(goal)}")]
    best = next((row for row in page.rows if row.is_best), None)
    if best is not None and (base := base_score_of(report, best)) is not None:
        marks.append(plots.Mark(base, f"{best.model} without fine-tuning {number_text(base)}"))
    return marks


def _parallel(page: Page, axes: plots.Axes) -> Figure:
    score = score_dimension(page.scored, axes.metric)
    chart = parallel_coordinates(axes, page.dimensions, score, len(page.scored))
    caption = (
        "Each line is a trial with a score, through its value on every axis, in the color of its score; point at one "
        "to lift it out. Axes span the values that were tried, on the scale that the search used."
    )
    if any(row.values[each.key] is None for row in page.scored for each in page.dimensions):
        caption += " A line passes below an axis whose hyperparameter its candidate does not have."
    room = 110 * (len(page.dimensions) + 1)
    return Figure("parallel", "All hyperparameters together", caption, chart.to_dict(), "Search", room)


def _by_hyperparameter(page: Page, axes: plots.Axes) -> Iterable[Figure]:
    for each in page.dimensions:
        title = f"Score by {each.name}"
        having = [row for row in page.scored if row.values[each.key] is not None]
        spec = plots.score_by_hyperparameter(axes, each).to_dict() if having else None
        caption = "" if spec else "No trial with a score has it."
        yield Figure(f"by-{each.key}", title, caption, spec, "Hyperparameters")


def _importance(page: Page, metric: str) -> Figure:
    known = page.importances
    spec = plots.importance_bars(known.found, metric).to_dict() if known.found else None
    notes = " ".join(known.notes) or "Nothing differs between the trials, so nothing can be compared."
    caption = f"{METHOD} {notes}" if spec else notes
    return Figure("importance", "Importance of each hyperparameter", caption, spec, "Importance and cost")


def _by_cost(page: Page, axes: plots.Axes) -> Figure:
    section = "Importance and cost"
    if not page.scored:
        return Figure("score-by-cost", "Score by cost", "No trial has a score yet.", None, section)
    known = [row.cost if page.currency else row.seconds for row in page.scored]
    spent = [value for value in known if value is not None]
    if not spent:
        return Figure("score-by-cost", "Score by cost", "Neither costs nor times are known.", None, section)
    # Zero puts differences into proportion, unless the trials cost nearly the same.
    from_zero = min(spent) < max(spent) / 2 or min(spent) == max(spent)
    chart = plots.score_by_cost(axes, page.currency, page.dimensions, from_zero=from_zero).to_dict()
    if page.currency is None:
        caption = "No prices are known, so time stands in for money: training and evaluation together."
        return Figure("score-by-cost", "Score by time", caption, chart, section)
    caption = "What each trial cost, training and serving together. Trials of unknown cost are not shown."
    return Figure("score-by-cost", "Score by cost", caption, chart, section)
