"""A sweep's status is written when something is new; how many trials are at work may wait two seconds."""

from __future__ import annotations

from typing import Any, cast

from finetune_operator.decisions import Decision, MeasureBaseline
from finetune_operator.lifecycle.context import Context
from finetune_operator.lifecycle.counting import COUNTS_WITHIN_S, counts_may_wait_s
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import SweepStatus

SWEEP = Key("FinetuneSweep", "team", "support")


class Hands:
    """The part of a context that is used here."""

    def __init__(self) -> None:
        self.counts_due: dict[Key, float] = {}
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


def wait_s(hands: Hands, known: SweepStatus, new: SweepStatus, *actions: Any) -> float:
    return counts_may_wait_s(cast("Context", hands), SWEEP, known, Decision(actions, new, wake_at=None))


def status(**counts: int) -> SweepStatus:
    return SweepStatus.model_validate({"phase": "Searching", "trials": counts})


def test_that_a_trial_is_at_work_now_may_wait_but_not_for_longer_each_time() -> None:
    hands = Hands()
    known = status(total=1, pending=1)
    assert wait_s(hands, known, status(total=2, pending=2)) == COUNTS_WITHIN_S
    hands.now_s += COUNTS_WITHIN_S - 0.5
    assert wait_s(hands, known, status(total=2, pending=1, running=1)) == 0.5
    hands.now_s += 0.5
    assert wait_s(hands, known, status(total=2, running=2)) <= 0
    assert hands.counts_due == {}


def test_an_end_is_written_at_once_with_all_that_waited() -> None:
    hands = Hands()
    known = status(total=1, pending=1)
    assert wait_s(hands, known, status(total=1, running=1)) > 0
    assert wait_s(hands, known, status(total=1, done=1, succeeded=1)) == 0
    assert hands.counts_due == {}


def test_what_an_action_follows_from_is_written_at_once() -> None:
    action = MeasureBaseline("small", "tiny-1")
    assert wait_s(Hands(), status(total=1, pending=1), status(total=1, running=1), action) == 0


def test_another_phase_is_written_at_once() -> None:
    finishing = status(total=1, running=1).model_copy(update={"phase": "Finishing"})
    assert wait_s(Hands(), status(total=1, pending=1), finishing) == 0


def test_nothing_new_plans_no_look() -> None:
    hands = Hands()
    assert wait_s(hands, status(total=1), status(total=1)) == 0
    assert hands.counts_due == {}
