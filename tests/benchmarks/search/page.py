"""The section of docs/benchmarks.md and its plots."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tests.benchmarks.search.arena import PLACES
from tests.benchmarks.search.floor import of_group
from tests.benchmarks.search.methods import METHODS, TITLES
from tests.benchmarks.search.summary import Results, compare, mean_curve

DOCS = Path(__file__).parents[3] / "docs"
BEGIN = "<!-- search: written by `make bench-search` -->"
END = "<!-- search: end -->"
_PACKAGES = (
    "bayesian-optimization",
    "scikit-learn",
    "numpy",
    "optuna",
    "scikit-optimize",
    "hyperopt",
    "torch",
)
_MODES = {"sequential": "One trial at a time", "parallel": "Four in parallel, each begun when one ends"}

# A mean regret below this: the best point was found in each sweep.
_FOUND = 1e-6
# A resample in which ours found the best point each time has no ratio: such an interval is not given.
_MOST = 1e6


def section(
    results: Results,
    groups: Mapping[str, Sequence[str]],
    floors: Mapping[str, float],
    speed: Mapping[str, Mapping[int, float]],
    repeats: int,
) -> str:
    """The tables in Markdown.

    Args:
        results: By problem, method, mode and seed.
        groups: Held-out problems by group; the first table is of all of them.
        floors: Regret of the best observed of all points by problem, of those that are tables.
        speed: CPU seconds by method and number of finished trials.
        repeats: Points that ours proposed twice.
    """
    everything = [name for names in groups.values() for name in names]
    parts = [_provenance(results, everything)]
    for mode, title in _MODES.items():
        parts += [f"#### {title}", _table(results, everything, mode)]
        parts.append(f"![Mean regret after each trial](images/search-{mode}.png)")
    parts += ["#### By origin of the problem", _group_table(results, groups, floors)]
    if any(sweep.recommended for sweep in results.values()):
        parts += ["#### Which trial is named the best", _recommended_table(results, groups)]
    if speed:
        parts += ["#### Time to propose", _speed_table(speed)]
    parts.append(f"Points that ours proposed twice in a sweep: {repeats}.")
    return "\n\n".join(parts)


def rewrite(text: str) -> None:
    """Put the section between its marks, at the end of the page if there are none."""
    path = DOCS / "benchmarks.md"
    page = path.read_text("utf-8") if path.exists() else "# Benchmarks\n"
    if BEGIN not in page:
        page = f"{page.rstrip()}\n\n## Search\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")


def draw(results: Results, problems: Sequence[str]) -> None:
    """Write a plot for each mode to docs/images."""
    import altair as alt
    import vl_convert

    for mode in _MODES:
        rows = [
            {"method": TITLES[method].strip("*"), "trials": place + 1, "regret": value}
            for method in METHODS
            for place, value in enumerate(mean_curve(results, problems, method, mode))
            if place >= 2
        ]
        if not rows:
            continue
        chart = (
            alt.Chart(alt.Data(values=rows))
            .mark_line(strokeWidth=2)
            .encode(
                x=alt.X("trials:Q", title="completed trials"),
                y=alt.Y("regret:Q", title="mean regret", scale=alt.Scale(type="log", nice=False)),
                color=alt.Color("method:N", title=None, scale=alt.Scale(scheme="tableau10")),
                strokeDash=alt.condition(
                    alt.FieldOneOfPredicate("method", [TITLES["ours"].strip("*")]),
                    alt.value([1, 0]),
                    alt.value([4, 2]),
                ),
            )
            .properties(width=520, height=300)
        )
        folder = DOCS / "images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"search-{mode}.png").write_bytes(vl_convert.vegalite_to_png(chart.to_json(), scale=1.5))


def _provenance(results: Results, problems: Sequence[str]) -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    seeds = len({seed for problem, method, _, seed in results if method == "ours" and problem in problems})
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}. {len(problems)} held-out problems, {seeds} seeds of ours."
    )


def _cell(results: Results, problems: Sequence[str], method: str, mode: str, place: int) -> str:
    found = compare(results, problems, method, mode, place)
    if found is None:
        return "-"
    if found.own < _FOUND:  # no ratio to nothing
        return f"{found.other:.3f} to 0"
    if found.high > _MOST:
        return f"{found.ratio:.2f}"
    return f"{found.ratio:.2f} ({found.low:.2f}-{found.high:.2f})"


def _table(results: Results, problems: Sequence[str], mode: str) -> str:
    lines = [
        "| method | pairs | regret @10 | @20 | @30 | ratio to ours @10 | @20 | @30 | ours better @20 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        found = [compare(results, problems, method, mode, place) for place in PLACES]
        if found[0] is None or found[1] is None:
            continue
        regrets = " | ".join(f"{entry.other:.3f}" for entry in found if entry)
        if method == "ours":
            lines.append(f"| {TITLES[method]} | {found[0].pairs} | {regrets} | 1 | 1 | 1 | |")
            continue
        ratios = " | ".join(_cell(results, problems, method, mode, place) for place in PLACES)
        lines.append(f"| {TITLES[method]} | {found[0].pairs} | {regrets} | {ratios} | {found[1].wins:.0%} |")
    return "\n".join(lines)


def _group_table(results: Results, groups: Mapping[str, Sequence[str]], floors: Mapping[str, float]) -> str:
    others = ("random", "optuna-tpe", "optuna-gp")
    lines = [
        "| problems | mode | trials | every point tried | ours | "
        + " | ".join(f"{TITLES[name]}, ratio" for name in others)
        + " |",
        "| --- " * (5 + len(others)) + "|",
    ]
    for group, problems in groups.items():
        floor = of_group(floors, problems)
        start = "-" if floor is None else f"{floor:.3f}"
        for mode in _MODES:
            for place in PLACES:
                own = compare(results, problems, "ours", mode, place)
                if own:
                    cells = " | ".join(_cell(results, problems, name, mode, place) for name in others)
                    lines.append(
                        f"| {group} ({len(problems)}) | {mode} | {place} | {start} | {own.own:.3f} | {cells} |"
                    )
    return "\n".join(lines)


def _recommended_table(results: Results, groups: Mapping[str, Sequence[str]]) -> str:
    lines = [
        "| problems | mode | trials | best observed | recommended | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    everything = [name for names in groups.values() for name in names]
    for group, problems in {"all": everything, **groups}.items():
        for mode in _MODES:
            for place in PLACES:
                found = compare(results, problems, "ours", mode, place, recommended=True)
                if found:
                    lines.append(
                        f"| {group} | {mode} | {place} | {found.other:.3f} | {found.own:.3f} "
                        f"| {found.ratio:.2f} ({found.low:.2f}-{found.high:.2f}) |"
                    )
    return "\n".join(lines)


def _speed_table(speed: Mapping[str, Mapping[int, float]]) -> str:
    sizes = sorted({size for row in speed.values() for size in row})
    lines = [
        "| CPU seconds of a proposal, 5 pending | " + " | ".join(f"{size} finished" for size in sizes) + " |",
        "| --- " * (1 + len(sizes)) + "|",
    ]
    for method, row in speed.items():
        lines.append(f"| {TITLES[method]} | " + " | ".join(f"{row[size]:.3f}" for size in sizes) + " |")
    return "\n".join(lines)
