"""What a person sees of why: why a point was tried, why a trial is the best, why one was stopped, what that saved."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from tests.contract.store_contract import SWEEP_MANIFEST, a_trial
from tests.unit.cli.conftest import NOW
from tests.unit.cli.test_tables import BEST, text_of

from finetune_operator.cli.json_output import sweep_as_json
from finetune_operator.cli.lines import changes
from finetune_operator.cli.snapshot import Snapshot
from finetune_operator.cli.sweeps_table import sweeps_table
from finetune_operator.cli.tables import best_line, header, summary, trial_table
from finetune_operator.cli.trials_output import trials_as_csv, trials_table, wide_table
from finetune_operator.report.words import money_text
from finetune_operator.resources import FinetuneSweep, SweepStatus, TrialPhase, TrialStatus, parse_resource
from finetune_operator.resources.sweep import SweepCost

STOPPED = "trainingLoss is at best 2.1 by step 60, worse than 2.0 (earlyStopping.median)"


def a_weighed_sweep() -> Snapshot:
    """Scores are weighed against costs, one trial was stopped early, and the best one was repeated."""
    manifest = {**SWEEP_MANIFEST, "spec": {**SWEEP_MANIFEST["spec"]}}
    manifest["spec"]["objective"] = {"metric": "accuracy", "costWeight": 0.1}
    worth = {"value": 0.6625, "cost": Decimal("1.50"), "mean_score": 0.79, "repeats": 1}
    status = SweepStatus(
        phase="Succeeded",
        best=BEST.model_copy(update=worth),
        cost=SweepCost(spent=Decimal("5.00"), saved=Decimal("0.90")),
    )
    sweep = parse_resource(FinetuneSweep, manifest).model_copy(update={"status": status})
    facts = (
        ("provider default", None, {"phase": TrialPhase.SUCCEEDED, "score": 0.875, "cost": Decimal("3.00")}),
        ("initial design", None, {"phase": TrialPhase.SUCCEEDED, "score": 0.8125, "cost": Decimal("1.50")}),
        (
            "expected improvement",
            None,
            {"phase": TrialPhase.EARLY_STOPPED, "reason": "WorseThanMedian", "message": STOPPED},
        ),
        ("confirmation", 1, {"phase": TrialPhase.SUCCEEDED, "score": 0.7675, "cost": Decimal("1.50")}),
    )
    trials = []
    for index, (origin, repeat_of, known) in enumerate(facts):
        trial = a_trial(index, namespace="default")
        spec = trial.spec.model_copy(update={"origin": origin, "repeat_of": repeat_of})
        trials.append(trial.model_copy(update={"spec": spec, "status": TrialStatus(**known)}))
    return Snapshot(sweep, tuple(trials), NOW)


def test_why_a_point_was_tried_is_shown_to_people_and_to_programs() -> None:
    shown = a_weighed_sweep()
    rows = text_of(wide_table(shown, shown.trials), width=400)
    assert "CHOSEN BY" in rows[0]
    for row, chosen in zip(
        rows[1:],
        ("provider default", "initial design", "expected improvement", "repeat of support-1"),
        strict=True,
    ):
        assert chosen in row
    listed = sweep_as_json(shown, None)["trials"]
    assert [(each["origin"], each["repeatOf"]) for each in listed[2:]] == [
        ("expected improvement", None),
        ("confirmation", 1),
    ]
    table = csv.DictReader(io.StringIO(trials_as_csv(shown, shown.trials)))
    assert next(table)["origin"] == "provider default"


def test_why_a_trial_with_a_lower_score_is_the_best_is_said_beside_its_score() -> None:
    shown = a_weighed_sweep()
    why = "(base model 0.5, better by 0.3125; mean 0.79 with 1 repeat; worth 0.6625 with its cost of 1.50)"
    assert text_of(best_line(shown)) == [f"best: support-1 with accuracy 0.8125 {why}"]
    assert f"Score:       accuracy 0.8125 {why}" in text_of(summary(shown, None))
    assert any(why in line for line in changes(None, shown))
    values = [each["value"] for each in sweep_as_json(shown, None)["trials"]]
    assert values == [pytest.approx(0.575), pytest.approx(0.6625), None, pytest.approx(0.6175)]


def test_what_stopping_early_saved_is_shown() -> None:
    shown = a_weighed_sweep()
    money = "5.00 spent of 20.00 USD, 0.90 saved by stopping trials early"
    assert text_of(header(shown))[-1].endswith(money)
    assert f"Cost:        {money}" in text_of(summary(shown, None))
    assert sweep_as_json(shown, None)["cost"]["saved"] == "0.90"


def test_nothing_spent_is_a_plain_nought() -> None:
    shown = a_weighed_sweep()
    status = shown.sweep.status.model_copy(update={"cost": SweepCost(spent=Decimal(0))})
    sweep = shown.sweep.model_copy(update={"status": status})
    assert money_text(sweep) == "0 spent of 20.00 USD"
    assert " 0 USD" in " ".join(text_of(sweeps_table((sweep,), NOW, namespaces=False)))


def test_where_there_is_no_room_for_messages_the_reason_stands_beside_the_phase() -> None:
    shown = a_weighed_sweep()
    wide = " ".join(text_of(trials_table(shown, shown.trials), width=240))
    assert f"WorseThanMedian: {STOPPED}" in wide
    narrow = " ".join(" ".join(text_of(trials_table(shown, shown.trials), width=78)).split())
    assert "MESSAGE" not in narrow
    assert "WorseThanMedian" in narrow


def test_what_counts_as_spent_is_seen_of_trials_whose_cost_nobody_told() -> None:
    shown = a_weighed_sweep()
    counted = tuple(Decimal(each) for each in ("3.00", "1.50", "0.50", "1.50"))
    status = shown.sweep.status.model_copy(
        update={"cost": SweepCost(spent=Decimal("6.50"), per_trial=counted)}
    )
    shown = Snapshot(shown.sweep.model_copy(update={"status": status}), shown.trials, NOW)
    for view in (trial_table(shown), trials_table(shown, shown.trials), wide_table(shown, shown.trials)):
        stopped = next(row for row in text_of(view, width=400) if row.startswith("support-2"))
        assert "~0.50" in stopped.split()


def test_a_sweep_that_has_ended_has_a_best_trial_and_none_so_far() -> None:
    ended = a_weighed_sweep()
    assert text_of(best_line(ended))[0].startswith("best: support-1")
    failed = ended.sweep.model_copy(update={"status": SweepStatus(phase="Failed")})
    assert text_of(best_line(Snapshot(failed, (), NOW))) == ["no trial has succeeded"]
