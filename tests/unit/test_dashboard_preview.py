"""The picture of the dashboard in docs/operations.md shows all of the dashboard."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from docs.dashboard_preview import DASHBOARD, page
from docs.dashboard_world import Answer

FILE: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
SERIES = {"metric": {"namespace": "a", "sweep": "s", "phase": "<b>"}, "values": [[60, "0.25"], [65, "0.5"]]}


@pytest.fixture
def drawn() -> str:
    """The page where every panel has one series for each query, but the first has none."""
    given = {
        panel["id"]: [Answer(target["legendFormat"], [SERIES]) for target in panel["targets"]]
        for panel in FILE["panels"]
    }
    first = FILE["panels"][0]["id"]
    return page(FILE, {**given, first: [Answer("", [])]})


def test_every_panel_is_drawn_in_its_place(drawn: str) -> None:
    for panel in FILE["panels"]:
        place = panel["gridPos"]
        where = f"grid-column: {place['x'] + 1} / span {place['w']}; grid-row: {place['y'] + 1} / span"
        assert f"{where} {place['h']}" in drawn
        assert f"<h2>{html.escape(panel['title'])}</h2>" in drawn
    kinds = [panel["type"] for panel in FILE["panels"][1:]]
    assert drawn.count("<svg") == kinds.count("timeseries")
    assert drawn.count("<table>") == kinds.count("table")
    assert "a/s: 50.0%" in drawn
    assert drawn.count("No data") == 1


def test_it_says_that_it_is_no_grafana_and_keeps_texts_apart_from_the_page(drawn: str) -> None:
    assert "made without Grafana" in drawn
    assert "<b>" not in drawn
