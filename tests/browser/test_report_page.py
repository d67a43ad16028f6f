"""Reports as a browser shows them, opened from a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.browser.chromium import Chromium
from tests.browser.session import Page, browser_page
from tests.unit.report.worlds import NOW, WORLDS, a_sweep, a_trial

from finetune_operator.report import Report
from finetune_operator.report.html import report_html
from finetune_operator.resources import TrialPhase

Files = Callable[[str], Path]

MARKS = """[...document.querySelectorAll("[data-plot]")].map((place) =>
    [place.dataset.plot, place.querySelectorAll(".mark-symbol path, .mark-line path, .mark-rect path").length])"""
SHOWN = """[...document.querySelectorAll("#all tbody tr")].filter((row) => !row.hidden)
    .map((row) => Number(row.cells[0].dataset.value))"""
OUTSIDE = """[...document.querySelectorAll(".plot svg")].flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.width > 0 && (box.left < frame.left - 1 || box.right > frame.right + 1);
    }).map((text) => text.textContent); })"""
OVERLAPS = """[...document.querySelectorAll(".plot .role-axis-label")].flatMap((axis) => {
    const boxes = [...axis.querySelectorAll("text")].filter((text) => text.style.opacity !== "0"
        && text.getAttribute("opacity") !== "0" && !/rotate/.test(text.getAttribute("transform")))
        .map((text) => [text.textContent, text.getBoundingClientRect()]);
    return boxes.flatMap(([name, a], place) => boxes.slice(place + 1).filter(([, b]) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom).map(([other]) => [name, other]));
    })"""
LABELS = """[...document.querySelectorAll(".plot .role-axis-label")].map((axis) =>
    [...axis.querySelectorAll("text")].map((text) => text.textContent).filter((label) => label))"""
CONTRAST = """(() => {
    const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = (text) => { const [r, g, b] = numbers(text).map((each) => { const c = each / 255;
        return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126*r + 0.7152*g + 0.0722*b; };
    const behind = (node) => { for (; node; node = node.parentElement) {
        const color = getComputedStyle(node).backgroundColor;
        if (numbers(color).length === 3) return color; } return "rgb(255, 255, 255)"; };
    return Math.min(...[...document.querySelectorAll("p, td, th, dd, dt, h1, h2, h3, figcaption, pre, .plot text")]
        .filter((node) => node.textContent.trim() && node.getBoundingClientRect().width > 0).map((node) => {
            const style = getComputedStyle(node), svg = node instanceof SVGElement;
            const a = light(svg ? style.fill : style.color), b = light(behind(node));
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); })); })()"""


async def on_page(chromium: Chromium, file: Path, act: Callable[[Page], Any], **looks: str) -> Page:
    """Open a page, do something with it, and hold it to having been quiet."""
    async with browser_page(chromium) as page:
        await page.looks(**looks)
        await page.open(file)
        await act(page)
        assert page.errors == []
        assert page.requests == []
    return page


@pytest.mark.parametrize("world", WORLDS)
async def test_every_plot_is_drawn_and_nothing_is_said_asked_or_run(
    chromium: Chromium, page_file: Files, world: str
) -> None:
    async def look(page: Page) -> None:
        plots = dict(await page.value(MARKS))
        assert await page.value("document.body.dataset.drawn") == str(len(plots))
        assert (len(plots) > 0) == (world not in {"nothing-succeeded", "not-begun"})
        assert [name for name, marks in plots.items() if not marks] == []
        assert await page.value("window.broken") is None
        assert await page.value(OUTSIDE) == []
        assert await page.value(OVERLAPS) == []

    await on_page(chromium, page_file(world), look)


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read_on_its_ground(
    chromium: Chromium, page_file: Files, scheme: str, media: str
) -> None:
    async def look(page: Page) -> None:
        assert await page.value(CONTRAST) >= 4.5
        ground = await page.value("getComputedStyle(document.body).backgroundColor")
        assert ground == (
            "rgb(21, 24, 28)" if (scheme, media) == ("dark", "screen") else "rgb(255, 255, 255)"
        )

    await on_page(chromium, page_file("several-branches"), look, scheme=scheme, media=media)


async def test_it_prints_on_pages(chromium: Chromium, page_file: Files) -> None:
    async def look(page: Page) -> None:
        pdf = await page.pdf()
        assert pdf.startswith(b"%PDF")
        assert 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 15

    await on_page(chromium, page_file("usual"), look)


async def test_trials_are_filtered_and_sorted(chromium: Chromium, page_file: Files) -> None:
    async def look(page: Page) -> None:
        async def type_in(text: str) -> None:
            await page.value(f"filter.value = {text!r}; filter.dispatchEvent(new Event('input'))")

        async def click(title: str) -> list[int]:
            await page.value(
                "[...document.querySelectorAll('#all th')]"
                f".find((head) => head.textContent === {title!r}).click()"
            )
            order: list[int] = await page.value(SHOWN)
            return order

        assert await page.value(SHOWN) == list(range(30))
        await type_in("refused FAILED")
        assert await page.value(SHOWN) == [3, 10, 17, 24]
        assert await page.value("count.textContent") == "4 of 30 shown"
        await type_in("")
        rising, falling = await click("score"), await click("score")
        assert rising[:26] == falling[:26][::-1]
        assert set(rising[26:]) == set(falling[26:]) == {3, 10, 17, 24}
        await page.value("phase.value = 'Failed'; phase.dispatchEvent(new Event('change'))")
        assert sorted(await page.value(SHOWN)) == [3, 10, 17, 24]

    await on_page(chromium, page_file("usual"), look)


async def test_the_manifest_can_be_copied(chromium: Chromium, page_file: Files) -> None:
    async def look(page: Page) -> None:
        await page.value("copy.click()")
        said = await page.until("copied.textContent")
        if said == "selected: press Ctrl-C":
            assert (await page.value("String(getSelection())")).startswith("# Needs the FinetuneProvider")
        else:
            assert said == "copied"

    await on_page(chromium, page_file("usual"), look)


async def test_pointing_at_a_trial_shows_its_hyperparameters_as_text(
    chromium: Chromium, page_file: Files
) -> None:
    async def look(page: Page) -> None:
        place = await page.value("""(() => { const dot = document.querySelector(
            '[data-plot=score-by-trial] .mark-symbol path[aria-roledescription=point]');
            dot.scrollIntoView({block: "center"});
            const box = dot.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()""")
        await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] - 1, y=place[1])
        await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        text = await page.until("document.getElementById('vg-tooltip-element')?.textContent")
        assert "style" in text
        assert "window.broken=1" in text
        assert await page.value("window.broken") is None

    await on_page(chromium, page_file("hostile"), look)


async def test_pointing_at_a_line_lifts_it_out(chromium: Chromium, page_file: Files) -> None:
    wide = "document.querySelectorAll('[data-plot=parallel] .mark-line path[stroke-width=\"4\"]').length"

    async def look(page: Page) -> None:
        place = await page.value("""(() => {
            const line = document.querySelector('[data-plot=parallel] .mark-line path');
            line.scrollIntoView({block: "center"});
            const to = line.getPointAtLength(line.getTotalLength() * 0.13).matrixTransform(line.getScreenCTM());
            return [to.x, to.y]; })()""")
        assert await page.value(wide) == 0
        await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] - 40, y=place[1] - 40)
        await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        assert await page.until(wide) == 1

    await on_page(chromium, page_file("usual"), look)


async def test_a_thousand_trials_stay_usable(chromium: Chromium, page_file: Files) -> None:
    async def look(page: Page) -> None:
        start = time.monotonic()
        await page.value("filter.value = '99'; filter.dispatchEvent(new Event('input'))")
        await page.value("document.querySelectorAll('#all th')[3].click()")
        assert time.monotonic() - start < 30  # a second or two where nothing else runs
        assert await page.value(f"({SHOWN}).length") < 1000
        drawn = await page.value("performance.now()")
        assert drawn < 60_000

    await on_page(chromium, page_file("large"), look)


@pytest.mark.parametrize("width", [390, 1280, 2200])
async def test_it_fits_screens_of_every_width(chromium: Chromium, page_file: Files, width: int) -> None:
    async def look(page: Page) -> None:
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        # Plots take the new width a moment later, on a busy machine two.
        await page.value("new Promise((done) => setTimeout(done, 300))")
        await page.until(f"document.documentElement.scrollWidth <= {width} && {OVERLAPS}.length === 0")

    await on_page(chromium, page_file("several-branches"), look)


async def test_the_axes_of_few_trials_are_not_rounded(chromium: Chromium, tmp_path: Path) -> None:
    trials = (a_trial(0, phase=TrialPhase.FAILED), a_trial(1, 0.725), a_trial(2, phase=TrialPhase.CANCELLED))
    file = tmp_path / "few.html"
    file.write_text(report_html(Report(a_sweep(), trials, NOW)), encoding="utf-8")

    async def look(page: Page) -> None:
        axes = await page.value(LABELS)
        assert ["0", "1", "2"] in axes
        assert ["0.725"] in axes
        assert [labels for labels in axes if len(set(labels)) < len(labels)] == []

    await on_page(chromium, file, look)
