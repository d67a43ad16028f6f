"""Makes docs/images/dashboard.png: the Grafana dashboard's panels, drawn without Grafana.

`PYTHONPATH=.:operator:providers:tests .venv/bin/python docs/dashboard_preview.py` has three sweeps go on for some
minutes (dashboard_world.py), asks a real Prometheus each panel's own queries, and lays the answers out as the
dashboard's file says. With `--keep FILE` the answers are kept there, and read from there the next time. Needs
`prometheus` on the PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import vl_convert
from docs.dashboard_world import ROOT, Answer, answers
from docs.terminal_picture import draw

DASHBOARD = ROOT / "charts" / "finetune-operator" / "dashboards" / "finetune-operator.json"
PICTURE = ROOT / "docs" / "images" / "dashboard.png"
WIDTH = 1500
_UNIT_PX = 34
_PANEL_PX = 420
_UNITS = {"s": " s", "reqps": " /s"}
_HEAD = (
    "A preview made without Grafana: its file's panels, queries, units and places, drawn from Prometheus' answers "
    "while three sweeps went on for twelve minutes"
)
_STYLE = f"""
body {{ margin: 0; padding: 14px; background: #111217; color: #ccccdc; font: 13px "Open Sans", sans-serif }}
header {{ margin: 2px 4px 14px }} h1 {{ font-size: 18px; font-weight: 500; margin: 0 0 2px }}
main {{ display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: {_UNIT_PX}px; gap: 8px }}
section {{ background: #181b1f; border: 1px solid #2c3038; padding: 8px 10px; overflow: hidden;
  display: flex; flex-direction: column }}
h2 {{ font-size: 13px; font-weight: 500; margin: 0 0 6px }}
.body {{ flex: 1; display: flex; flex-direction: column; justify-content: center; min-height: 0 }}
.stat {{ text-align: center; font-size: 72px; color: #73bf69 }} .none {{ text-align: center; color: #8e8e9a }}
.bar {{ background: #22252b; margin: 2px 0 10px }} .bar i {{ display: block; height: 22px; background: #73bf69 }}
table {{ border-collapse: collapse; width: 100%; font-size: 12px }}
td, th {{ text-align: left; padding: 3px 6px; border-bottom: 1px solid #2c3038; font-weight: 400 }}
th {{ color: #8ab8ff }}
"""
Span = tuple[float, float]
"""When the first and the last value was, in seconds: all panels have the same time axis."""
_CONFIG = {
    "background": "#181b1f",
    "font": "Open Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": "#ccccdc", "gridColor": "#2c3038", "domainColor": "#2c3038", "tickColor": "#2c3038"},
    "legend": {"labelColor": "#ccccdc", "labelLimit": 380},
    "range": {
        "category": [
            "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c",
            "#5794f2", "#b877d9", "#37872d", "#fade2a", "#c4162a",
        ]
    },
}  # fmt: skip


def panel_html(panel: Mapping[str, Any], given: Sequence[Answer], span: Span) -> str:
    """A panel in its place."""
    place = panel["gridPos"]
    where = (
        f"grid-column: {place['x'] + 1} / span {place['w']}; grid-row: {place['y'] + 1} / span {place['h']}"
    )
    drawn = _KINDS[panel["type"]] if any(each.series for each in given) else _nothing
    unit = panel["fieldConfig"]["defaults"]["unit"]
    body = drawn(given, unit, span)
    return (
        f'<section style="{where}"><h2>{escape(panel["title"])}</h2><div class="body">{body}</div></section>'
    )


def _nothing(given: Sequence[Answer], unit: str, span: Span) -> str:
    return '<div class="none">No data</div>'


def _stat(given: Sequence[Answer], unit: str, span: Span) -> str:
    return f'<div class="stat">{_last(given[0].series[0]):g}</div>'


def _bars(given: Sequence[Answer], unit: str, span: Span) -> str:
    """The share that is committed, of each sweep."""
    parts = []
    for name, series in _named(given):
        share = _last(series)
        parts.append(f'{escape(name)}: {share:.1%}<div class="bar"><i style="width: {share:.1%}"></i></div>')
    return "".join(parts)


def _table(given: Sequence[Answer], unit: str, span: Span) -> str:
    """The last values, a row for each series that is still there, with its labels."""
    newest = max(_time(series) for _, series in _named(given))
    rows = [
        (
            {k: v for k, v in series["metric"].items() if k not in {"__name__", "instance", "job"}},
            _last(series),
        )
        for _, series in _named(given)
        if _time(series) == newest
    ]
    names = sorted({name for labels, _ in rows for name in labels})
    head = "".join(f"<th>{escape(name)}</th>" for name in (*names, "Value"))
    lines = [
        "".join(
            f"<td>{escape(text)}</td>" for text in (*(labels.get(name, "") for name in names), f"{value:g}")
        )
        for labels, value in rows
    ]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _lines(given: Sequence[Answer], unit: str, span: Span) -> str:
    """Series over time, as SVG."""
    rows = [
        {"time": at * 1000, "value": float(value), "name": name}
        for name, series in _named(given)
        for at, value in series["values"]
        if value != "NaN"
    ]
    if not rows:
        return _nothing(given, unit, span)
    names = len({row["name"] for row in rows})
    legend = {"orient": "bottom", "columns": 2 if names > 3 else 3, "title": None, "symbolType": "stroke"}
    y_axis = {
        "title": None,
        "labelExpr": f"format(datum.value, '.3~g') + '{_UNITS.get(unit, '')}'",
        "tickCount": 4,
    }
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 1.4, "interpolate": "linear"},
        "encoding": {
            "x": {
                "field": "time",
                "type": "temporal",
                "scale": {"type": "utc", "domain": [1000 * each for each in span]},
                "axis": {"title": None, "format": "%H:%M", "tickCount": 6},
            },
            "y": {"field": "value", "type": "quantitative", "axis": y_axis},
            "color": {"field": "name", "type": "nominal", "legend": legend},
        },
        "width": _PANEL_PX,
        "height": max(70, 205 - 14 * -(-names // (2 if names > 3 else 3))),
        "config": _CONFIG,
    }
    return str(vl_convert.vegalite_to_svg(spec))


_KINDS = {"stat": _stat, "timeseries": _lines, "bargauge": _bars, "table": _table}


def _named(given: Sequence[Answer]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each series with the name that Grafana makes of the legend's pattern."""

    def name(legend: str, labels: Mapping[str, str]) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend) or "value"

    return [(name(answer.legend, series["metric"]), series) for answer in given for series in answer.series]


def _last(series: Mapping[str, Any]) -> float:
    return float(series["values"][-1][1])


def _time(series: Mapping[str, Any]) -> float:
    return float(series["values"][-1][0])


def page(dashboard: Mapping[str, Any], given: Mapping[int, Sequence[Answer]]) -> str:
    """The whole dashboard as a page."""
    times = [_time(each) for shown in given.values() for answer in shown for each in answer.series]
    first = [each["values"][0][0] for shown in given.values() for answer in shown for each in answer.series]
    span = (min(first), max(times))
    panels = "".join(panel_html(panel, given[panel["id"]], span) for panel in dashboard["panels"])
    head = f"<header><h1>{escape(dashboard['title'])}</h1>{escape(_HEAD)}</header>"
    return (
        f'<!DOCTYPE html><meta charset="utf-8"><style>{_STYLE}</style>'
        f'<body data-drawn="yes">{head}<main>{panels}</main></body>'
    )


def _given(dashboard: Mapping[str, Any], keep: Path | None) -> dict[int, list[Answer]]:
    if keep is not None and keep.exists():
        kept = json.loads(keep.read_text("utf-8"))
        return {int(key): [Answer(**each) for each in value] for key, value in kept.items()}
    with tempfile.TemporaryDirectory(prefix="dashboard-") as folder:
        given = answers(dashboard, Path(folder))
    if keep is not None:
        plain = {key: [asdict(each) for each in value] for key, value in given.items()}
        keep.write_text(json.dumps(plain), encoding="utf-8")
    return given


def main() -> None:
    """Ask, draw, write."""
    parser = argparse.ArgumentParser(description="Draws the dashboard without Grafana.")
    parser.add_argument("--keep", type=Path, help="file for Prometheus' answers")
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    given = _given(dashboard, parser.parse_args().keep)
    asyncio.run(draw(page(dashboard, given), PICTURE, width=WIDTH))


if __name__ == "__main__":
    main()
