"""A sweep whose best score stands still comes to its end."""

from datetime import timedelta
from typing import Any

from finetune_operator.decisions import CreateTrial, Knowledge, decide
from finetune_operator.resources import FinetuneTrial, SweepStatus, TrialPhase
from unit.decisions.builders import NOW, a_sweep, a_trial


def ended(*scores: float | None) -> list[FinetuneTrial]:
    """Trials that ended one after another; None is one that failed."""
    return [
        a_trial(
            index,
            TrialPhase.FAILED if score is None else TrialPhase.SUCCEEDED,
            score,
            finished_at=NOW + timedelta(minutes=index),
        )
        for index, score in enumerate(scores)
    ]


def looked(*trials: FinetuneTrial, trials_in_a_row: int = 3, **plateau: Any) -> tuple[SweepStatus, int]:
    """The status, and how many trials are launched."""
    rule = {"plateau": {"trials": trials_in_a_row, **plateau}}
    decision = decide(
        a_sweep(earlyStopping=rule, limits={"maxTrials": 20}),
        trials,
        Knowledge(),
        now=NOW + timedelta(hours=1),
    )
    return decision.status, sum(isinstance(each, CreateTrial) for each in decision.actions)


def test_trials_without_a_better_score_end_the_search_with_the_reason() -> None:
    status, launched = looked(*ended(0.5, 0.8, 0.7, None, 0.8))
    ready = status.condition("Ready")
    assert launched == 0
    assert ready is not None
    assert ready.reason == "Plateau"
    assert "3 trials in a row were not better than trial s-1 (0.8) (earlyStopping.plateau)" in ready.message


def test_a_better_score_begins_the_count_anew() -> None:
    assert looked(*ended(0.5, 0.8, 0.7, 0.81, 0.7))[1] == 2


def test_an_improvement_that_is_too_small_does_not_count() -> None:
    scores = (0.5, 0.8, 0.802, 0.803, 0.804)
    assert looked(*ended(*scores))[1] == 2
    status, launched = looked(*ended(*scores), minImprovement=0.01)
    assert launched == 0
    best = status.best
    assert best is not None
    assert best.trial == "s-4"  # it is the best all the same


def test_failures_before_the_first_score_are_not_a_plateau() -> None:
    assert looked(*ended(None, None, None))[1] == 2


def test_a_running_trial_is_waited_for_and_may_end_the_plateau() -> None:
    trials = ended(0.8, 0.7, 0.7, 0.7)
    status, launched = looked(*trials, a_trial(4, TrialPhase.TRAINING))
    assert (status.phase, launched) == ("Finishing", 0)
    better = a_trial(4, TrialPhase.SUCCEEDED, 0.9, finished_at=NOW + timedelta(minutes=30))
    status, launched = looked(*trials, better)
    assert (status.phase, launched) == ("Searching", 2)


def test_a_cancelled_trial_and_a_repeat_say_nothing_of_a_plateau() -> None:
    at = NOW + timedelta(minutes=30)
    cancelled = a_trial(4, TrialPhase.CANCELLED, finished_at=at)
    repeat = a_trial(5, TrialPhase.SUCCEEDED, 0.1, repeat_of=0, finished_at=at)
    assert looked(*ended(0.8, 0.7, 0.7), cancelled, repeat)[1] == 2
