"""The plots, as Vega-Lite specifications. Data stands beside them under the name `trials`, once for all plots.

Names and messages of other people are data, never a field's name and never part of an expression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune_operator.report.dimensions import Dimension
from finetune_operator.report.drawing import alt
from finetune_operator.report.importance import Importance

TRIALS = "trials"
COLORS = ("#3d7fd6", "#e0762f", "#2f9e63", "#b25fc4", "#b8901a", "#d64f5b", "#2fa3b3", "#7d8794")
GRADIENT = ("#c9b458", "#3fa08a", "#3457b2")
HEIGHT = 260
_SCORES = alt.Scale(zero=False, nice=True)
# Without a precision the one tick of an axis with a single score is rounded to a whole number.
_SCORE_AXIS = alt.Axis(format=".6~g")


@dataclass(frozen=True, slots=True)
class Axes:
    """What all plots share.

    Attributes:
        metric: Name of the score.
        maximize: Whether more is better.
        groups: Names that colors tell apart; empty where one color is enough.
        group_name: What these are.
        points: How many trials have a score; where there are many, points are small.
    """

    metric: str
    maximize: bool
    groups: tuple[str, ...] = ()
    group_name: str = ""
    points: int = 0

    def dots(self) -> dict[str, Any]:
        """How points look."""
        size = 70 if self.points <= 100 else 35 if self.points <= 400 else 16
        return {"filled": True, "size": size, "opacity": 0.85 if self.points <= 100 else 0.5}

    @property
    def score_title(self) -> str:
        """The score axis' title, with the direction."""
        return f"{self.metric} ({'higher' if self.maximize else 'lower'} is better)"

    def color(self, *, legend: bool = True) -> Any:
        """Points' color."""
        if not self.groups:
            return alt.value(COLORS[0])
        scale = alt.Scale(domain=list(self.groups), range=list(COLORS[: len(self.groups)]))
        explained = alt.Legend(orient="bottom", columns=2, labelLimit=320, title=self.group_name)
        return alt.Color("group:N", scale=scale, legend=explained if legend else None)

    def score(self) -> Any:
        """The score on the y axis."""
        return alt.Y("score:Q", title=self.score_title, scale=_SCORES, axis=_SCORE_AXIS)


@dataclass(frozen=True, slots=True)
class Mark:
    """A level of the score that is drawn as a line.

    Attributes:
        score: The level.
        label: What it is.
    """

    score: float
    label: str


def score_by_trial(axes: Axes, marks: Sequence[Mark], dimensions: Sequence[Dimension], *, gaps: bool) -> Any:
    """Score of each trial in the order of proposal, the best so far, and with `gaps` crosses for those without one."""
    x = alt.X(
        "i:Q",
        title="trial, in the order of proposal",
        # Of few trials there would be ticks between them, rounded to the numbers of their neighbours.
        axis=alt.Axis(tickMinStep=1, format="d", grid=False, labelExpr="datum.value % 1 ? '' : datum.label"),
        scale=alt.Scale(zero=False, nice=False, padding=12),
    )
    base = alt.Chart(alt.NamedData(name=TRIALS))
    line = base.mark_line(interpolate="step-after", strokeWidth=2, color=COLORS[1], opacity=0.8).encode(
        x=x, y=alt.Y("sofar:Q", title=axes.score_title, scale=_SCORES, axis=_SCORE_AXIS)
    )
    points = (
        base.transform_filter("isValid(datum.score)")
        .mark_point(**axes.dots())
        .encode(x=x, y=axes.score(), color=axes.color(), tooltip=_tooltip(axes, dimensions))
    )
    best = (
        base.transform_filter("datum.best")
        .mark_point(size=190, strokeWidth=2, color=COLORS[1])
        .encode(x=x, y=axes.score(), tooltip=_tooltip(axes, dimensions))
    )
    without = (
        base.transform_filter("!isValid(datum.score)")
        .mark_point(shape="cross", angle=45, size=55, filled=True)
        .encode(
            x=x,
            y=alt.value(HEIGHT - 6),
            color=alt.condition("datum.ended", alt.value(COLORS[5]), alt.value(COLORS[7])),
            tooltip=_tooltip(axes, dimensions),
        )
    )
    levels = _levels(marks) if marks else []
    return _sized(alt.layer(*levels, line, points, best, *([without] if gaps else [])))


def _levels(marks: Sequence[Mark]) -> list[Any]:
    rows = [{"score": mark.score, "label": mark.label} for mark in marks]
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=alt.Y("score:Q"))
    return [
        base.mark_rule(strokeDash=[5, 4], opacity=0.6, color="currentColor"),
        base.mark_text(align="left", dx=4, dy=-5, fontSize=11, color="currentColor").encode(
            x=alt.value(0), text="label:N"
        ),
    ]


