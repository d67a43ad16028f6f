"""What a sweep's events say of a change of its status."""

from __future__ import annotations

import pytest

from finetune_operator.lifecycle.narration import sweep_events
from finetune_operator.resources import BestTrial, Condition, SweepStatus


@pytest.mark.parametrize(
    ("status", "reason", "event", "warning"),
    [
        ("True", "Accepted", "Accepted", False),
        ("False", "InvalidSpec", "Refused", True),
        ("False", "WarmStartNotReady", "WarmStartNotReady", False),
    ],
)
def test_a_sweep_that_waits_is_not_told_to_be_refused(
    status: str, reason: str, event: str, *, warning: bool
) -> None:
    accepted = Condition(type="Accepted", status=status, reason=reason, message="why")
    (told,) = sweep_events(SweepStatus(), SweepStatus(conditions=(accepted,)))
    assert (told.reason, told.message, told.warning) == (event, "why", warning)


def saying(phase: str, *conditions: Condition, last_index: int = -1) -> SweepStatus:
    return SweepStatus.model_validate(
        {"phase": phase, "conditions": [each.to_dict() for each in conditions], "lastIndex": last_index}
    )


def condition(kind: str, status: str, reason: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message="why")


def test_that_a_sweep_was_accepted_is_an_event_unless_its_launches_tell_it() -> None:
    accepted, refused = condition("Accepted", "True", "Valid"), condition("Accepted", "False", "InvalidSpec")
    (launched,) = sweep_events(SweepStatus(), saying("Searching", accepted, last_index=1))
    assert launched.routine
    (suspended,) = sweep_events(SweepStatus(), saying("Searching", accepted))
    assert not suspended.routine
    (mended,) = sweep_events(saying("Pending", refused), saying("Searching", accepted, last_index=1))
    assert not mended.routine


@pytest.mark.parametrize(("reason", "routine"), [("TrialsCompleted", True), ("GoalReached", False)])
def test_why_a_search_ended_is_an_event_unless_all_that_was_asked_for_is_launched(
    reason: str, *, routine: bool
) -> None:
    searching = saying("Searching", condition("Ready", "False", "Searching"))
    (told,) = sweep_events(searching, saying("Finishing", condition("Ready", "False", reason)))
    assert (told.reason, told.routine) == (reason, routine)


def test_a_best_trial_of_a_lower_score_is_told_with_what_it_is_worth() -> None:
    best = BestTrial(
        trial="s-1", candidate="a", provider="p", base_model="m", score=0.8, value=0.75, cost="0.50"
    )
    (told,) = sweep_events(SweepStatus(), SweepStatus(best=best))
    assert told.message == "trial s-1 is the best so far with 0.8, worth 0.75 with its cost"


def test_that_a_sweep_searches_again_after_it_was_suspended_is_told() -> None:
    def status(phase: str) -> SweepStatus:
        ready = Condition(type="Ready", status="False", reason=phase, message="why")
        return SweepStatus(phase=phase, conditions=(ready,))

    def told(before: str, after: str) -> list[str]:
        return [each.reason for each in sweep_events(status(before), status(after))]

    assert told("Searching", "Suspended") == ["Suspended"]
    assert told("Suspended", "Searching") == ["Resumed"]
    assert told("Suspended", "Finishing") == [
        "Finishing"
    ]  # its last trials ended; it is suspended all the same
