"""What a person reads of a sweep that goes on."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType
from tests.contract.store_contract import SWEEP_MANIFEST, a_trial
from tests.unit.cli.conftest import NOW, START

from finetune_operator.cli.display import LiveDisplay
from finetune_operator.cli.json_output import sweep_as_json
from finetune_operator.cli.lines import changes
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.tables import ROWS_WHILE_LIVE, best_line, header, live_view, summary, trial_table
from finetune_operator.lifecycle.context import TrialProgress
from finetune_operator.resources import (
    BestTrial,
    Condition,
    FinetuneSweep,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
    TrialStatus,
    parse_resource,
)
from finetune_operator.resources.sweep import Baseline, SweepCost, TrialCounts

BEST = BestTrial(
    trial="support-1",
    candidate="small",
    provider="local",
    base_model="smollm2-135m",
    fine_tuned_model="ft:1",
    score=0.8125,
    base_score=0.5,
    hyperparameters={"epochs": 2},
)


def a_sweep(**status: Any) -> FinetuneSweep:
    sweep = parse_resource(FinetuneSweep, SWEEP_MANIFEST)
    return sweep.model_copy(update={"status": SweepStatus(**status)})


def trial(index: int, **status: Any) -> FinetuneTrial:
    return a_trial(index, namespace="default").model_copy(update={"status": TrialStatus(**status)})


def snapshot(*trials: FinetuneTrial, progress: Any = None, **status: Any) -> Snapshot:
    return Snapshot(a_sweep(**status), trials, NOW, progress or {})


def text_of(view: RenderableType, width: int = 140) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_header_says_what_is_searched_and_how_far_it_is() -> None:
    cost = SweepCost(spent=Decimal("3.00"), reserved=Decimal("1.50"))
    counts = TrialCounts(total=6, done=4, running=1, pending=1, failed=1)
    shown = text_of(header(snapshot(phase="Searching", trials=counts, cost=cost, started_at=START)))
    assert shown == [
        "support  Searching  Bayesian search: Maximize accuracy, goal 0.95",
        "trials 4 of 12 · 2 going on · 1 failed · elapsed 10m00s · 3.00 spent + 1.50 reserved of 20.00 USD",
    ]


def test_a_sweep_that_waits_for_a_person_is_headed_as_in_the_list_of_sweeps() -> None:
    refused = Condition(type="Stalled", status="True", reason="InvalidSpec", message="spec.candidates[0]: no")
    assert text_of(header(snapshot(phase="Pending", conditions=(refused,))))[0].startswith("support  Stalled")


def test_a_sweep_that_has_not_begun_is_shown_as_well() -> None:
    shown = text_of(live_view(snapshot()))
    assert shown[0].startswith("support  Pending")
    assert shown[1] == "trials 0 of 12"
    assert "no trial has succeeded yet" in shown


def test_a_row_shows_a_trial_that_trains() -> None:
    going = trial(3, phase=TrialPhase.TRAINING, started_at=NOW - timedelta(seconds=75))
    shown = text_of(
        trial_table(snapshot(going, progress={"support-3": TrialProgress("Training", 0.25, "step 5")}))
    )
    row, bar = shown[-2:]
    assert row.startswith("support-3")
    assert set(bar.strip()) <= set("━╸ ")
    assert row.split()[1:7] == ["smollm2-135m", "2", "1e-05", "Training", "25%", "1m15s"]
    assert row.endswith("~1.50")


def test_a_trial_without_a_fraction_shows_its_stage() -> None:
    waiting = trial(3, phase=TrialPhase.TRAINING)
    shown = text_of(trial_table(snapshot(waiting, progress={"support-3": TrialProgress("Queued")})))
    assert "Queued" in shown[-1]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_column_fits_a_usual_terminal(width: int) -> None:
    trials = (
        trial(0, phase=TrialPhase.SUCCEEDED, score=0.8125, started_at=START, finished_at=NOW),
        trial(1, phase=TrialPhase.FAILED, reason="InvalidDataset", cost=Decimal("1.50")),
        trial(2, phase=TrialPhase.EVALUATING, reason="Evaluating", started_at=START),
    )
    long_name = trials[2].spec.model_copy(update={"base_model": "SmolLM2-135M-Instruct"})
    trials = (*trials[:2], trials[2].model_copy(update={"spec": long_name}))
    progress = {"support-2": TrialProgress("Evaluating", 0.5)}
    shown = text_of(trial_table(snapshot(*trials, progress=progress)), width=width)
    hyperparameters = ["HYPERPARAMETERS"] if width == 80 else ["epochs", "learningRate"]
    assert shown[0].split() == ["TRIAL", "MODEL", *hyperparameters, "PHASE", "SCORE", "TIME", "COST"]
    everything = "\n".join(shown)
    assert max(map(len, shown)) <= width
    for part in ("0.8125", "10m00s", "InvalidDataset", "1e-05", "Evaluating 50%", "~1.50"):
        assert part in everything


def test_a_candidate_is_named_where_there_are_several() -> None:
    view = snapshot(trial(0, phase=TrialPhase.TRAINING))
    spec = view.sweep.spec
    twin = spec.candidates[0].model_copy(update={"name": "twin"})
    several = spec.model_copy(update={"candidates": (*spec.candidates, twin)})
    sweep = view.sweep.model_copy(update={"spec": several})
    assert "small/smollm2-135m" in text_of(trial_table(Snapshot(sweep, view.trials, NOW)))[-1]


def test_the_best_trial_is_marked() -> None:
    trials = (
        trial(0, phase=TrialPhase.SUCCEEDED, score=0.7, cost=Decimal("1.25")),
        trial(1, phase=TrialPhase.SUCCEEDED, score=0.8125, score_text="0.8125"),
    )
    rows = text_of(trial_table(snapshot(*trials, best=BEST)))
    assert rows[-2].startswith("support-0  ")
    assert "0.7 " in rows[-2]
    assert rows[-2].endswith("1.25")
    assert rows[-1].startswith("support-1* ")


def test_a_failed_trial_shows_why_in_a_word() -> None:
    failed = trial(0, phase=TrialPhase.FAILED, reason="InvalidDataset")
    assert "Failed InvalidDataset" in text_of(trial_table(snapshot(failed)))[-1]


def test_a_trial_that_goes_on_does_not_say_its_phase_twice() -> None:
    going = trial(0, phase=TrialPhase.TRAINING, reason="Training")
    for progress in ({}, {"support-0": TrialProgress("Training")}):
        (row,) = text_of(trial_table(snapshot(going, progress=progress)))[1:]
        assert row.count("Training") == 1


def test_a_long_sweep_shows_what_goes_on_and_the_last_that_ended() -> None:
    ended = [trial(index, phase=TrialPhase.SUCCEEDED) for index in range(1, 100)]
    view = snapshot(trial(0, phase=TrialPhase.TRAINING), *ended)
    shown = text_of(trial_table(view, rows=ROWS_WHILE_LIVE))
    rows = [line.split()[0] for line in shown if line.startswith("support-")]
    assert rows == ["support-0", *(f"support-{index}" for index in range(81, 100))]
    assert "80 earlier trials are not shown" in shown
    assert len([line for line in text_of(trial_table(view)) if line.startswith("support-")]) == 100


@pytest.mark.parametrize("going_on", [20, 21, 40])
def test_never_more_rows_than_asked_for(going_on: int) -> None:
    trials = [trial(index, phase=TrialPhase.SUCCEEDED) for index in range(30)]
    trials += [trial(30 + index, phase=TrialPhase.TRAINING) for index in range(going_on)]
    shown = text_of(trial_table(snapshot(*trials), rows=20))
    assert len([line for line in shown if line.startswith("support-")]) == 20


@pytest.mark.parametrize(
    ("metric", "best", "base", "expected"),
    [
        ("accuracy", 0.8125, 0.5, "base model 0.5, better by 0.3125"),
        ("accuracy", 0.5, 0.5, "base model 0.5, no better"),
        ("accuracy", 0.4, 0.5, "base model 0.5, worse by 0.1"),
        ("validationLoss", 1.5, 2.0, "base model 2, better by 0.5"),
        ("validationLoss", 2.5, 2.0, "base model 2, worse by 0.5"),
    ],
)
def test_better_depends_on_the_objectives_direction(
    metric: str, best: float, base: float, expected: str
) -> None:
    view = snapshot(best=BEST.model_copy(update={"score": best, "base_score": base}))
    objective = view.sweep.spec.objective.model_copy(update={"metric": metric})
    sweep = view.sweep.model_copy(
        update={"spec": view.sweep.spec.model_copy(update={"objective": objective})}
    )
    (line,) = text_of(best_line(Snapshot(sweep, (), NOW)))
    assert line == f"best so far: support-1 with {metric} {best:.4g} ({expected})"


def test_base_models_are_shown_before_any_trial_succeeds() -> None:
    baselines = (Baseline(provider="local", base_model="smollm2-135m", score=0.5),)
    (line,) = text_of(best_line(snapshot(baselines=baselines)))
    assert line == "no trial has succeeded yet; base models: smollm2-135m 0.5"


def test_the_summary_of_a_sweep_without_success_has_no_best_trial() -> None:
    ready = Condition(type="Ready", status="False", reason="TooManyFailures", message="4 trials failed")
    assert text_of(summary(snapshot(phase="Failed", conditions=(ready,)), Path("state"))) == [
        "Sweep support: Failed. 4 trials failed",
        "State:       state",
    ]


def test_text_from_outside_is_no_markup() -> None:
    spec = a_trial(0, namespace="default").spec.model_copy(update={"base_model": "[bold]evil[/]"})
    odd = trial(0, phase=TrialPhase.FAILED, reason="[red]x").model_copy(update={"spec": spec})
    shown = text_of(live_view(snapshot(odd), hint="[blink]hint"))
    assert any("[bold]evil[/]" in line and "[red]x" in line for line in shown)
    assert "[blink]hint" in shown


def test_nothing_is_told_twice_in_lines() -> None:
    first = snapshot(trial(0, phase=TrialPhase.TRAINING), phase="Searching")
    assert len(list(changes(None, first))) == 2
    assert list(changes(first, first)) == []
    done = trial(0, phase=TrialPhase.SUCCEEDED, score=0.8125, started_at=START, finished_at=NOW)
    second = snapshot(done, phase="Searching", best=BEST.model_copy(update={"base_score": None}))
    assert list(changes(first, second)) == [
        "12:10:00 trial support-0 Succeeded, score 0.8125, after 10m00s",
        "12:10:00 best so far: support-1 with 0.8125",
    ]
    third = snapshot(done, phase="Searching", best=BEST)
    assert list(changes(second, third)) == [
        "12:10:00 best so far: support-1 with 0.8125 (base model 0.5, better by 0.3125)"
    ]


def test_the_live_table_goes_and_gives_the_cursor_back() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    assert isinstance(console.file, io.StringIO)
    display = LiveDisplay(console)
    display.show(snapshot(trial(0, phase=TrialPhase.TRAINING)), hint="stopping")
    written = console.file.getvalue()
    assert "support-0" in written
    assert "stopping" in written
    assert "\x1b[?25l" in written
    display.close()
    display.close()
    display.show(snapshot())
    assert console.file.getvalue().removeprefix(written).count("\x1b[?25h") == 1


@pytest.mark.parametrize("height", [12, 24, 60])
def test_the_best_trial_is_seen_on_a_low_terminal(height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=height)
    assert isinstance(console.file, io.StringIO)
    trials = [trial(index, phase=TrialPhase.SUCCEEDED) for index in range(50)]
    display = LiveDisplay(console)
    display.show(snapshot(*trials, best=BEST), hint="press Ctrl-C again")
    written = console.file.getvalue()
    display.close()
    assert "support-49" in written
    assert "best so far: " in written
    assert "press Ctrl-C again" in written
    assert written.count("\n") < height


def test_json_holds_no_number_that_json_does_not_know() -> None:
    diverged = trial(0, phase=TrialPhase.FAILED, score=float("nan"))
    best = BEST.model_copy(update={"base_score": float("inf")})
    shown = sweep_as_json(snapshot(diverged, best=best), Path("state"))
    text = json.dumps(shown, allow_nan=False)
    assert json.loads(text)["trials"][0]["score"] is None
    assert json.loads(text)["best"]["baseScore"] is None
