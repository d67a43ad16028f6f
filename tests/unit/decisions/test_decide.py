"""What follows from the state of a sweep."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decisions.builders import (
    CHEAP,
    EXCEEDED,
    MEASURED,
    NOW,
    PRICED,
    a_sweep,
    a_trial,
    created,
    look,
    message,
    money,
    reason,
)

from finetune_operator.decisions import (
    CancelTrial,
    CreateTrial,
    Decision,
    DeleteModel,
    Knowledge,
    MeasureBaseline,
    WriteOutput,
    decide,
)
from finetune_operator.decisions.proposing import observations
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.sweep import Baseline
from finetune_operator.resources.trial import CancelRequest, ServingJournal


def test_the_free_places_are_filled() -> None:
    assert created(look(a_sweep(), [])) == [0, 1]
    assert created(look(a_sweep(), [a_trial(0, TrialPhase.TRAINING)])) == [1]
    assert created(look(a_sweep(), [a_trial(0, TrialPhase.TRAINING), a_trial(1, TrialPhase.PENDING)])) == []


def test_a_stalled_trial_keeps_its_place() -> None:
    assert created(look(a_sweep(), [a_trial(0, TrialPhase.STALLED), a_trial(1, TrialPhase.TRAINING)])) == []


def test_lowering_parallelism_cancels_nothing() -> None:
    trials = [a_trial(index, TrialPhase.TRAINING) for index in range(5)]
    assert look(a_sweep(limits={"parallelTrials": 2}), trials).actions == ()


def test_an_index_is_not_used_again_after_its_trial_was_deleted() -> None:
    sweep = a_sweep(status={"lastIndex": 6})
    assert created(look(sweep, [a_trial(2, score=0.5)])) == [7, 8]


def test_deleted_trials_count_against_the_limit() -> None:
    sweep = a_sweep(status={"lastIndex": 9})
    decision = look(sweep, [a_trial(2, score=0.5)])
    assert created(decision) == []
    assert decision.status.phase == "Succeeded"


def test_a_goal_cancels_what_trains_but_not_what_is_trained_already() -> None:
    sweep = a_sweep(objective={"metric": "accuracy", "goal": 0.8})
    trials = [
        a_trial(0, score=0.8),
        a_trial(1, TrialPhase.TRAINING),
        a_trial(2, TrialPhase.EVALUATING),
        a_trial(3, TrialPhase.PENDING),
    ]
    decision = look(sweep, trials)
    assert [action.trial for action in decision.actions if isinstance(action, CancelTrial)] == ["s-1", "s-3"]
    assert (decision.status.phase, reason(decision)) == ("Finishing", "GoalReached")
    assert "s-0 scored 0.8" in message(decision)


def asked_to_end(reason: str) -> CancelRequest:
    return CancelRequest(reason=reason, message="the sweep ended")


GOAL = {"metric": "accuracy", "goal": 0.8}


def test_a_sweep_that_ends_says_what_is_done_with_the_trials_that_go_on() -> None:
    trials = [
        a_trial(0, score=0.8),
        a_trial(1, TrialPhase.TRAINING),
        a_trial(2, TrialPhase.EVALUATING),
        a_trial(3, TrialPhase.PENDING),
    ]
    said = message(look(a_sweep(objective=GOAL), trials))
    assert said.endswith(
        "2 trials that still go on are cancelled: s-1, s-3; 1 trial that still goes on is waited for: s-2"
    )


def test_a_sweep_that_reached_its_goal_says_what_became_of_the_trials_that_went_on() -> None:
    cancel, later = asked_to_end("GoalReached"), NOW + timedelta(minutes=5)
    trials = [
        a_trial(0, score=0.8, finished_at=NOW),
        a_trial(1, TrialPhase.CANCELLED, cancel=cancel, finished_at=later),
        a_trial(2, score=0.3, finished_at=later),
        a_trial(3, score=0.2, cancel=cancel, finished_at=later),
        a_trial(4, TrialPhase.CANCELLED, cancel=cancel, finished_at=later),
        a_trial(5, TrialPhase.FAILED, finished_at=NOW - timedelta(minutes=5)),
    ]
    decision = look(a_sweep(objective=GOAL), trials)
    assert decision.status.phase == "Succeeded"
    assert message(decision).endswith(
        "meets the goal of 0.8; 2 trials that still went on were cancelled: s-1, s-4; "
        "1 trial ended before it could be cancelled: s-3; 1 trial that still went on was waited for: s-2"
    )


def test_only_some_of_many_cancelled_trials_are_named() -> None:
    cancel = asked_to_end("GoalReached")
    trials = [
        a_trial(0, score=0.8, finished_at=NOW),
        *(a_trial(index, TrialPhase.CANCELLED, cancel=cancel) for index in range(1, 9)),
    ]
    said = message(look(a_sweep(objective=GOAL), trials))
    assert said.endswith("8 trials that still went on were cancelled: s-1, s-2, s-3, s-4, s-5 and 3 more")


def test_a_sweep_with_too_many_failures_says_for_which_trials_it_waited() -> None:
    trials = [
        a_trial(0, TrialPhase.FAILED, finished_at=NOW),
        a_trial(1, TrialPhase.FAILED, finished_at=NOW + timedelta(minutes=1), message="x" * 5000),
        a_trial(2, score=0.5, finished_at=NOW + timedelta(minutes=2)),
        a_trial(3, score=0.5, finished_at=NOW),
    ]
    decision = look(a_sweep(limits={"maxFailedTrials": 1}), trials)
    assert decision.status.phase == "Failed"
    assert message(decision).endswith("1 trial that still went on was waited for: s-2")


def test_a_sweep_that_passed_its_deadline_says_which_trials_were_cancelled() -> None:
    sweep = a_sweep(limits={"maxDuration": "1h"}, status={"startedAt": "2026-11-24T10:00:00Z"})
    cancel = asked_to_end("DeadlineExceeded")
    decision = look(sweep, [a_trial(0, score=0.5), a_trial(1, TrialPhase.CANCELLED, cancel=cancel)])
    assert message(decision).endswith("has passed; 1 trial that still went on was cancelled: s-1")


def test_a_missed_goal_does_not_end_the_sweep() -> None:
    sweep = a_sweep(objective={"metric": "accuracy", "goal": 0.8})
    assert created(look(sweep, [a_trial(0, score=0.79)])) == [1, 2]


def test_failures_up_to_the_limit_are_borne() -> None:
    failed = [a_trial(index, TrialPhase.FAILED) for index in range(4)]
    sweep = a_sweep(limits={"maxFailedTrials": 3})
    assert created(look(sweep, failed[:3])) == [3, 4]
    assert reason(look(sweep, failed)) == "TooManyFailures"


def test_the_deadline_ends_a_sweep_and_keeps_its_best() -> None:
    sweep = a_sweep(
        limits={"maxDuration": "1h"}, status={"startedAt": (NOW - timedelta(minutes=59)).isoformat()}
    )
    decision = look(sweep, [a_trial(0, score=0.5)])
    assert decision.wake_at == NOW + timedelta(minutes=1)
    late = decide(
        sweep, [a_trial(0, score=0.5)], Knowledge(baselines=MEASURED), now=NOW + timedelta(minutes=1)
    )
    assert (late.status.phase, reason(late)) == ("Succeeded", "DeadlineExceeded")


def test_a_deadline_that_has_passed_wakes_nobody_again() -> None:
    sweep = a_sweep(limits={"maxDuration": "1h"}, status={"startedAt": "2026-11-24T10:00:00Z"})
    assert look(sweep, [a_trial(0, TrialPhase.TRAINING)]).wake_at is None
    early = a_sweep(limits={"maxDuration": "3h"}, status={"startedAt": "2026-11-24T10:00:00Z"})
    assert look(early, [a_trial(0, TrialPhase.EVALUATING)]).wake_at == NOW + timedelta(hours=1)


def test_after_the_deadline_evaluations_go_on_for_a_bounded_time() -> None:
    sweep = a_sweep(limits={"maxDuration": "1h"}, status={"startedAt": "2026-11-24T10:30:00Z"})
    serving = ServingJournal(name="d", state="Active", model="m", at=NOW, active_at=NOW)
    trials = [a_trial(0, TrialPhase.EVALUATING), a_trial(1, TrialPhase.EVALUATING, serving=serving)]
    early = look(sweep, trials)
    assert early.actions == ()
    assert early.wake_at == NOW + timedelta(minutes=30)
    late = decide(sweep, trials, Knowledge(baselines=MEASURED), now=NOW + timedelta(minutes=30))
    assert [(each.trial, each.reason) for each in late.actions if isinstance(each, CancelTrial)] == [
        ("s-1", "EvaluationTimedOut")
    ]
    next_day = decide(sweep, trials[:1], Knowledge(baselines=MEASURED), now=NOW + timedelta(hours=24))
    (action,) = next_day.actions
    assert isinstance(action, CancelTrial)
    told = a_trial(
        0, TrialPhase.EVALUATING, cancel=CancelRequest(reason=action.reason, message=action.message)
    )
    again = decide(sweep, [told], Knowledge(baselines=MEASURED), now=NOW + timedelta(hours=25))
    assert (again.actions, again.wake_at) == ((), None)


def test_without_a_success_the_sweep_has_failed() -> None:
    trials = [a_trial(index, TrialPhase.CANCELLED) for index in range(10)]
    decision = look(a_sweep(), trials)
    assert (decision.status.phase, reason(decision)) == ("Failed", "NoSuccessfulTrial")
    assert decision.status.condition("Stalled") is not None
    assert decision.status.condition("Reconciling") is None


def test_an_exhausted_space_ends_the_sweep_with_its_size() -> None:
    candidate = {**a_sweep().spec.candidates[0].to_dict(), "parameters": {"epochs": {"values": ["1", "2"]}}}
    decision = look(a_sweep(candidates=[candidate]), [a_trial(0, score=0.5), a_trial(1, score=0.6)])
    assert (decision.status.phase, reason(decision)) == ("Succeeded", "SearchSpaceExhausted")
    assert "its size is 2" in message(decision)


def test_the_base_model_of_the_best_is_measured_once() -> None:
    decision = look(a_sweep(), [a_trial(0, score=0.5)], baselines={})
    assert MeasureBaseline("small", "tiny") in decision.actions
    assert not any(
        isinstance(each, MeasureBaseline) for each in look(a_sweep(), [a_trial(0, score=0.5)]).actions
    )


def test_a_sweep_is_not_finished_before_its_base_model_is_measured() -> None:
    trials = [a_trial(index, score=0.5) for index in range(10)]
    assert look(a_sweep(), trials, baselines={}).status.phase == "Finishing"
    assert look(a_sweep(), trials).status.phase == "Succeeded"


def test_a_base_model_that_cannot_answer_does_not_hold_the_sweep_up() -> None:
    mute = {("acme", "tiny"): Baseline(provider="acme", base_model="tiny", message="cannot answer")}
    decision = look(a_sweep(), [a_trial(index, score=0.5) for index in range(10)], baselines=mute)
    assert decision.status.phase == "Succeeded"
    assert decision.status.best is not None
    assert decision.status.best.base_score is None


def test_the_output_is_written_before_models_are_deleted_which_an_earlier_one_may_name() -> None:
    sweep = a_sweep(keepModels="Best", output={"configMap": "out"})
    trials = [a_trial(i, score=i / 10, fine_tuned_model=f"m{i}", epochs=i + 1) for i in range(10)]
    first = look(sweep, trials, deletable=frozenset({"acme"}))
    assert first.actions[0] == WriteOutput("out")
    assert {each.trial for each in first.actions if isinstance(each, DeleteModel)} == {
        f"s-{i}" for i in range(9)
    }
    assert first.status.phase == "Finishing"
    cleaned = [
        t.model_copy(update={"status": t.status.model_copy(update={"model_deleted": True})})
        for t in trials[:-1]
    ]
    second = look(sweep, [*cleaned, trials[-1]], deletable=frozenset({"acme"}))
    assert second.actions == (WriteOutput("out"),)
    assert second.status.phase == "Succeeded"


def test_the_best_model_is_not_deleted_for_another_trial_that_names_it_too() -> None:
    # As where a person had two trials adopt the same job.
    trials = [a_trial(i, score=i / 10, fine_tuned_model=f"m{i}", epochs=i + 1) for i in range(10)]
    trials[3] = a_trial(3, score=0.3, fine_tuned_model="m9")
    decision = look(a_sweep(keepModels="Best"), trials, deletable=frozenset({"acme"}))
    assert "s-3" not in {each.trial for each in decision.actions if isinstance(each, DeleteModel)}


def test_no_output_names_a_model_that_was_deleted() -> None:
    # The trial that was the best is deleted; what the output says of its model, which is still there, stays.
    trials = [a_trial(i, score=i / 10, fine_tuned_model=f"m{i}", model_deleted=True) for i in range(9)]
    sweep = a_sweep(keepModels="Best", output={"configMap": "out"}, status={"lastIndex": 9})
    decision = look(sweep, trials, deletable=frozenset({"acme"}))
    assert decision.actions == ()
    assert decision.status.phase == "Succeeded"


def test_an_output_that_is_refused_stalls_the_sweep_instead_of_calling_it_done() -> None:
    trials = [a_trial(index, score=0.5) for index in range(10)]
    decision = look(
        a_sweep(output={"configMap": "out"}), trials, output_problem="out belongs to somebody else"
    )
    assert (decision.status.phase, reason(decision)) == ("Finishing", "OutputRefused")


def test_no_model_is_deleted_while_the_output_may_name_it_and_cannot_be_written() -> None:
    sweep = a_sweep(keepModels="Best", output={"configMap": "out"})
    trials = [a_trial(i, score=i / 10, fine_tuned_model=f"m{i}", epochs=i + 1) for i in range(10)]
    decision = look(
        sweep, trials, deletable=frozenset({"acme"}), output_problem="out belongs to somebody else"
    )
    assert decision.actions == ()
    assert (decision.status.phase, reason(decision)) == ("Finishing", "OutputRefused")


def test_money_that_is_reserved_counts_against_the_budget() -> None:
    sweep = a_sweep(limits={"budget": {"maxCost": "25.00"}, "parallelTrials": 5})
    running = [a_trial(0, TrialPhase.TRAINING, estimated="20.00")]
    decision = look(sweep, running, costs=PRICED)
    total = money("20.00") + sum(
        (each.estimated_cost or money("0")) for each in decision.actions if isinstance(each, CreateTrial)
    )
    assert total <= money("25.00")


def test_what_a_trial_really_cost_frees_what_was_reserved() -> None:
    sweep = a_sweep(limits={"budget": {"maxCost": "21.00"}, "parallelTrials": 1})
    ended = a_trial(0, score=0.5, estimated="20.00", cost=money("0.50"))
    decision = look(sweep, [ended], costs=PRICED)
    assert created(decision) == [1]
    assert decision.status.spent == "0.50 USD"


def test_a_trial_that_bought_nothing_costs_nothing() -> None:
    ended = a_trial(0, TrialPhase.FAILED, estimated="20.00", create=None)
    assert look(a_sweep(), [ended], costs=PRICED).status.spent == "0.00 USD"


def test_a_suspended_sweep_says_so_and_goes_on_with_what_runs() -> None:
    decision = look(a_sweep(suspend=True), [a_trial(0, TrialPhase.TRAINING)])
    assert decision.actions == ()
    assert decision.status.phase == "Suspended"
    assert "1 running trial goes on" in message(decision)


WEIGHED = {"metric": "accuracy", "costWeight": 0.01}


def test_the_best_trial_is_told_with_its_cost_where_that_counts() -> None:
    trials = [a_trial(0, score=0.9, cost=money("20.00")), a_trial(1, score=0.85, cost=money("2.00"))]
    decision = look(a_sweep(objective=WEIGHED, limits={"maxTrials": 2}), trials)
    best = decision.status.best
    assert best is not None
    assert (best.trial, best.score, best.cost, best.value) == ("s-1", 0.85, money("2.00"), 0.83)
    assert "and is worth 0.83 with its cost of 2.00 (objective.costWeight)" in message(decision)
    unweighed = look(a_sweep(limits={"maxTrials": 2}), trials).status.best
    assert unweighed is not None
    assert (unweighed.trial, unweighed.cost, unweighed.value) == ("s-0", None, None)


def test_a_cheaper_trial_that_is_worth_more_ends_no_plateau() -> None:
    trials = [
        a_trial(index, score=0.9 - index / 1000, cost=money(f"{20 - index}.00"), finished_at=NOW)
        for index in range(4)
    ]
    rule = {"plateau": {"trials": 3}}
    assert reason(look(a_sweep(objective=WEIGHED, earlyStopping=rule), trials)) == "Searching"
    assert reason(look(a_sweep(earlyStopping=rule), trials)) == "Plateau"


def test_repeats_are_compared_by_their_mean_value() -> None:
    repeated = [
        a_trial(0, score=0.9, cost=money("20.00")),
        a_trial(1, score=0.85, cost=money("2.00")),
        _repeat(2, of=0, score=0.9, cost=money("20.00")),
        _repeat(3, of=1, score=0.84, cost=money("2.00")),
    ]
    for objective, wanted in (({"metric": "accuracy"}, "s-0"), (WEIGHED, "s-1")):
        best = look(a_sweep(objective=objective, limits={"maxTrials": 4}), repeated).status.best
        assert best is not None
        assert best.trial == wanted


def _repeat(index: int, *, of: int, score: float, **status: Any) -> FinetuneTrial:
    trial = a_trial(index, score=score, **status)
    return trial.model_copy(update={"spec": trial.spec.model_copy(update={"repeat_of": of})})


def test_a_goal_is_one_of_the_score_whatever_it_cost() -> None:
    sweep = a_sweep(objective={**WEIGHED, "goal": 0.88})
    dear = a_trial(0, score=0.9, cost=money("20.00"))
    decision = look(sweep, [dear, a_trial(1, score=0.85, cost=money("2.00"))])
    assert reason(decision) == "GoalReached"
    assert decision.status.best is not None
    assert decision.status.best.trial == "s-1"


def test_the_search_learns_of_scores_with_the_cost_counted_in() -> None:
    trials = [a_trial(0, score=0.9, cost=money("20.00"))]
    assert [each.score for each in observations(a_sweep(), trials)] == [0.9]
    assert [each.score for each in observations(a_sweep(objective=WEIGHED), trials)] == [pytest.approx(0.7)]


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    first = look(a_sweep(), [])
    later = decide(
        a_sweep(status=first.status.to_dict()),
        [],
        Knowledge(baselines=MEASURED),
        now=NOW + timedelta(hours=1),
    )
    assert [each.last_transition_time for each in later.status.conditions] == [NOW] * 3


def test_the_status_of_a_thousand_trials_is_small() -> None:
    trials = [a_trial(index, score=index / 1000, epochs=1) for index in range(1000)]
    decision = look(a_sweep(limits={"maxTrials": 1000}), trials)
    assert len(decision.status.model_dump_json(by_alias=True)) < 20_000


PHASES = st.sampled_from([TrialPhase.PENDING, TrialPhase.TRAINING, TrialPhase.FAILED, TrialPhase.STALLED])


@st.composite
def histories(draw: st.DrawFn) -> list[FinetuneTrial]:
    epochs = draw(st.lists(st.integers(1, 20), unique=True, max_size=12))
    trials = []
    for index, value in enumerate(epochs):
        score = draw(st.one_of(st.none(), st.floats(0, 1)))
        phase = TrialPhase.SUCCEEDED if score is not None else draw(PHASES)
        trials.append(a_trial(index, phase, score, epochs=value, estimated="1.00"))
    return trials


@settings(max_examples=60, deadline=None)
@given(
    trials=histories(),
    parallel=st.integers(1, 5),
    limit=st.integers(1, 15),
    method=st.sampled_from(["Random", "Grid"]),
    budget=st.integers(1, 40),
)
def test_limits_hold_and_no_point_is_bought_twice_whatever_the_history(
    trials: list[FinetuneTrial], parallel: int, limit: int, method: str, budget: int
) -> None:
    sweep = a_sweep(
        limits={"parallelTrials": parallel, "maxTrials": limit, "budget": {"maxCost": str(budget)}},
        search={"method": method},
    )
    decision = look(sweep, trials, costs=PRICED)
    new = [each for each in decision.actions if isinstance(each, CreateTrial)]
    active = [trial for trial in trials if not trial.terminal]
    assert not new or len(active) + len(new) <= parallel
    assert not new or len(trials) + len(new) <= limit
    assert [each.index for each in new] == list(range(len(trials), len(trials) + len(new)))
    values = [trial.spec.hyperparameters["epochs"] for trial in trials]
    values += [each.proposal.point.parameters["epochs"] for each in new]
    assert len(set(values)) == len(values)
    assert decision == look(sweep, list(reversed(trials)), costs=PRICED)
    finished = decision.status.phase in {"Succeeded", "Failed"}
    assert not (finished and active)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_status_has_its_time(phase: str) -> None:
    trials = [a_trial(i, score=0.5 if phase == "Succeeded" else None) for i in range(10)]
    decision = look(a_sweep(), trials)
    assert decision.status.phase == phase
    assert decision.status.finished_at == NOW


@pytest.mark.parametrize(("at_limit", "cancelled"), [("StopNew", []), ("CancelRunning", ["s-1"])])
def test_money_that_is_overdrawn_cancels_running_trials_only_where_that_is_wanted(
    at_limit: str, cancelled: list[str]
) -> None:
    budget = {"maxCost": "5.00", "atLimit": at_limit}
    trials = [
        a_trial(0, score=0.5, estimated="2.00", cost="4.50"),
        a_trial(1, TrialPhase.TRAINING, estimated="2.00"),
    ]
    decision = decide(a_sweep(limits={"budget": budget}), trials, Knowledge(), now=NOW)
    actions = [each for each in decision.actions if isinstance(each, CancelTrial)]
    assert [each.trial for each in actions] == cancelled
    if cancelled:
        assert (
            "6.50 USD are spent or reserved, more than limits.budget.maxCost of 5.00 USD"
            in actions[0].message
        )
        assert str(actions[0].exceeded) == "5.00"


def test_money_that_is_only_used_up_cancels_nobody() -> None:
    budget = {"maxCost": "4.00", "atLimit": "CancelRunning"}
    trials = [
        a_trial(0, score=0.5, estimated="2.00", cost="2.00"),
        a_trial(1, TrialPhase.TRAINING, estimated="2.00"),
    ]
    decision = decide(a_sweep(limits={"budget": budget}), trials, Knowledge(), now=NOW)
    assert not [each for each in decision.actions if isinstance(each, CancelTrial)]


def after_the_limit(status: dict[str, Any], *, told: dict[str, str] | None = None, **budget: str) -> Decision:
    """The look after the running trial was cancelled, and cost less than was reserved: 1.50 are free again.

    `told` is what its cancellation tells of the limit; nothing, where an earlier version asked for it.
    """
    why = {"reason": "BudgetExhausted", "message": "too much was spent"}
    cancel = {**why, **({"exceeded": "5.00"} if told is None else told)}
    trials = [
        a_trial(0, score=0.5, estimated="1.00", cost="3.40"),
        a_trial(1, TrialPhase.CANCELLED, estimated="2.00", cost="0.10", cancel=cancel),
    ]
    limits = {"budget": {**EXCEEDED, **budget}}
    return decide(a_sweep(limits=limits, status=status), trials, Knowledge(costs=CHEAP), now=NOW)


def test_a_limit_that_cancelled_trials_stays_reached_when_they_come_to_cost_less() -> None:
    running = [
        a_trial(0, score=0.5, estimated="1.00", cost="3.40"),
        a_trial(1, TrialPhase.TRAINING, estimated="2.00"),
    ]
    reached = decide(a_sweep(limits={"budget": EXCEEDED}), running, Knowledge(costs=CHEAP), now=NOW).status
    assert reached.cost is not None
    assert str(reached.cost.exceeded) == "5.00"
    # The operator may also have died between the cancellation and the status.
    for known in (reached.to_dict(), {"startedAt": NOW.isoformat(), "lastIndex": 1}):
        decision = after_the_limit(known)
        assert not [each for each in decision.actions if isinstance(each, CreateTrial)]
        assert decision.status.phase == "Finishing"  # the base model is still to be measured
        why = decision.status.condition("Reconciling")
        assert why is not None
        assert "raise limits.budget.maxCost to more than 5.00 USD" in why.message
        assert decision.status.cost is not None
        assert str(decision.status.cost.exceeded) == "5.00"


def test_a_reached_limit_is_not_said_to_have_cancelled_trials_where_none_was() -> None:
    # A trained model is evaluated all the same, and comes to cost less than was reserved for it.
    known = a_trial(0, TrialPhase.EVALUATING, estimated="5.40")
    limits = {"limits": {"budget": EXCEEDED}}
    reached = decide(a_sweep(**limits), [known], Knowledge(costs=CHEAP), now=NOW)
    assert reached.actions == ()
    ended = a_trial(0, score=0.5, estimated="5.40", cost="4.00")
    decision = decide(
        a_sweep(**limits, status=reached.status.to_dict()), [ended], Knowledge(costs=CHEAP), now=NOW
    )
    assert "was exceeded" in message(decision)
    assert "cancelled" not in message(decision)


def test_a_trial_that_ended_before_it_could_be_cancelled_is_not_said_to_have_been() -> None:
    cancel = {"reason": "BudgetExhausted", "message": "too much was spent", "exceeded": "5.00"}
    faster = a_trial(0, score=0.5, estimated="5.40", cost="4.00", cancel=cancel)
    decision = decide(a_sweep(limits={"budget": EXCEEDED}), [faster], Knowledge(costs=CHEAP), now=NOW)
    assert "was exceeded (limits.budget.atLimit: CancelRunning)" in message(decision)


def test_too_many_failures_stay_the_reason_where_the_budget_is_exceeded_as_well() -> None:
    trials = [
        a_trial(0, score=0.5, estimated="2.00", cost="4.50"),
        a_trial(1, TrialPhase.FAILED, message="the data is bad"),
        a_trial(2, TrialPhase.TRAINING, estimated="2.00"),
    ]
    limits = {"budget": EXCEEDED, "maxFailedTrials": 0}
    going = decide(a_sweep(limits=limits), trials, Knowledge(costs=CHEAP), now=NOW)
    (cancel,) = [each for each in going.actions if isinstance(each, CancelTrial)]
    assert (cancel.trial, str(cancel.exceeded)) == ("s-2", "5.00")
    assert "1 trial failed" in cancel.message
    assert "more than limits.budget.maxCost" in cancel.message
    told = {"reason": cancel.reason, "message": cancel.message, "exceeded": "5.00"}
    trials[2] = a_trial(2, TrialPhase.CANCELLED, estimated="2.00", cost="0.10", cancel=told)
    ended = decide(a_sweep(limits=limits), trials, Knowledge(costs=CHEAP, baselines=MEASURED), now=NOW)
    stalled = ended.status.condition("Stalled")
    assert stalled is not None
    assert (ended.status.phase, stalled.reason) == ("Failed", "TooManyFailures")
    assert "1 trial that still went on was cancelled: s-2" in stalled.message


@pytest.mark.parametrize("change", [{"maxCost": "5.50"}, {"atLimit": "StopNew"}])
def test_after_a_reached_limit_the_sweep_goes_on_when_a_person_says_so(change: dict[str, str]) -> None:
    known = {"cost": {"spent": "3.50", "exceeded": "5.00", "perTrial": ["3.40", "0.10"]}, "lastIndex": 1}
    decision = after_the_limit(known, **change)
    assert [each.index for each in decision.actions if isinstance(each, CreateTrial)] == [2, 3]


def test_a_limit_that_a_person_raised_before_the_status_held_it_is_not_taken_for_the_new_one() -> None:
    decision = after_the_limit({"startedAt": NOW.isoformat(), "lastIndex": 1}, maxCost="9.00")
    assert [each.index for each in decision.actions if isinstance(each, CreateTrial)] == [2, 3]
    assert decision.status.cost is not None
    assert str(decision.status.cost.exceeded) == "5.00"


def test_where_no_limit_was_written_down_that_of_now_is_taken_for_it_until_a_person_raises_it() -> None:
    decision = after_the_limit({"startedAt": NOW.isoformat(), "lastIndex": 1}, told={})
    assert not [each for each in decision.actions if isinstance(each, CreateTrial)]
    decision = after_the_limit(decision.status.to_dict(), told={}, maxCost="5.50")
    assert [each.index for each in decision.actions if isinstance(each, CreateTrial)] == [2, 3]


def test_a_limit_that_was_lowered_is_not_said_to_be_what_was_launched() -> None:
    trials = [a_trial(index, score=0.5) for index in range(3)]
    ready = decide(a_sweep(limits={"maxTrials": 2}), trials, Knowledge(), now=NOW).status.condition("Ready")
    assert ready is not None
    assert "3 trials were launched, and limits.maxTrials is 2" in ready.message
