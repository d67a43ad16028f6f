"""The plots as one picture, for a chat or a slide; drawn without a browser."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from finetune_operator.report.content import Report
from finetune_operator.report.drawing import alt, vega_lite_version, vl_convert
from finetune_operator.report.figures import Figure, figures_of
from finetune_operator.report.page import Page, page_of

WIDTH = 960
_GAP = 40
_INK = "#1b1f24"
_IN_A_ROW = 3
_FONT = "Open Sans, DejaVu Sans, Liberation Sans, sans-serif"


def report_png(report: Report, *, scale: float = 1.5) -> bytes:
    """A report's plots as PNG. Blocking: seconds.

    Args:
        report: What to draw.
        scale: Pixels for each unit of length; the picture is some 1,050 units wide.
    """
    page = page_of(report)
    figures = figures_of(report, page)
    drawn = [figure for figure in figures.figures if figure.spec is not None]
    notes = {"importance": " ".join(page.importances.notes)}
    rows = [_beside(row, notes) for row in _rows(drawn)] or [_nothing()]
    spec: dict[str, Any] = {
        "$schema": alt.SCHEMA_URL,
        "title": {
            "text": page.name,
            "subtitle": _subtitle(page),
            "anchor": "start",
            "offset": 20,
            "fontSize": 20,
        },
        "vconcat": rows,
        "spacing": _GAP,
        "datasets": _datasets(drawn, figures.data),
        "config": _config(),
        "padding": 20,
    }
    # Shared scales would give every plot the first one's axes.
    spec["resolve"] = {"scale": {"color": "independent"}, "legend": {"color": "independent"}}
    text = json.dumps(spec).replace("currentColor", _INK)
    picture: bytes = vl_convert.vegalite_to_png(text, vl_version=vega_lite_version(), scale=scale)
    return picture


def _rows(drawn: list[Figure]) -> list[list[Figure]]:
    """The wide plots each by itself, those of single hyperparameters beside each other."""
    rows: list[list[Figure]] = []
    for figure in drawn:
        narrow = figure.key.startswith("by-")
        if narrow and rows and rows[-1][0].key.startswith("by-") and len(rows[-1]) < _IN_A_ROW:
            rows[-1].append(figure)
        else:
            rows.append([figure])
    return rows


def _beside(row: list[Figure], notes: Mapping[str, str]) -> dict[str, Any]:
    narrow = row[0].key.startswith("by-")
    width = (WIDTH - (_IN_A_ROW - 1) * (_GAP + 40)) // _IN_A_ROW if narrow else WIDTH
    return {"hconcat": [_titled(figure, width, notes.get(figure.key, "")) for figure in row], "spacing": _GAP}


def _titled(figure: Figure, width: int, note: str) -> dict[str, Any]:
    spec = {
        key: value
        for key, value in (figure.spec or {}).items()
        if key not in {"$schema", "datasets", "config"}
    }
    title: dict[str, Any] = {
        "text": figure.title,
        "anchor": "start",
        "frame": "group",
        "fontSize": 14,
        "offset": 8,
    }
    if note:
        title["subtitle"] = textwrap.wrap(note, 150)
    return spec | {"width": width, "title": title}


def _nothing() -> dict[str, Any]:
    words = "No trial has a score yet."
    return {
        "data": {"values": [{"text": words}]},
        "mark": {"type": "text", "align": "left", "fontSize": 14},
        "encoding": {"text": {"field": "text", "type": "nominal"}, "x": {"value": 0}},
        "width": WIDTH,
        "height": 40,
    }


def _subtitle(page: Page) -> list[str]:
    facts = [f"{fact.label}: {fact.value}" for fact in page.facts[:4]]
    lines = [" · ".join(facts)]
    return [page.headline[:160], *lines] if page.headline else lines


def _datasets(drawn: list[Figure], data: dict[str, list[Any]]) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for figure in drawn:
        own |= (figure.spec or {}).get("datasets", {})
    return own | data


def _config() -> dict[str, Any]:
    return {
        "background": "white",
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {"labelColor": _INK, "titleColor": _INK, "gridColor": "#e4e7ea", "titleFontWeight": 500},
        "title": {"color": _INK, "subtitleColor": "#5b6570", "subtitleFontSize": 12},
    }
