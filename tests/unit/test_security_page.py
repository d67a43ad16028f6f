"""`docs/security.md` is held to what the tests really show."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_the_page_names_tests_that_exist() -> None:
    written = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    known = set(re.findall(r"def (test_\w+)\(", written))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named - known == set()
    assert len(named) > 40


def test_every_heading_about_an_attacker_names_a_test() -> None:
    sections = PAGE.split("\n## ")[3:-1]
    assert len(sections) == 5
    assert [section.partition("\n")[0] for section in sections if "`test_" not in section] == []
