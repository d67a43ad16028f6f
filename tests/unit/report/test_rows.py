"""Trials as a report shows them."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from tests.unit.report.worlds import NOW, a_sweep, a_trial, minimized, nothing_succeeded, usual

from finetune_operator.report import Report
from finetune_operator.report.dimensions import dimensions_of
from finetune_operator.report.rows import TrialRow, plot_cells, rows_of, why
from finetune_operator.resources import TrialPhase


def rows(report: Report) -> tuple[TrialRow, ...]:
    return rows_of(report, dimensions_of(report.sweep, report.trials))


def test_the_best_so_far_never_gets_worse() -> None:
    best = [row.best_so_far for row in rows(usual()) if row.best_so_far is not None]
    assert best == sorted(best)
    falling = [row.best_so_far for row in rows(minimized()) if row.best_so_far is not None]
    assert falling == sorted(falling, reverse=True)


def test_one_trial_is_the_best_one_and_has_the_best_score() -> None:
    report = usual()
    (best,) = [row for row in rows(report) if row.is_best]
    assert best.score == max(row.score for row in rows(report) if row.score is not None)


def test_a_score_that_does_not_count_is_not_shown() -> None:
    assert [row.score for row in rows(nothing_succeeded())] == [None] * 5
    assert not any(row.is_best for row in rows(nothing_succeeded()))


@pytest.mark.parametrize(
    ("reason", "message", "shown"),
    [
        ("JobFailed", "no such file", "JobFailed: no such file"),
        ("Failed", "no such file", "no such file"),
        ("JobFailed", None, "JobFailed"),
        (None, None, ""),
        ("Failed", "x" * 9999, "x" * 399 + "…"),
    ],
)
def test_why_a_trial_ended_is_its_reason_and_message(
    reason: str | None, message: str | None, shown: str
) -> None:
    assert why(a_trial(0, phase=TrialPhase.FAILED, reason=reason, message=message)) == shown


def test_a_deleted_model_is_not_shown_as_there() -> None:
    report = Report(a_sweep(), (a_trial(0, 0.5, model_deleted=True),), NOW)
    assert rows(report)[0].fine_tuned_model == ""


def test_a_trial_that_goes_on_has_taken_the_time_until_now() -> None:
    report = Report(a_sweep(), (a_trial(0, phase=TrialPhase.TRAINING),), NOW)
    assert rows(report)[0].seconds == 5 * 3600
    assert not rows(report)[0].ended


def test_cells_of_a_plot_are_finite_numbers_and_texts() -> None:
    report = nothing_succeeded()
    for row in rows(report):
        cells = plot_cells(row, dimensions_of(report.sweep, report.trials), "")
        assert all(not isinstance(cell, float) or math.isfinite(cell) for cell in cells.values())


def test_what_counts_as_spent_is_shown_where_nobody_tells_the_cost() -> None:
    sweep = a_sweep(status={"cost": {"spent": "6.50", "perTrial": ["5.00", "1.50"], "currency": "USD"}})
    trials = (a_trial(0, 0.5, cost=Decimal("5.00")), a_trial(1, phase=TrialPhase.CANCELLED))
    told, counted = rows(Report(sweep, trials, NOW))
    assert (told.cost_text, counted.cost_text, counted.cost) == ("5.00", "~1.50", None)
