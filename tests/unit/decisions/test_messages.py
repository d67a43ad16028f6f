"""What a sweep says of itself: why it stands where it does, and what it takes to go on."""

from __future__ import annotations

import pytest
from tests.unit.decisions.builders import (
    CHEAP,
    EXCEEDED,
    PRICED,
    SPEC,
    a_sweep,
    a_trial,
    created,
    look,
    message,
    money,
    reason,
)

from finetune_operator.decisions import CancelTrial
from finetune_operator.resources import TrialPhase
from finetune_operator.resources.sweep import Baseline
from finetune_operator.resources.trial import CancelRequest


def test_trials_that_an_earlier_limit_cancelled_are_not_said_to_be_cancelled_for_the_one_of_now() -> None:
    earlier = CancelRequest(reason="BudgetExhausted", message="too much", exceeded=money("2.00"))
    later = CancelRequest(reason="BudgetExhausted", message="too much", exceeded=money("5.00"))
    trials = [
        a_trial(0, score=0.5, estimated="1.00", cost="6.00"),
        a_trial(1, TrialPhase.CANCELLED, estimated="1.00", cost="0.10", cancel=earlier),
        a_trial(2, TrialPhase.CANCELLED, estimated="1.00", cost="0.10", cancel=later),
    ]
    assert "1 trial that still went on was cancelled: s-2" in message(
        look(a_sweep(limits={"budget": EXCEEDED}), trials, costs=CHEAP)
    )
    # Raised since, and used up without being exceeded.
    raised = {"maxCost": "6.20", "atLimit": "CancelRunning"}
    said = message(look(a_sweep(limits={"budget": raised}), trials, costs=CHEAP))
    assert said.endswith("no trial was cancelled for it")


def test_a_sweep_that_searches_says_how_many_trials_failed_and_why_the_last_one_did() -> None:
    trials = [
        a_trial(0, score=0.5),
        a_trial(1, TrialPhase.FAILED, message="the file is no JSON"),
        a_trial(2, TrialPhase.EARLY_STOPPED),
        a_trial(3, TrialPhase.CANCELLED),
        a_trial(4, TrialPhase.FAILED, message="the model is gone"),
        a_trial(5, TrialPhase.TRAINING),
    ]
    assert message(look(a_sweep(), trials)).startswith(
        "5 of 10 trials have ended (2 failed, 1 stopped early, 1 cancelled; trial s-4: the model is gone); up to 2 "
    )
    assert message(look(a_sweep(), trials[:1])).startswith("1 of 10 trials have ended; up to 2 go on")


def test_a_sweep_in_which_too_many_trials_failed_says_what_it_takes_to_go_on() -> None:
    failed = [a_trial(0, TrialPhase.FAILED, message="the file is no JSON")]
    assert message(look(a_sweep(limits={"maxFailedTrials": 0}), failed)).endswith(
        "1 trial failed, more than limits.maxFailedTrials allows (0); trial s-0: the file is no JSON; for the search "
        "to go on mend the cause and raise limits.maxFailedTrials"
    )


def test_a_budget_that_fits_one_more_trial_says_that_this_one_is_launched() -> None:
    sweep = a_sweep(search={"method": "Grid"}, limits={"budget": {"maxCost": "3.00"}})
    decision = look(sweep, [], costs=PRICED)
    assert created(decision) == [0, 1]
    sweep = a_sweep(search={"method": "Grid"}, limits={"budget": {"maxCost": "2.00"}})
    decision = look(sweep, [], costs=PRICED)
    assert created(decision) == [0]
    assert decision.status.phase == "Finishing"
    assert message(decision).endswith("1 last trial is launched: s-0")


def test_a_budget_that_was_lowered_below_what_is_committed_is_said_to_be_used_up_at_once() -> None:
    running = [a_trial(index, TrialPhase.TRAINING, estimated="2.00") for index in range(2)]
    decision = look(a_sweep(limits={"budget": {"maxCost": "3.00"}}), running, costs=PRICED)
    assert (decision.status.phase, reason(decision)) == ("Finishing", "BudgetExhausted")
    assert message(decision) == (
        "4.00 USD are spent or reserved, more than limits.budget.maxCost of 3.00 USD; for the search to go on raise "
        "limits.budget.maxCost to more than 4.00 USD; 2 trials that still go on are waited for: s-0, s-1"
    )
    enough = look(a_sweep(limits={"budget": {"maxCost": "4.00"}}), running, costs=PRICED)
    assert enough.status.phase == "Searching"


def test_a_budget_too_small_for_any_trial_tells_of_no_trials_that_went_on() -> None:
    decision = look(a_sweep(limits={"budget": {"maxCost": "0.01"}}), [], costs=PRICED)
    assert (decision.status.phase, reason(decision)) == ("Failed", "BudgetExhausted")
    assert message(decision).startswith("no trial was launched; ")
    assert message(decision).endswith(
        "with 0.00 USD spent or reserved that would exceed limits.budget.maxCost of 0.01 USD; for the search to go on "
        "raise limits.budget.maxCost to 3.00 USD or more"
    )


@pytest.mark.parametrize(
    ("metric", "score", "verdict"),
    [
        ("accuracy", 0.5, "(its base model: 0.3)"),
        ("accuracy", 0.3, "(no better than its base model: 0.3)"),
        ("accuracy", 0.2, "(worse than its base model: 0.3)"),
        ("validationLoss", 0.2, "(its base model: 0.3)"),
        ("validationLoss", 0.5, "(worse than its base model: 0.3)"),
    ],
)
def test_a_sweep_whose_best_model_is_no_better_than_its_base_model_says_so(
    metric: str, score: float, verdict: str
) -> None:
    data = {**SPEC["dataset"], "validation": {"uri": "https://x/v.jsonl"}}
    sweep = a_sweep(objective={"metric": metric}, dataset=data, limits={"maxTrials": 1})
    base = {("acme", "tiny"): Baseline(provider="acme", base_model="tiny", score=0.3)}
    assert f"s-0 scored {score} {verdict}; the sweep ended" in message(
        look(sweep, [a_trial(0, score=score)], baselines=base)
    )


def test_a_trial_that_is_cancelled_is_not_told_what_the_search_would_take_to_go_on() -> None:
    trials = [
        a_trial(0, score=0.5, estimated="1.00", cost="6.00"),
        a_trial(1, TrialPhase.TRAINING, estimated="1.00"),
    ]
    decision = look(a_sweep(limits={"budget": EXCEEDED}), trials, costs=CHEAP)
    (cancelled,) = (each for each in decision.actions if isinstance(each, CancelTrial))
    assert "7.00 USD are spent or reserved, more than" in cancelled.message
    assert "raise" not in cancelled.message
    assert "raise limits.budget.maxCost to more than 7.00 USD" in message(decision)
