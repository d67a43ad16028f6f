"""What a sweep says of trials that wait for their providers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.decisions.builders import NOW, a_sweep, a_trial

from finetune_operator.decisions import Knowledge, decide
from finetune_operator.decisions.waiting import moment_text
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.trial import CancelRequest

LATER = NOW + timedelta(hours=9)


def waiting(index: int, reason: str, until: datetime | None = LATER, **status: Any) -> FinetuneTrial:
    message = f"it waits ({reason})" + (f"; next try at {moment_text(until)}" if until else "")
    fields = {"reason": reason, "message": message, "waits_until": until, **status}
    return a_trial(index, TrialPhase.PENDING, **fields)


def told(*trials: FinetuneTrial, **changes: Any) -> tuple[str, str]:
    status = decide(a_sweep(**changes), trials, Knowledge(), now=NOW).status
    ready = status.condition("Ready")
    assert ready is not None
    assert status.condition("Stalled") is None
    return ready.reason, ready.message


def test_a_sweep_whose_trials_all_wait_for_a_quota_says_until_when() -> None:
    reason, message = told(waiting(0, "QuotaExceeded"), waiting(1, "WaitingForQuota"))
    assert reason == "WaitingForQuota"
    assert "all 2 trials that go on wait for FinetuneProvider acme" in message
    assert "next try at 2026-11-24 21:00:00 UTC" in message


def test_a_sweep_whose_trials_all_wait_for_slots_says_so() -> None:
    reason, message = told(waiting(0, "WaitingForSlot", None), waiting(1, "WaitingForSlot", None))
    assert reason == "WaitingForSlot"
    assert "it waits (WaitingForSlot)" in message


def test_a_quota_is_what_to_tell_where_others_wait_for_slots() -> None:
    assert told(waiting(0, "WaitingForSlot", None), waiting(1, "QuotaExceeded"))[0] == "WaitingForQuota"


def test_an_outage_is_no_quota() -> None:
    assert told(waiting(0, "ProviderNotReached"), waiting(1, "WaitingForQuota"))[0] == "WaitingForQuota"
    assert told(waiting(0, "ProviderNotReached"), waiting(1, "ProviderNotReached"))[0] == "ProviderNotReached"


@pytest.mark.parametrize("reason", ["QuotaExceeded", "WaitingForSlot"])
def test_a_sweep_of_which_something_goes_on_does_not_wait(reason: str) -> None:
    until = None if reason == "WaitingForSlot" else LATER
    assert told(a_trial(0, TrialPhase.TRAINING), waiting(1, reason, until))[0] == "Searching"
    assert told(waiting(0, reason, until))[0] == "Searching", "a further trial is launched"


def test_that_some_wait_is_told_beside_what_goes_on() -> None:
    message = told(a_trial(0, TrialPhase.TRAINING), waiting(1, "QuotaExceeded"))[1]
    assert "1 wait for FinetuneProvider acme until 2026-11-24 21:00:00 UTC" in message


def test_the_last_trials_of_a_sweep_wait_like_any() -> None:
    reason, message = told(waiting(0, "QuotaExceeded"), limits={"maxTrials": 1})
    assert reason == "WaitingForQuota"
    assert "the one trial of limits.maxTrials was launched; the one trial that goes on waits" in message


def test_trials_that_are_to_be_cancelled_wait_for_nothing() -> None:
    sweep = a_sweep(limits={"maxTrials": 1})
    cancel = CancelRequest(reason="x", message="y")
    ready = decide(sweep, [waiting(0, "QuotaExceeded", cancel=cancel)], Knowledge(), now=NOW).status
    assert [each.reason for each in ready.conditions if each.type == "Ready"] == ["TrialsCompleted"]


def test_of_two_providers_the_one_that_has_room_first_tells_when() -> None:
    late = waiting(0, "QuotaExceeded", LATER + timedelta(hours=1))
    stale = waiting(1, "WaitingForQuota", NOW - timedelta(hours=1))
    other = waiting(2, "QuotaExceeded", LATER)
    other = other.model_copy(
        update={"spec": other.spec.model_copy(update={"provider_ref": NameRef(name="zeta")})}
    )
    message = told(late, stale, other, limits={"parallelTrials": 3})[1]
    assert "FinetuneProvider acme and zeta" in message
    assert "next try at 2026-11-24 21:00:00 UTC" in message
