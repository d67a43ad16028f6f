"""A sweep that something keeps from launching trials: it says so, and does not end in the dark."""

from __future__ import annotations

import pytest
from tests.unit.decisions.builders import NOW, a_sweep, a_trial

from finetune_operator.decisions import CreateTrial, Decision, Knowledge, Obstacle, decide
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Baseline

TAKEN = Obstacle("TrialNameTaken", "s-1 is somebody else's")
HIDDEN = Obstacle("TrialsUnreadable", "s-1 cannot be read", hides_trials=True)
MEASURED = {("acme", "tiny"): Baseline(provider="acme", base_model="tiny", score=0.1)}
EITHER = pytest.mark.parametrize("obstacle", [TAKEN, HIDDEN], ids=lambda each: each.reason)


def decided(sweep: FinetuneSweep, trials: list[FinetuneTrial], obstacle: Obstacle) -> Decision:
    return decide(sweep, trials, Knowledge(obstacle=obstacle, baselines=MEASURED), now=NOW)


def told(decision: Decision) -> tuple[str, str]:
    stalled = decision.status.condition("Stalled")
    assert stalled is not None
    return stalled.reason, stalled.message


@EITHER
def test_nothing_is_launched_and_a_person_is_asked(obstacle: Obstacle) -> None:
    decision = decided(a_sweep(), [a_trial(0, TrialPhase.TRAINING)], obstacle)
    assert not any(isinstance(each, CreateTrial) for each in decision.actions)
    assert told(decision) == (obstacle.reason, f"{obstacle.message}; 1 trial goes on meanwhile: s-0")
    assert decision.status.phase == "Searching"
    assert decision.status.last_index == 0  # the index is still to be had


@EITHER
def test_money_that_was_not_committed_is_not_counted(obstacle: Obstacle) -> None:
    decision = decided(a_sweep(), [a_trial(0, TrialPhase.TRAINING, estimated="2.00")], obstacle)
    cost = decision.status.cost
    assert cost is not None
    assert str(cost.reserved) == "2.00"


def test_a_taken_name_that_is_not_needed_now_is_not_spoken_of() -> None:
    sweep = a_sweep(limits={"parallelTrials": 1})
    decision = decided(sweep, [a_trial(0, TrialPhase.TRAINING)], TAKEN)
    assert decision.status.condition("Stalled") is None


def test_a_sweep_that_needs_no_further_trial_ends_though_a_name_is_taken() -> None:
    decision = decided(a_sweep(limits={"maxTrials": 1}), [a_trial(0, score=0.5)], TAKEN)
    assert decision.status.phase == "Succeeded"


def test_a_sweep_does_not_end_while_trials_cannot_be_read() -> None:
    # One of them may go on and cost, or be the best.
    decision = decided(a_sweep(limits={"maxTrials": 1}), [a_trial(0, score=0.5)], HIDDEN)
    assert (decision.status.phase, decision.status.finished_at) == ("Finishing", None)
    reason, message = told(decision)
    assert reason == "TrialsUnreadable"
    assert message.startswith("s-1 cannot be read; ")


def test_repeats_are_held_back_until_their_name_is_free() -> None:
    sweep = a_sweep(limits={"maxTrials": 2}, confirm={"top": 1, "repeats": 1})
    decision = decided(sweep, [a_trial(0, score=0.5)], TAKEN)
    assert told(decision)[0] == "TrialNameTaken"
    assert decision.actions == ()
    assert decision.status.phase == "Finishing"
