"""`finetune status`, `trials` and `best`: looking at sweeps of a state folder, in words that hold for a cluster too."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from tests.contract.store_contract import SWEEP_MANIFEST
from tests.unit.cli.conftest import NOW, Cli, add_trial, set_status, succeed

from finetune_operator.cli.sweeps_table import sweep_lines
from finetune_operator.folder import FolderStore
from finetune_operator.resources import (
    Condition,
    FinetuneSweep,
    SweepStatus,
    TrialPhase,
    load_yaml,
    parse_resource,
)
from finetune_operator.resources.sweep import SweepCost, TrialCounts

ALL = ".finetune"
STATE = f"{ALL}/support"
ESCAPE = re.compile(r"\x1b")


@pytest.fixture
def ended(cli: Cli) -> Cli:
    """A sweep of two trials that ended: `support-1` is the best."""
    cli.script = succeed
    assert cli("run", "sweep.yaml").exit_code == 0
    return cli


@pytest.fixture
def going_on(cli: Cli) -> Cli:
    """A sweep without any model, and trials of all sorts."""

    async def begin(store: FolderStore, _: asyncio.Event) -> None:
        await add_trial(
            store,
            0,
            phase=TrialPhase.FAILED,
            reason="DataRefused",
            message="=line 3:\n\x1b[31mno answer\x9b2J",
            finished_at=NOW,
            cost=Decimal("0.25"),
        )
        await add_trial(store, 1, phase=TrialPhase.EVALUATING, score=0.25, cost=Decimal("10.00"))
        await add_trial(store, 2, phase=TrialPhase.TRAINING, score=0.75)
        counts = TrialCounts(total=3, done=1, running=2, failed=1)
        ready = Condition(type="Ready", status="False", reason="Searching", message="2 trials go on")
        stalled = Condition(type="Stalled", status="True", reason="TrialStalled", message="a person")
        cost = SweepCost(spent=Decimal("0.25"), reserved=Decimal("3.00"))
        await set_status(store, "Searching", ready, stalled, trials=counts, cost=cost)

    cli.script = begin
    assert cli("run", "sweep.yaml").exit_code == 4
    return cli


def names(text: str) -> list[str]:
    """The trials that a table lists, in its order."""
    return re.findall(r"^(support-\d+)", text, re.MULTILINE)


def test_status_lists_all_sweeps_of_a_folder_of_states(ended: Cli, manifest: dict[str, Any]) -> None:
    manifest["metadata"]["name"] = "other"
    ended.write(manifest, "other.yaml")
    assert ended("run", "other.yaml").exit_code == 0
    shown = ended("status", "--state", ALL)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["SWEEP", "PHASE", "TRIALS", "BEST", "TIME", "SPENT", "MESSAGE"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["other", "Succeeded", "2/12", "0.8125"],
        ["support", "Succeeded", "2/12", "0.8125"],
    ]
    assert "the goal of 0.8 is met" in lines[1]
    listed = json.loads(ended("status", "--state", ALL, "-o", "json").stdout)
    assert [each["sweep"] for each in listed] == ["other", "support"]
    assert listed[0]["trials"] == {
        "done": 2,
        "running": 0,
        "pending": 0,
        "failed": 1,
        "stalled": 0,
        "max": 12,
    }


def test_status_of_one_sweep_shows_what_the_command_shows_while_it_runs(going_on: Cli) -> None:
    shown = going_on("status", "support", "--state", STATE)
    assert shown.exit_code == 0
    for part in (
        "support  Stalled",
        "trials 1 of 12",
        "0.25 spent + 3.00 reserved",
        "support-2",
        "2 trials go on",
    ):
        assert part in shown.stdout
    as_json = going_on("status", "support", "--state", STATE, "-o", "json").stdout
    assert as_json == going_on("report", "-o", "json").stdout
    assert "Stalled" in going_on("status", "--state", STATE).stdout.splitlines()[1]


def test_watching_a_sweep_that_ended_shows_it_and_ends(ended: Cli) -> None:
    watched = ended("status", "support", "--watch", "--state", ALL)
    assert watched.exit_code == 0
    assert "sweep support Succeeded: the goal of 0.8 is met" in watched.stdout


def test_watching_ends_with_the_sweeps_exit_code(cli: Cli) -> None:
    async def fail(store: FolderStore, _: asyncio.Event) -> None:
        await set_status(
            store, "Failed", Condition(type="Ready", status="False", reason="F", message="all failed")
        )

    cli.script = fail
    assert cli("run", "sweep.yaml").exit_code == 3
    assert cli("status", "support", "-w", "--state", ALL).exit_code == 3
    missing = cli("best", "--state", ALL)
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert missing.stderr == "Error: sweep support (Failed) has no model: all failed\n"


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ((), [0, 1, 2]),
        (("--desc",), [2, 1, 0]),
        (("--sort", "score"), [1, 2, 0]),
        (("--sort", "score", "--desc"), [2, 1, 0]),
        (("--sort", "cost", "--desc"), [1, 0, 2]),
        (("--sort", "cost"), [0, 1, 2]),
        (("--sort", "learningRate"), [0, 1, 2]),
        (("--sort", "duration"), [0, 1, 2]),
    ],
)
def test_trials_are_sorted_and_what_has_no_value_comes_last(
    going_on: Cli, options: tuple[str, ...], order: list[int]
) -> None:
    for output in ("table", "wide"):
        shown = going_on("trials", "support", "--state", ALL, "-o", output, *options)
        assert shown.exit_code == 0, shown.output
        assert names(shown.stdout) == [f"support-{index}" for index in order]


def test_an_unknown_key_is_refused_with_those_that_there_are(going_on: Cli) -> None:
    refused = going_on("trials", "--sort", "loss", "--state", ALL)
    assert refused.exit_code == 2
    assert "index, score, cost, duration, batchSize, epochs, learningRate" in refused.stderr


def test_a_trial_says_why_it_ended_and_steers_no_terminal(going_on: Cli) -> None:
    for output in ("table", "wide"):
        shown = going_on("trials", "--state", ALL, "-o", output).stdout
        assert "DataRefused: =line 3: [31mno answer 2J" in shown
        assert ESCAPE.search(shown) is None


def test_trials_for_programs_are_exact(going_on: Cli) -> None:
    rows = json.loads(going_on("trials", "--state", ALL, "-o", "json").stdout)
    assert [row["score"] for row in rows] == [None, 0.25, 0.75]
    assert rows == json.loads(going_on("report", "-o", "json").stdout)["trials"]
    assert load_yaml(going_on("trials", "--state", ALL, "-o", "yaml").stdout) == rows
    table = list(csv.DictReader(io.StringIO(going_on("trials", "--state", ALL, "-o", "csv").stdout)))
    assert [row["trial"] for row in table] == ["support-0", "support-1", "support-2"]
    first = table[0]
    assert (first["learningRate"], first["epochs"], first["cost"], first["currency"]) == (
        "1e-05",
        "2",
        "0.25",
        "USD",
    )
    assert first["message"].startswith("'=line 3:\n"), "a spreadsheet takes = for a formula"


def test_best_prints_the_models_id_alone(ended: Cli) -> None:
    for arguments in (("support",), (), ("support", "--wait", "1h")):
        shown = ended("best", *arguments, "--state", ALL)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "ft:smollm2:1\n", "")
    all_of_it = json.loads(ended("best", "--state", STATE, "-o", "json").stdout)
    assert all_of_it["fineTunedModel"] == "ft:smollm2:1"
    assert (all_of_it["sweep"], all_of_it["metric"], all_of_it["score"], all_of_it["baseScore"]) == (
        "support",
        "accuracy",
        0.8125,
        0.5,
    )


def test_best_says_why_there_is_no_model_yet(going_on: Cli) -> None:
    missing = going_on("best", "support", "--state", ALL)
    assert (missing.exit_code, missing.stdout) == (5, "")
    assert missing.stderr == "Error: sweep support (Searching) has no model yet: 2 trials go on\n"


def test_waiting_ends_when_its_time_is_over(going_on: Cli) -> None:
    late = going_on("best", "support", "--state", ALL, "--wait", "1s")
    assert (late.exit_code, late.stdout) == (5, "")
    assert going_on("best", "--state", ALL, "--wait", "soon").exit_code == 2


def test_a_name_that_there_is_not_is_told_of_with_those_near_it(ended: Cli) -> None:
    for command in ("status", "trials", "best", "report"):
        missing = ended(command, "suport", "--state", ALL)
        assert (missing.exit_code, missing.stdout) == (1, ""), command
        assert missing.stderr == "Error: there is no sweep suport in .finetune; near it: support\n"


def test_without_a_name_there_must_be_one_sweep(ended: Cli, manifest: dict[str, Any]) -> None:
    manifest["metadata"]["name"] = "other"
    ended.write(manifest, "other.yaml")
    ended("run", "other.yaml")
    several = ended("best", "--state", ALL)
    assert several.exit_code == 1
    assert several.stderr == "Error: there are several sweeps in .finetune: name one of other, support\n"


@pytest.mark.parametrize("command", [("status",), ("status", "support"), ("trials",), ("report",)])
def test_a_narrow_terminal_is_not_overrun(going_on: Cli, command: tuple[str, ...]) -> None:
    for columns in (80, 60):
        shown = going_on(*command, "--state", STATE, columns=columns).stdout
        tables = [line for line in shown.splitlines() if not line.startswith(("Sweep ", "State:"))]
        assert max(len(line.rstrip()) for line in tables) <= columns
        assert "support" in shown


def test_a_narrow_list_of_sweeps_keeps_what_is_said_of_them(going_on: Cli) -> None:
    assert "2 trials go on" in going_on("status", "--state", STATE, columns=80).stdout
    narrow = going_on("status", "--state", STATE, columns=56).stdout
    assert narrow.split()[:6] == ["SWEEP", "PHASE", "TRIALS", "BEST", "TIME", "MESSAGE"]


def test_a_pipe_gets_whole_lines(going_on: Cli) -> None:
    shown = going_on("trials", "--state", ALL, columns=None).stdout
    assert "DataRefused: =line 3: [31mno answer 2J" in shown
    assert len(shown.splitlines()) == 4
    assert ESCAPE.search(shown) is None


def test_a_folder_and_a_cluster_are_not_named_together(ended: Cli) -> None:
    for options in (("-n", "team-a"), ("--context", "kind")):
        both = ended("best", "--state", ALL, *options)
        assert both.exit_code == 2
        assert "--state is for a folder" in both.stderr
    assert ended("status", "support", "-A").exit_code == 2
    assert ended("status", "-A", "-n", "team-a").exit_code == 2


def test_lines_tell_of_sweeps_that_changed_came_or_went() -> None:
    def sweep(name: str, **status: Any) -> FinetuneSweep:
        made = parse_resource(
            FinetuneSweep, {**SWEEP_MANIFEST, "metadata": {"name": name, "namespace": "ns"}}
        )
        return made.model_copy(update={"status": SweepStatus(**status)})

    before = [sweep("same", phase="Searching"), sweep("moved", phase="Searching"), sweep("went")]
    moved = sweep("moved", phase="Searching", trials=TrialCounts(done=3))
    after = [before[0].model_copy(), moved, sweep("new")]
    assert list(sweep_lines(before, after, NOW)) == [
        "12:10:00 sweep ns/moved Searching, trials 3/12",
        "12:10:00 sweep ns/new Pending, trials 0/12",
        "12:10:00 sweep ns/went is gone",
    ]
    assert list(sweep_lines(after, after, NOW)) == []
