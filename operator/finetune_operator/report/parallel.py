"""Parallel coordinates: a line for each trial, through its value on every axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune_operator.report.dimensions import Dimension
from finetune_operator.report.drawing import alt
from finetune_operator.report.plots import GRADIENT, Axes
from finetune_operator.report.rows import TrialRow
from finetune_operator.report.words import number_text

LINES = "lines"
_NOT_THERE = -0.12
"""Where a line passes below an axis whose hyperparameter its trial does not have."""


def score_dimension(rows: Sequence[TrialRow], metric: str) -> Dimension:
    """The score as the last axis."""
    scores = [row.score for row in rows if row.score is not None]
    return Dimension("score", f"{metric} (score)", "linear", min(scores), max(scores))


def line_rows(rows: Sequence[TrialRow], dimensions: Sequence[Dimension], score: Dimension) -> list[Any]:
    """The lines' corners: for each scored trial one on each axis."""
    return [
        {"i": row.index, "trial": row.name, "score": row.score, "x": name, "y": y, "value": text}
        for row in rows
        if row.score is not None
        for name, y, text in _corners(row, dimensions, score)
    ]


def _corners(
    row: TrialRow, dimensions: Sequence[Dimension], score: Dimension
) -> list[tuple[str, float, str]]:
    corners: list[tuple[str, float, str]] = []
    for each in dimensions:
        value = row.values[each.key]
        here = (each.name, _NOT_THERE, "not in this candidate")
        if value is not None:
            here = (each.name, each.position(value), number_text(value))
        corners.append(here)
    if row.score is not None:
        corners.append((score.name, score.position(row.score), number_text(row.score)))
    return corners


def parallel_coordinates(axes: Axes, dimensions: Sequence[Dimension], score: Dimension, lines: int) -> Any:
    """The plot of so many lines; one that is pointed at stands out."""
    shown = (*dimensions, score)
    ticks = [{"x": d.name, "y": y, "label": label[:24]} for d in shown for y, label in d.ticks()]
    x = alt.X(
        "x:N",
        sort=[each.name for each in shown],
        title=None,
        scale=alt.Scale(type="point", padding=0.35),
        axis=alt.Axis(labelAngle=0, grid=True, domain=False, ticks=False, orient="top", labelLimit=130),
    )
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[_NOT_THERE - 0.03, 1.03], nice=False))
    labels = (
        alt.Chart(alt.InlineData(values=ticks))
        .mark_text(align="left", dx=6, fontSize=10, color="currentColor")
        .encode(x=x, y=y, text="label:N")
    )
    drawn = _lines(axes, lines).encode(x=x, y=y)
    return alt.layer(drawn, labels).properties(width="container", height=320)


def _lines(axes: Axes, lines: int) -> Any:
    """The lines without their places: the more there are, the fainter each is."""
    gradient = list(GRADIENT) if axes.maximize else list(reversed(GRADIENT))
    pointed = alt.selection_point(name="pointed", fields=["i"], on="pointerover", clear="pointerout")
    faint = 0.75 if lines <= 40 else 0.4 if lines <= 200 else 0.2
    return (
        alt.Chart(alt.NamedData(name=LINES))
        .mark_line(point=lines <= 200 and alt.OverlayMarkDef(size=18, opacity=0.6))
        .encode(
            detail="i:Q",
            color=alt.Color("score:Q", scale=alt.Scale(range=gradient, interpolate="lab"), legend=None),
            opacity=alt.condition(pointed, alt.value(1), alt.value(faint), empty=False),
            strokeWidth=alt.condition(pointed, alt.value(4), alt.value(1.6), empty=False),
            tooltip=[
                alt.Tooltip("trial:N", title="trial"),
                alt.Tooltip("score:Q", title=axes.metric, format=".4g"),
                alt.Tooltip("x:N", title="axis"),
                alt.Tooltip("value:N", title="value"),
            ],
        )
        .add_params(pointed)
    )
