"""The page is one file that loads nothing and runs nothing but our two scripts."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import time
from typing import Any

import pytest
from tests.unit.report.worlds import HOSTILE, WORLDS, hostile, nothing_succeeded, several_branches, usual

from finetune_operator.report.figures import figures_of
from finetune_operator.report.html import data_block, report_html
from finetune_operator.report.page import page_of
from finetune_operator.report.plots import log_ticks


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the text of each script, as a browser takes the page apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.texts.append(data)

    def policy(self) -> str:
        (found,) = [
            each["content"] for tag, each in self.tags if each.get("http-equiv") == "Content-Security-Policy"
        ]
        return found or ""


@pytest.fixture(scope="module")
def page() -> Elements:
    return Elements(report_html(hostile()))


def test_hostile_texts_make_no_element_and_no_attribute(page: Elements) -> None:
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert "svg" not in tags
    assert [name for _, each in page.tags for name in each if name.startswith("on")] == []


def test_hostile_texts_are_shown_as_they_are(page: Elements) -> None:
    shown = "".join(page.texts)
    assert [text for text in HOSTILE if text not in shown] == []


def test_only_our_two_scripts_may_run(page: Elements) -> None:
    data, library, ours = page.scripts
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (library, ours)]
    assert f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}';" in page.policy()
    assert page.policy().startswith("default-src 'none';")
    assert "unsafe-eval" not in page.policy()
    assert set(json.loads(data)) == {"specs", "data"}


def test_nothing_is_loaded_from_elsewhere(page: Elements) -> None:
    assert [each for _, each in page.tags if "src" in each] == []
    links = [each["href"] or "" for _, each in page.tags if "href" in each]
    assert [link for link in links if not link.startswith("#")] == [
        "https://github.com/vega/vega/blob/main/LICENSE"
    ]


def test_data_cannot_end_its_block() -> None:
    report = hostile()
    block = str(data_block(figures_of(report, page_of(report))))
    assert "<" not in block
    assert "\u2028" not in block
    texts = json.dumps(json.loads(block), ensure_ascii=False)
    assert HOSTILE[0] in texts


def test_no_text_of_others_names_a_column_or_is_part_of_an_expression() -> None:
    report = hostile()
    specs = [figure.spec for figure in figures_of(report, page_of(report)).figures]
    for key, value in walk(specs):
        if key in {"field", "filter", "test"}:
            assert re.fullmatch(r"[a-z0-9 .!()&]+", str(value), re.IGNORECASE), (key, value)


def walk(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, each in value.items() for pair in [(key, each), *walk(each)]]
    return [pair for each in value for pair in walk(each)] if isinstance(value, list) else []


@pytest.mark.parametrize("world", WORLDS)
def test_every_shape_of_a_sweep_can_be_drawn(world: str) -> None:
    text = report_html(WORLDS[world]())
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>")


def test_a_page_without_answers_says_why_in_a_line() -> None:
    assert "No answers are shown: no work folder." in report_html(several_branches())


def test_a_sweep_without_a_score_has_no_plot_and_says_why() -> None:
    report = nothing_succeeded()
    figures = figures_of(report, page_of(report)).figures
    assert [figure.spec for figure in figures] == [None] * len(figures)
    assert all(figure.caption for figure in figures)


def test_a_large_sweep_makes_a_page_of_a_few_megabytes_in_seconds() -> None:
    start = time.process_time()
    assert len(report_html(usual(1000))) < 4_000_000
    assert time.process_time() - start < 60


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-6, 1e-3, [1e-6, 1e-5, 1e-4, 1e-3]),
        (0.2, 5, [0.2, 0.5, 1, 2, 5]),
        (3e-4, 4e-4, [3e-4, 4e-4]),
        (1e-9, 1e9, [1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9]),
    ],
)
def test_ticks_of_a_log_axis_are_round_and_few(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == ticks
