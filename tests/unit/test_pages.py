"""Pages that are made, and links between pages."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from docs import crds_page
from tests.contract.page_commands import all_blocks

from finetune_operator.evaluation.chat import parse_messages
from finetune_operator.resources.sweep import GENERATED_METRICS, REPORTED_METRICS
from finetune_providers import errors
from finetune_providers.base import Capabilities, Provider, ProviderConfig
from finetune_providers.local_lora.options import RULES

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "charts" / "finetune-operator" / "README.md",
    *sorted((ROOT / "examples").rglob("*.md")),
]


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_reference_of_the_kinds_is_fresh() -> None:
    assert crds_page.PAGE.read_text("utf-8") == crds_page.page(), "make chart writes it anew"


def test_the_reference_has_every_field_of_the_crds() -> None:
    text = crds_page.page()
    for field in (
        "spec.limits.maxTrials",
        "spec.candidates[].parameters{}.int.min",
        "status.conditions[].reason",
    ):
        assert f"`{field}`" in text
    assert "min must be less than max" in text
    assert "1 to 0" not in text, "bounds that refuse lists and objects are no bounds of a number or a text"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    broken = []
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [each.name for each in (ROOT / "docs").glob("*.md") if f"(docs/{each.name})" not in text] == []


def test_the_reasons_that_the_operations_page_explains_are_given_by_the_operator() -> None:
    table = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("\n| reason | on |")[2]
    rows = re.findall(r"^\| (`[^|]+`) \|", table.partition("\n\n")[0], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    code = "".join(each.read_text("utf-8") for each in (ROOT / "operator").rglob("*.py"))
    assert len(named) > 15
    assert {name for name in named if f'"{name}"' not in code} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = set(
        re.findall(
            r"`((?:tests|docs|examples|crds|charts|image|operator|providers)/[\w./-]*\w)`",
            page.read_text("utf-8"),
        )
    )
    assert {each for each in named if not (ROOT / each).exists()} == set()


def test_make_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
        assert set(named) <= targets, page


def test_options_that_pages_name_are_options_of_a_command() -> None:
    code = "".join(
        each.read_text("utf-8") for each in (ROOT / "operator" / "finetune_operator" / "cli").glob("*.py")
    )
    known = set(re.findall(r"(?<!-)--[a-z][a-z-]+", code)) | {"--help", "--version"}
    for page in PAGES:
        named = re.findall(
            r"finetune (?:operator|run|plan|report|status|trials|best|resolve)\b[^`\n]*",
            page.read_text("utf-8"),
        )
        options = {each for text in named for each in re.findall(r"(?<!\S)--[a-z][a-z-]+", text)}
        assert options <= known, (page, options - known)


def test_the_readme_says_on_which_kubernetes_the_tests_run_and_which_the_chart_takes() -> None:
    modules = (ROOT / "tests" / "controlplane" / "tools" / "kubernetes" / "go.mod").read_text("utf-8")
    (tested,) = re.findall(r"^\tk8s\.io/kubernetes v(\d+\.\d+)\.", modules, re.MULTILINE)
    chart = (ROOT / "charts" / "finetune-operator" / "Chart.yaml").read_text("utf-8")
    (oldest,) = re.findall(r'^kubeVersion: ">=(\d+\.\d+)\.', chart, re.MULTILINE)
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"Kubernetes {oldest} or newer; the tests run on {tested}." in text


def test_the_fields_that_stand_beside_those_of_other_tools_are_fields() -> None:
    fields = re.findall(r"`((?:spec|status)\.[\w.\[\]{}]+)`", crds_page.page())
    rows = re.findall(
        r"^\| .* \| (.*) \|$", (ROOT / "docs" / "coming-from.md").read_text("utf-8"), re.MULTILINE
    )
    named = {name for cell in rows for name in re.findall(r"`([a-z][\w.\[\]]*)(?:: \w+)?`", cell)}
    assert len(named) > 20
    assert {name for name in named if not any(f".{each}".endswith(f".{name}") for each in fields)} == set()


def test_the_page_of_data_shows_examples_that_are_accepted_and_every_metric() -> None:
    page = "docs/data-and-scores.md"
    (block,) = (each for each in all_blocks() if (each.page, each.language) == (page, "json"))
    for line in block.text.splitlines():
        assert parse_messages(line.encode())[-1]["role"] == "assistant"
    table = (ROOT / page).read_text("utf-8").partition("| `objective.metric` |")[2]
    named = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)
    assert sorted(named) == sorted([*GENERATED_METRICS, *REPORTED_METRICS])


def test_the_page_for_authors_of_providers_names_all_that_they_meet() -> None:
    text = (ROOT / "docs" / "adding-a-provider.md").read_text("utf-8")
    met = {each.name for kind in (Capabilities, ProviderConfig) for each in dataclasses.fields(kind)}
    met |= {name for name in vars(Provider) if not name.startswith("_")}
    met |= {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ProviderError) and kind.__subclasses__() == []
    }
    assert {name for name in met if f"`{name}`" not in text} == set()


def test_the_page_of_local_has_every_parameter_with_its_bounds_and_its_default() -> None:
    text = (ROOT / "docs" / "providers" / "local.md").read_text("utf-8").partition("## Parameters")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", text.partition("\n\nThe ")[0], re.MULTILINE)
    assert {name for name, _, _ in rows} == RULES.parameters.keys()
    for name, takes, default in rows:
        rule = RULES.parameters[name]
        named = [float(each) for each in re.findall(r"\d+", takes)]
        bounds = [each for each in (rule.minimum, rule.maximum) if each is not None]
        assert named == bounds, name
        assert rule.default == (None if default == "all layers" else float(default)), name


def test_the_modules_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"`(\w+\.py)`", text)
    there = {each.name for each in (ROOT / "operator" / "finetune_operator" / "lifecycle").glob("*.py")}
    assert len(named) > 10
    assert set(named) <= there
