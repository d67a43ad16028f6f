"""Writes what was measured into docs/benchmarks.md, between two marks."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.scale.meters import Figures

from controlplane.binaries import pinned_version

PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench-operator: begin -->", "<!-- bench-operator: end -->"
_Shown = tuple[str, Callable[[Figures], str]]


def _number(name: str, form: str = ".1f") -> Callable[[Figures], str]:
    return lambda figures: "" if figures.get(name) is None else format(figures[name], form)


def _pair(first: str, second: str, form: str = ".2f") -> Callable[[Figures], str]:
    return lambda figures: f"{_number(first, form)(figures)} / {_number(second, form)(figures)}"


def _name(figures: Figures) -> str:
    return f"{figures['case']}, cut off" if figures.get("cut_off") else str(figures["case"])


def _whole(show: Callable[[Figures], str]) -> Callable[[Figures], str]:
    """Nothing of a case that was cut off, most of whose trials had not ended."""
    return lambda figures: "" if figures.get("cut_off") else show(figures)


_LOAD: Sequence[_Shown] = (
    ("case", _name),
    ("trials", _number("trials", ",d")),
    ("writes", _whole(_number("writes"))),
    (
        "of trials, sweeps, events",
        _whole(lambda f: " + ".join(_number(f"writes_{of}")(f) for of in ("trial", "sweep", "events"))),
    ),
    ("reads", _whole(_number("reads", ".2f"))),
    ("calls", _whole(_number("company_calls"))),
    ("pages a poll", _number("poll_pages", ".2f")),
    ("first submit, s", _whole(_pair("first_submit_p50_s", "first_submit_p99_s"))),
    ("next submit, s", _whole(_pair("next_submit_p50_s", "next_submit_p99_s"))),
    ("CPU s", _number("cpu_s", ".0f")),
    ("CPU ms a trial", _whole(lambda f: f"{1000 * f['cpu_s'] / f['trials']:.0f}")),
    ("peak MB", _number("peak_mb", ".0f")),
    ("minutes", lambda f: f"{f['took_s'] / 60:.1f}"),
    ("load", _number("load")),
)
_REST: Sequence[_Shown] = (
    ("sweeps, all ended", lambda figures: f"{figures['sweeps']:,}"),
    ("requests in a minute", _number("rest_requests", ".0f")),
    ("CPU s in a minute", _number("rest_cpu_s", ".2f")),
    ("restart: ready after, s", _number("restart_s")),
    ("CPU s until it is at rest", _number("restart_settled_cpu_s")),
    ("peak MB", _number("restart_mb", ".0f")),
    ("load", _number("load")),
    ("largest status, bytes: sweep / trial", _pair("sweep_bytes", "trial_bytes", ",d")),
)


def tables(results: Sequence[Figures]) -> str:
    """The results as Markdown."""
    ended = [each for each in results if "rest_requests" in each]
    return "\n".join(
        [
            *_table(_LOAD, [each for each in results if "trials" in each]),
            "",
            *_table(_REST, ended),
            "",
            _where(results),
        ]
    )


def _table(columns: Sequence[_Shown], results: Sequence[Figures]) -> list[str]:
    lines = [
        " | ".join(title for title, _ in columns),
        " | ".join("---" if not n else "---:" for n in range(len(columns))),
    ]
    lines += [" | ".join(show(each) for _, show in columns) for each in results]
    return [f"| {line} |" for line in lines]


def _where(results: Sequence[Figures]) -> str:
    dates = sorted({str(each["date"]) for each in results}) or [f"{datetime.now(UTC):%Y-%m-%d}"]
    packages = ", ".join(f"{name} {version(name)}" for name in ("kopf", "kubernetes", "pydantic", "openai"))
    return (
        f"{os.cpu_count()} cores ({_processor()}), shared by the API server, etcd, the company and the operator; "
        f"Python {platform.python_version()}, {packages}; Kubernetes {pinned_version()}; {' to '.join(dates)}."
    )


def _processor() -> str:
    info: Any = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*: (.*)$", info.read_text("utf-8"), re.MULTILINE) if info.exists() else None
    )
    return found[1] if found else platform.processor() or platform.machine()


def write_report(results: Sequence[Figures]) -> None:
    """Print the tables and put them into the page, in one step."""
    text = tables(results)
    page = PAGE.read_text("utf-8") if PAGE.exists() else f"# Benchmarks\n\n## Operator\n\n{BEGIN}\n{END}\n"
    changed = re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{text}\n{END}", page, flags=re.DOTALL
    )
    partial = PAGE.with_name(f".{PAGE.name}.new")
    partial.write_text(changed, "utf-8")
    os.replace(partial, PAGE)
    print(text, flush=True)