def score_by_hyperparameter(axes: Axes, dimension: Dimension) -> Any:
    """Score over the values of one hyperparameter, on the scale that the search used."""
    x: Any
    if dimension.scale == "choice":
        # Slanted labels reach to the left of the plot unless they are short.
        few = len(dimension.choices) <= 4
        axis = alt.Axis(labelAngle=0)
        if max(map(len, dimension.choices)) > 6:
            axis = alt.Axis(labelAngle=-30 if few else -60, labelLimit=90)
        x = alt.X(
            f"{dimension.key}:N",
            title=dimension.name,
            scale=alt.Scale(domain=list(dimension.choices)),
            axis=axis,
        )
    else:
        x = alt.X(
            f"{dimension.key}:Q",
            title=f"{dimension.name}{' (log scale)' if dimension.scale == 'log' else ''}",
            scale=_scale(dimension),
            axis=_axis(dimension),
        )
    chart = (
        alt.Chart(alt.NamedData(name=TRIALS))
        .transform_filter(f"isValid(datum.score) && isValid(datum.{dimension.key})")
        .mark_point(**axes.dots())
        .encode(x=x, y=axes.score(), color=axes.color(legend=False), tooltip=_tooltip(axes, (dimension,)))
    )
    return _sized(chart, height=200)


def _scale(dimension: Dimension) -> Any:
    kind: Any = {"type": "log"} if dimension.scale == "log" else {"zero": False}
    return alt.Scale(domain=[dimension.low, dimension.high], nice=False, padding=14, **kind)


def _axis(dimension: Dimension) -> Any:
    low, high = dimension.low, dimension.high
    if dimension.scale == "log" and low < high:
        return alt.Axis(format="~e" if low < 1e-3 else "~g", values=log_ticks(low, high))
    if dimension.scale == "whole":
        if high - low > 12:
            return alt.Axis(format="~d")
        return alt.Axis(format="~d", values=list(range(int(low), int(high) + 1)))
    return alt.Axis(format="~g", tickCount=5)


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, over few decades their double and fivefold as well.

    Args:
        low: Least value, more than 0.
        high: Greatest value.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if high / low <= 100 else (1,)
    step = 1 + (last - first) // 8
    ticks = [float(f"{factor}e{power}") for power in range(first, last + 1, step) for factor in factors]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) > 1 else sorted({low, high})


def score_by_cost(
    axes: Axes, currency: str | None, dimensions: Sequence[Dimension], *, from_zero: bool
) -> Any:
    """Score over money, or over time where no price is known."""
    column, title = ("cost", f"cost of the trial ({currency})") if currency else ("minutes", "time (minutes)")
    chart = (
        alt.Chart(alt.NamedData(name=TRIALS))
        .transform_filter(f"isValid(datum.score) && isValid(datum.{column})")
        .mark_point(**axes.dots())
        .encode(
            x=alt.X(
                f"{column}:Q",
                title=title,
                scale=alt.Scale(zero=from_zero, nice=True, padding=0 if from_zero else 6),
                axis=alt.Axis(tickCount=8),
            ),
            y=axes.score(),
            color=axes.color(),
            tooltip=_tooltip(axes, dimensions),
        )
    )
    return _sized(chart)


def importance_bars(found: Sequence[Importance], metric: str) -> Any:
    """A bar for each hyperparameter, longest first, with one standard deviation."""
    rows = [
        {
            "name": each.name,
            "value": each.value,
            "low": each.value - each.deviation,
            "high": each.value + each.deviation,
            "trials": each.trials,
        }
        for each in found
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("name:N", sort=[each.name for each in found], title=None, axis=alt.Axis(labelLimit=200))
    )
    tooltip = [
        alt.Tooltip("name:N", title="hyperparameter"),
        alt.Tooltip("value:Q", title="importance", format=".3g"),
        alt.Tooltip("trials:Q", title="scored trials"),
    ]
    bars = base.mark_bar(color=COLORS[0], height=alt.RelativeBandSize(band=0.6)).encode(
        x=alt.X("value:Q", title=f"error of {metric} that shuffling adds", axis=alt.Axis(tickCount=7)),
        tooltip=tooltip,
    )
    lines = base.mark_rule(color="currentColor", opacity=0.7).encode(x="low:Q", x2="high:Q")
    return _sized(alt.layer(bars, lines), height=max(70, 30 * len(found)))


def _tooltip(axes: Axes, dimensions: Sequence[Dimension]) -> list[Any]:
    shown = [
        alt.Tooltip("trial:N", title="trial"),
        alt.Tooltip("score:Q", title=axes.metric, format=".4g"),
        alt.Tooltip("phase:N", title="phase"),
        alt.Tooltip("model:N", title="model"),
    ]
    for each in dimensions:
        if each.key == "model":
            continue
        kind = "N" if each.scale == "choice" else "Q"
        extra: dict[str, Any] = {} if kind == "N" else {"format": ".4~e" if 0 < each.low < 1e-3 else ".4~g"}
        shown.append(alt.Tooltip(f"{each.key}:{kind}", title=each.name, **extra))
    return [*shown, alt.Tooltip("took:N", title="time"), alt.Tooltip("why:N", title="why")]


def _sized(chart: Any, *, height: int = HEIGHT) -> Any:
    return chart.properties(width="container", height=height)
