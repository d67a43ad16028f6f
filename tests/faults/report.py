"""Writes what was measured into docs/reliability.md, between two marks."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.bench import Tally

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- bench-faults: begin -->", "<!-- bench-faults: end -->"
_MEANING = {
    "bought_twice": "jobs bought twice",
    "lost": "jobs lost",
    "leaked": "jobs, deployments or uploads leaked",
    "trials_lost": "trials lost",
    "stuck": "sweeps or trials stuck",
}


def table(tally: Tally, *, seed: int, seconds: float) -> str:
    """The result as Markdown."""
    rows = [
        ("kills", tally.kills),
        *((f"kills of {store}", count) for store, count in tally.stores.most_common()),
        *((f"kills {where}", count) for where, count in tally.where.most_common()),
        ("different steps killed at", len(tally.steps)),
        ("sweeps", sum(tally.sweeps.values())),
        ("trials", tally.trials),
        ("jobs sold", tally.jobs),
        ("questions to a person", tally.asked),
        *(
            (f"**{_MEANING[each.name]}**", len(getattr(tally.findings, each.name)))
            for each in fields(tally.findings)
        ),
    ]
    lines = ["| counted | number |", "| --- | ---: |", *(f"| {name} | {number} |" for name, number in rows)]
    lines += [
        "",
        f"Seed {seed}, {seconds / 60:.0f} minutes, {datetime.now(UTC):%Y-%m-%d}.",
        "",
        *_sweeps(tally),
    ]
    return "\n".join(lines)


def _sweeps(tally: Tally) -> list[str]:
    """Which sweeps they were."""
    kinds, how = sorted({kind for kind, _ in tally.sweeps}), sorted({how for _, how in tally.sweeps})
    return [
        f"| sweeps | {' | '.join(how)} |",
        f"| --- |{' ---: |' * len(how)}",
        *(f"| {kind} | {' | '.join(str(tally.sweeps[kind, each]) for each in how)} |" for kind in kinds),
    ]


def write_report(tally: Tally, *, seed: int, seconds: float) -> None:
    """Print the table and put it into the page, in one step."""
    text = table(tally, seed=seed, seconds=seconds)
    page = PAGE.read_text("utf-8") if PAGE.exists() else f"# Reliability\n\n{BEGIN}\n{END}\n"
    changed = re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{text}\n{END}", page, flags=re.DOTALL
    )
    partial = PAGE.with_name(f".{PAGE.name}.new")
    partial.write_text(changed, "utf-8")
    os.replace(partial, PAGE)
    print(text, flush=True)
