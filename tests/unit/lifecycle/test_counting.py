"""A sweep's status is written when something is new; its numbers may wait ten seconds, its best trial one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, cast

from tests.unit.decisions.builders import a_sweep, a_trial

from finetune_operator.decisions import CreateTrial, Decision, WriteOutput
from finetune_operator.lifecycle.context import LAUNCHED_WITHIN_S, Context, Launches
from finetune_operator.lifecycle.counting import (
    BEST_WITHIN_S,
    COUNTS_WITHIN_S,
    LONGEST_COUNTS_S,
    forget_numbers,
    status_may_wait_s,
    with_unwritten,
)
from finetune_operator.lifecycle.store import Key
from finetune_operator.resources import Condition, FinetuneTrial, SweepStatus, TrialPhase
from finetune_operator.search import Point, Proposal

SWEEP = Key("FinetuneSweep", "team", "support")


class Hands:
    """The part of a context that is used here."""

    def __init__(self) -> None:
        self.counts_due: dict[Key, float] = {}
        self.unwritten: dict[Key, tuple[str | None, SweepStatus]] = {}
        self.launches: dict[Key, Launches] = {}
        self.launched_within_s = LAUNCHED_WITHIN_S
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


def wait_s(
    hands: Hands,
    known: SweepStatus,
    new: SweepStatus,
    *actions: Any,
    trials: Sequence[FinetuneTrial] = (),
    limits: Mapping[str, Any] = MappingProxyType({}),
) -> float:
    sweep = a_sweep(limits=dict(limits)).model_copy(update={"status": known})
    decision = Decision(actions, new, wake_at=None)
    return status_may_wait_s(cast("Context", hands), SWEEP, sweep, decision, trials)


CREATE = CreateTrial(1, Proposal(Point("small", "tiny-1", {"epochs": 1}), "Random"), None)


def saying(reason: str, message: str) -> SweepStatus:
    condition = Condition(type="Ready", status="False", reason=reason, message=message)
    return status(total=1).model_copy(update={"conditions": (condition,)})


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


def test_an_end_and_the_trial_that_follows_are_one_write() -> None:
    hands = Hands()
    known = status(total=1, running=1)
    assert wait_s(hands, known, status(total=1, done=1, succeeded=1), CREATE) == COUNTS_WITHIN_S
    hands.now_s += 1.0
    assert wait_s(hands, known, status(total=2, running=1, done=1, succeeded=1)) == COUNTS_WITHIN_S - 1.0


def test_numbers_wait_longer_where_those_of_many_sweeps_do() -> None:
    hands = Hands()
    hands.counts_due = {Key("FinetuneSweep", "team", f"other-{number}"): 105.0 for number in range(10)}
    assert wait_s(hands, status(total=1), status(total=2)) == COUNTS_WITHIN_S + 5.0
    hands.counts_due |= {Key("FinetuneSweep", "team", f"more-{number}"): 105.0 for number in range(90)}
    del hands.counts_due[SWEEP]
    assert wait_s(hands, status(total=1), status(total=2)) == LONGEST_COUNTS_S


def test_that_money_is_spent_may_wait() -> None:
    spent = status(total=1, done=1).model_copy(update={"spent": "3.00 USD", "last_index": 4})
    assert wait_s(Hands(), status(total=1, running=1), spent) == COUNTS_WITHIN_S


def spending(spent: str, last_index: int) -> SweepStatus:
    cost = {"currency": "USD", "spent": spent, "reserved": "0", "perTrial": [spent]}
    return SweepStatus.model_validate({"phase": "Searching", "cost": cost, "lastIndex": last_index})


def test_what_counts_against_a_budget_is_written_in_a_second() -> None:
    budget = {"budget": {"maxCost": "10.00", "currency": "USD"}}
    before, after = spending("0", 0), spending("3.00", 0)
    assert wait_s(Hands(), before, after, limits=budget) == BEST_WITHIN_S
    assert wait_s(Hands(), before, after) == COUNTS_WITHIN_S


def test_a_trial_that_is_deleted_before_it_is_written_counts_all_the_same() -> None:
    context = cast("Context", Hands())
    sweep = a_sweep().model_copy(update={"status": spending("0", 0)})
    decision = Decision((), spending("3.00", 4), wake_at=None)
    assert status_may_wait_s(context, SWEEP, sweep, decision, ()) > 0
    seen = with_unwritten(context, SWEEP, sweep).status
    assert seen.last_index == 4
    assert seen.cost is not None
    assert str(seen.cost.spent) == "3.00"
    namesake = sweep.metadata.model_copy(update={"uid": "another"})
    another = sweep.model_copy(update={"metadata": namesake})
    assert with_unwritten(context, SWEEP, another) is another
    forget_numbers(context, SWEEP)
    assert with_unwritten(context, SWEEP, sweep) is sweep


def test_a_message_that_counts_may_wait_and_a_reason_may_not() -> None:
    searching, further = (saying("Searching", f"{done} of 10 trials have ended") for done in (1, 2))
    assert wait_s(Hands(), searching, further) == COUNTS_WITHIN_S
    assert wait_s(Hands(), searching, saying("TrialStalled", "trial a-1 needs a person")) == 0


def test_a_new_best_trial_is_told_in_a_second_also_where_counts_wait_already() -> None:
    hands = Hands()
    known = status(total=1, running=1)
    assert wait_s(hands, known, status(total=1, done=1)) == COUNTS_WITHIN_S
    hands.now_s += 0.5
    better = status(total=2, done=1, running=1).model_copy(update={"best_score": "0.9"})
    assert wait_s(hands, known, better) == BEST_WITHIN_S
    hands.now_s += BEST_WITHIN_S
    assert wait_s(hands, known, better) <= 0
    assert hands.counts_due == {}


def test_what_ends_a_sweep_is_written_at_once() -> None:
    action = WriteOutput("support-model")
    assert wait_s(Hands(), status(total=1, pending=1), status(total=1, running=1), action) == 0


def test_the_index_of_a_trial_that_is_deleted_is_written_at_once() -> None:
    leaving = a_trial(1, TrialPhase.PENDING)
    deleted = leaving.metadata.model_copy(update={"deletion_timestamp": datetime(2026, 11, 24, tzinfo=UTC)})
    leaving = leaving.model_copy(update={"metadata": deleted})
    assert wait_s(Hands(), status(total=1), status(total=2), trials=[leaving]) == 0


def test_another_phase_is_written_at_once() -> None:
    finishing = status(total=1, running=1).model_copy(update={"phase": "Finishing"})
    assert wait_s(Hands(), status(total=1, pending=1), finishing) == 0


def launching(hands: Hands) -> None:
    hands.launches[SWEEP] = Launches(launched_at=hands.now_s)


def test_a_first_status_tells_of_the_trials_that_were_launched_with_it() -> None:
    hands = Hands()
    launching(hands)
    assert wait_s(hands, SweepStatus(), status(), CREATE) == LAUNCHED_WITHIN_S
    hands.now_s += 0.25
    pending = a_trial(0, TrialPhase.PENDING)
    left_s = LAUNCHED_WITHIN_S - 0.25
    assert wait_s(hands, SweepStatus(), status(total=1, pending=1), trials=[pending]) == left_s
    hands.now_s += 0.25
    at_work = a_trial(0, TrialPhase.SUBMITTING)
    assert wait_s(hands, SweepStatus(), status(total=1, running=1), trials=[at_work]) == 0


def test_a_trial_that_waits_for_its_turn_does_not_hold_up_what_its_sweep_says() -> None:
    hands = Hands()
    launching(hands)
    finishing = status(total=2, pending=1).model_copy(update={"phase": "Finishing"})
    waiting = a_trial(1, TrialPhase.PENDING)
    assert wait_s(hands, status(total=1), finishing, CREATE) == LAUNCHED_WITHIN_S
    hands.now_s += LAUNCHED_WITHIN_S / 2
    launching(hands)  # another one: no launch after launch may hold it up for ever
    assert wait_s(hands, status(total=1), finishing, CREATE, trials=[waiting]) == LAUNCHED_WITHIN_S / 2
    hands.now_s += LAUNCHED_WITHIN_S / 2
    assert wait_s(hands, status(total=1), finishing, trials=[waiting]) <= 0


def test_the_currency_of_a_budget_is_written_with_the_first_launch() -> None:
    hands = Hands()
    launching(hands)
    budget = {"budget": {"maxCost": "10.00", "currency": "USD"}}
    first = SweepStatus.model_validate({**spending("0", 0).to_dict(), "phase": "Searching"})
    assert wait_s(hands, SweepStatus(), first, CREATE, limits=budget) == 0


def test_nothing_new_plans_no_look() -> None:
    hands = Hands()
    assert wait_s(hands, status(total=1), status(total=1)) == 0
    assert hands.counts_due == {}
