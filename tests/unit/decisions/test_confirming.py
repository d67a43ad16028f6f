"""The best trials are trained again before the best is named."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.decisions import CancelTrial, CostModel, CreateTrial, Decision, Knowledge, decide
from finetune_operator.decisions.costs import ModelPrice
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Baseline
from unit.decisions.builders import NOW, SPEC, a_sweep, a_trial, money

CONFIRM = {"top": 2, "repeats": 2}


def looked(*trials: FinetuneTrial, knowledge: Knowledge | None = None, **spec: Any) -> Decision:
    limits = {"maxTrials": 8, "parallelTrials": 3, **spec.pop("limits", {})}
    sweep = a_sweep(limits=limits, **{"confirm": CONFIRM, **spec})
    return decide(sweep, trials, knowledge or measured(), now=NOW)


def measured(**known: Any) -> Knowledge:
    return Knowledge(
        baselines={("acme", "tiny"): Baseline(provider="acme", base_model="tiny", score=0.1)}, **known
    )


def launched(decision: Decision) -> list[tuple[int, int | None]]:
    return [(each.index, each.repeat_of) for each in decision.actions if isinstance(each, CreateTrial)]


SEARCHED = [a_trial(index, score=score) for index, score in enumerate((0.5, 0.9, 0.8, 0.7))]


def test_the_search_leaves_trials_for_the_repeats() -> None:
    decision = looked(*SEARCHED[:3])
    assert launched(decision) == [(3, None)]


def test_the_best_are_repeated_in_rounds_as_many_at_a_time_as_allowed() -> None:
    decision = looked(*SEARCHED)
    assert launched(decision) == [(4, 1), (5, 2), (6, 1)]
    assert decision.status.phase == "Finishing"
    reconciling = decision.status.condition("Reconciling")
    assert reconciling is not None
    assert reconciling.reason == "Confirming"
    points = [
        each.proposal.point.parameters["epochs"] for each in decision.actions if isinstance(each, CreateTrial)
    ]
    assert points == [2, 3, 2]


def test_repeats_wait_until_the_search_has_ended() -> None:
    decision = looked(*SEARCHED[:3], a_trial(3, TrialPhase.TRAINING))
    assert launched(decision) == []
    assert decision.status.phase == "Finishing"


REPEATED = [
    *SEARCHED,
    a_trial(4, score=0.6, epochs=2, repeat_of=1),
    a_trial(5, score=0.82, epochs=3, repeat_of=2),
    a_trial(6, score=0.6, epochs=2, repeat_of=1),
    a_trial(7, score=0.84, epochs=3, repeat_of=2),
]


def test_the_best_mean_wins_and_its_best_model_is_named() -> None:
    decision = looked(*REPEATED)
    best = decision.status.best
    assert best is not None
    assert (best.trial, best.score, best.repeats) == ("s-7", 0.84, 2)
    assert best.mean_score == pytest.approx(0.82)
    assert decision.status.phase == "Succeeded"
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert "best trial s-7 scored 0.84, 0.82 on average with 2 repeats" in ready.message


def test_no_repeat_is_launched_twice_even_where_one_failed() -> None:
    failed = [*REPEATED[:-1], a_trial(7, TrialPhase.FAILED, epochs=3, repeat_of=2)]
    decision = looked(*failed)
    assert launched(decision) == []
    assert decision.status.phase == "Succeeded"


def test_a_repeat_that_a_person_deletes_is_not_bought_again() -> None:
    known = looked(*SEARCHED).status
    assert [(each.trial, each.repeats) for each in known.repeats or ()] == [(1, (4, 6)), (2, (5,))]
    left = [*REPEATED[:4], REPEATED[5]]  # s-4 and s-6 are gone
    decision = looked(*left, status=known.to_dict())
    assert launched(decision) == [(7, 2)]
    left.append(REPEATED[7])
    decision = looked(*left, status=decision.status.to_dict())
    assert launched(decision) == []
    assert decision.status.phase == "Succeeded"


def test_the_search_does_not_use_the_place_of_a_deleted_repeat() -> None:
    left = [*REPEATED[:4], *REPEATED[5:]]  # s-4 is gone
    known = looked(*REPEATED).status.to_dict()
    assert launched(looked(*left, status=known, limits={"maxTrials": 9})) == [(8, None)]


def test_without_confirm_the_best_score_wins_at_once() -> None:
    decision = looked(*SEARCHED, confirm=None, limits={"maxTrials": 4})
    best = decision.status.best
    assert best is not None
    assert (best.trial, best.mean_score, decision.status.phase) == ("s-1", None, "Succeeded")


def test_the_best_of_a_space_without_further_points_are_repeated_too() -> None:
    small = {**SPEC["candidates"][0], "parameters": {"epochs": {"int": {"min": 1, "max": 4}}}}
    decision = looked(*SEARCHED, candidates=[small], limits={"maxTrials": 50})
    assert launched(decision) == [(4, 1), (5, 2), (6, 1)]
    assert decision.status.phase == "Finishing"


def test_a_suspended_sweep_launches_no_repeat_and_does_not_end() -> None:
    decision = looked(*SEARCHED, suspend=True)
    assert launched(decision) == []
    assert decision.status.phase == "Suspended"


def test_a_goal_is_confirmed_and_the_repeats_are_not_cancelled_for_it() -> None:
    spec: dict[str, Any] = {"objective": {"metric": "accuracy", "goal": 0.9}}
    assert launched(looked(*SEARCHED[:3], **spec)) == [(3, 1), (4, 2), (5, 1)]
    decision = looked(*SEARCHED[:3], a_trial(3, TrialPhase.TRAINING, epochs=2, repeat_of=1), **spec)
    assert not [each for each in decision.actions if isinstance(each, CancelTrial)]


def test_a_goal_that_was_reached_stays_reached_whatever_its_repeats_score() -> None:
    spec: dict[str, Any] = {"objective": {"metric": "accuracy", "goal": 0.9}}
    repeats = [a_trial(3, score=0.5, epochs=2, repeat_of=1), a_trial(4, score=0.8, epochs=3, repeat_of=2)]
    for made in ([repeats[1]], repeats):
        decision = looked(*SEARCHED[:3], *made, **spec)
        assert None not in [repeat for _, repeat in launched(decision)]
        assert decision.status.phase == "Finishing"


def test_the_end_of_a_small_space_does_not_come_and_go_with_the_places_that_repeats_take() -> None:
    small = {**SPEC["candidates"][0], "parameters": {"epochs": {"int": {"min": 1, "max": 4}}}}
    running = [a_trial(4 + place, TrialPhase.TRAINING, epochs=2, repeat_of=1) for place in range(3)]
    for made in (running[:2], running):
        decision = looked(*SEARCHED, *made, candidates=[small], limits={"maxTrials": 50})
        reconciling = decision.status.condition("Reconciling")
        assert reconciling is not None
        assert (decision.status.phase, reconciling.reason) == ("Finishing", "Confirming")
        assert "its size is 4, 4 were launched" in reconciling.message


def test_a_search_that_goes_on_after_its_repeats_keeps_trials_back_for_its_new_best() -> None:
    new = [a_trial(8, score=0.95), a_trial(9, score=0.94)]
    decision = looked(*REPEATED, *new, limits={"maxTrials": 14})
    assert launched(decision) == [(10, 8), (11, 9), (12, 8)]
    confirmed = [
        a_trial(10 + place, score=0.93, epochs=9 + place % 2, repeat_of=8 + place % 2) for place in range(4)
    ]
    decision = looked(*REPEATED, *new, *confirmed, limits={"maxTrials": 14})
    assert launched(decision) == []
    best = decision.status.best
    assert best is not None
    assert best.trial == "s-8"


FLATTERED = [
    *SEARCHED,
    a_trial(4, score=0.5, epochs=2, repeat_of=1),
    a_trial(5, score=0.6, epochs=3, repeat_of=2),
    a_trial(6, score=0.4, epochs=2, repeat_of=1),
    a_trial(7, score=0.4, epochs=3, repeat_of=2),
]
"""Means of 0.6: s-3 scored 0.7 before the first repeat, and both of the top scored more themselves."""


def test_a_later_trial_that_beats_the_confirmed_mean_is_repeated_though_it_is_none_of_the_top() -> None:
    late = [*FLATTERED, a_trial(8, score=0.65)]
    decision = looked(*late, limits={"maxTrials": 11})
    assert launched(decision) == [(9, 8), (10, 8)]
    late += [a_trial(9 + place, score=0.64, epochs=9, repeat_of=8) for place in (0, 1)]
    best = looked(*late, limits={"maxTrials": 11}).status.best
    assert best is not None
    assert (best.trial, best.repeats) == ("s-8", 2)


@pytest.mark.parametrize("score", [0.6, 0.55])
def test_a_later_trial_that_does_not_beat_the_confirmed_mean_is_not_repeated(score: float) -> None:
    decision = looked(*FLATTERED, a_trial(8, score=score), limits={"maxTrials": 11})
    assert launched(decision) == [(9, None), (10, None)]


def test_a_repeat_that_makes_those_of_another_trial_needless_does_not_begin_the_search_anew() -> None:
    late = [*FLATTERED, a_trial(8, score=0.66), a_trial(9, score=0.64)]
    limits = {"maxTrials": 14, "parallelTrials": 1}
    assert launched(looked(*late, limits=limits)) == [(10, 8)]
    late.append(a_trial(10, score=0.9, epochs=9, repeat_of=8))
    decision = looked(*late, limits=limits)
    assert launched(decision) == [(11, 8)]
    assert decision.status.phase == "Finishing"
    late.append(a_trial(11, score=0.9, epochs=9, repeat_of=8))
    assert looked(*late, limits=limits).status.phase == "Succeeded"


def test_repeats_do_not_call_for_more_of_those_that_the_first_choice_left_out() -> None:
    decision = looked(*FLATTERED)
    assert launched(decision) == []
    assert decision.status.phase == "Succeeded"


def test_a_better_score_that_is_not_named_for_want_of_repeats_is_told_with_the_reason() -> None:
    decision = looked(*REPEATED, a_trial(8, score=0.95), limits={"maxTrials": 9})
    best, ready = decision.status.best, decision.status.condition("Ready")
    assert best is not None
    assert ready is not None
    assert best.trial == "s-7"
    assert (
        "trial s-8 scored 0.95, but no repeat of it has a score, and of trials with repeats s-7 is the best (confirm)"
        in ready.message
    )
    assert "limits.maxTrials leaves no trial for further repeats (confirm)" in ready.message


def test_nothing_is_said_of_trials_that_are_not_better_than_the_confirmed_mean() -> None:
    ready = looked(*REPEATED).status.condition("Ready")
    assert ready is not None
    assert "has a score" not in ready.message


def test_a_deadline_ends_the_repeats_too() -> None:
    late = {"maxDuration": "1h"}
    started = {"startedAt": (NOW - timedelta(hours=2)).isoformat()}
    goal = {"metric": "accuracy", "goal": 0.9}
    repeat = a_trial(4, TrialPhase.TRAINING, epochs=2, repeat_of=1)
    decision = looked(*SEARCHED, repeat, limits=late, status=started, objective=goal)
    assert [each.trial for each in decision.actions if isinstance(each, CancelTrial)] == ["s-4"]
    ended = a_trial(4, TrialPhase.CANCELLED, epochs=2, repeat_of=1)
    decision = looked(*SEARCHED, ended, limits=late, status=started, objective=goal)
    assert launched(decision) == []
    assert decision.status.phase == "Succeeded"
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert "limits.maxDuration left no time for all repeats (confirm)" in ready.message


def test_repeats_are_not_said_to_have_gone_on_when_the_search_ended() -> None:
    goal = {"metric": "accuracy", "goal": 0.9}
    trials = [a_trial(1, score=0.9, finished_at=NOW - timedelta(hours=3))]
    repeats = [
        a_trial(2 + place, score=0.85, epochs=2, repeat_of=1, finished_at=NOW - timedelta(hours=1))
        for place in (0, 1)
    ]
    ready = looked(*trials, *repeats, objective=goal).status.condition("Ready")
    assert ready is not None
    assert ready.status == "True"
    assert "that still went on" not in ready.message


def test_money_that_does_not_suffice_ends_the_repeats_with_a_word() -> None:
    costs = CostModel(1_000_000, {("small", "tiny"): ModelPrice(money("1"), 1)})
    trials = [
        a_trial(index, score=0.5 + index / 10, epochs=1, estimated="1", cost="1.00") for index in range(4)
    ]
    decision = looked(*trials, knowledge=measured(costs=costs), limits={"budget": {"maxCost": "4.50"}})
    assert launched(decision) == []
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert "limits.budget.maxCost leaves no money for further repeats (confirm)" in ready.message


def test_a_repeat_is_no_point_of_the_search() -> None:
    # Raising maxTrials lets the search go on after its repeats.
    decision = looked(*REPEATED, limits={"maxTrials": 9})
    assert [repeat for _, repeat in launched(decision)] == [None]


@given(
    scores=st.lists(st.none() | st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=6),
    top=st.integers(1, 3),
    repeats=st.integers(1, 3),
    parallel=st.integers(1, 4),
    results=st.lists(st.none() | st.sampled_from([0.0, 0.2, 0.9]), min_size=9, max_size=9),
)
def test_each_of_the_top_is_repeated_exactly_as_often_as_asked_whatever_comes_out(
    scores: list[float | None], top: int, repeats: int, parallel: int, results: list[float | None]
) -> None:
    def of(
        index: int, score: float | None, repeat_of: int | None = None, epochs: int | None = None
    ) -> FinetuneTrial:
        phase = TrialPhase.FAILED if score is None else TrialPhase.SUCCEEDED
        return a_trial(index, phase, score, repeat_of=repeat_of, epochs=epochs)

    trials = [of(index, score) for index, score in enumerate(scores)]
    limits = {"maxTrials": len(scores) + top * repeats, "parallelTrials": parallel, "maxFailedTrials": 1000}
    spec = {"confirm": {"top": top, "repeats": repeats}, "limits": limits}
    for _ in range(12):
        creations = launched(looked(*trials, **spec))
        if not creations:
            break
        for index, repeat_of in creations:
            assert repeat_of is not None
            trials.append(of(index, results[index - len(scores)], repeat_of, epochs=repeat_of + 1))
    made = [each.spec.repeat_of for each in trials if each.spec.repeat_of is not None]
    usable = sum(score is not None for score in scores)
    assert len(set(made)) == min(top, usable)
    assert all(made.count(each) == repeats for each in made)
    assert looked(*trials, **spec).status.phase in {"Succeeded", "Failed"}
