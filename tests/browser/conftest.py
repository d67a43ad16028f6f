"""A browser for the session, and pages of reports."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.browser.chromium import Chromium, ChromiumUnavailableError, ensure_chromium
from tests.unit.report.worlds import WORLDS, usual

from finetune_operator.report.html import report_html


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    """The browser, fetched on the first use; a machine that cannot have it skips, and CI fails."""
    try:
        return ensure_chromium()
    except ChromiumUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a world's report, made once."""
    folder = tmp_path_factory.mktemp("reports")

    def made(world: str) -> Path:
        file = folder / f"{world}.html"
        if not file.exists():
            report = usual(1000) if world == "large" else WORLDS[world]()
            file.write_text(report_html(report), encoding="utf-8")
        return file

    return made
