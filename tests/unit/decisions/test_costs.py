"""Money: nothing that may have been spent is left out, whatever becomes of the trials."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from tests.unit.decisions.builders import NOW, a_sweep, a_trial, money

from finetune_operator.decisions import CostModel, CreateTrial, Decision, Knowledge, decide
from finetune_operator.decisions.costs import ModelPrice
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, SweepStatus, TrialPhase
from finetune_operator.resources.trial import ServingJournal

SERVED = CostModel(
    1_000_000,
    {("small", "tiny"): ModelPrice(money("1.00"), 3, serving_per_hour=money("2.00"), served=True)},
)
"""A model that costs 1.00 an epoch, and 2.00 an hour while it answers."""


def look(sweep: FinetuneSweep, trials: list[FinetuneTrial], *, now: datetime = NOW) -> Decision:
    return decide(sweep, trials, Knowledge(costs=SERVED), now=now)


def deployed(index: int = 0, **status: Any) -> FinetuneTrial:
    serving = ServingJournal(name="d", state="Active", model="m", at=NOW, active_at=NOW)
    return a_trial(index, TrialPhase.EVALUATING, epochs=1, estimated="3.00", **{"serving": serving, **status})


def reserved(trial: FinetuneTrial, **after: float) -> Decimal:
    cost = look(a_sweep(limits={"maxTrials": 1}), [trial], now=NOW + timedelta(**after)).status.cost
    assert cost is not None
    assert cost.reserved is not None
    return cost.reserved


def test_a_deployed_trial_reserves_the_hours_that_ran_and_the_one_that_began() -> None:
    assert reserved(deployed()) == money("3.00")
    assert reserved(deployed(), minutes=59) == money("3.00")
    assert reserved(deployed(), minutes=60) == money("5.00")
    assert reserved(deployed(), minutes=150) == money("7.00")


def test_a_training_that_cost_more_than_expected_is_reserved_with_its_hours() -> None:
    assert reserved(deployed(cost=money("4.00")), minutes=30) == money("6.00")


def test_hours_of_an_earlier_deployment_stay_reserved() -> None:
    trial = deployed(cost=money("7.00"), serving_cost=money("6.00"))
    assert reserved(trial, minutes=30) == money("9.00")


def test_an_unknown_actual_cost_counts_as_its_estimate_with_the_hours_that_are_known() -> None:
    ended = a_trial(0, score=0.5, epochs=1, estimated="3.00", serving_cost=money("6.00"))
    assert look(a_sweep(), [ended]).status.spent == "7.00 USD"


def test_a_budget_is_not_spent_twice_while_a_model_stays_deployed() -> None:
    sweep = a_sweep(limits={"budget": {"maxCost": "26.00"}})
    assert any(isinstance(each, CreateTrial) for each in look(sweep, [deployed()]).actions)
    late = look(sweep, [deployed()], now=NOW + timedelta(hours=12))
    assert not any(isinstance(each, CreateTrial) for each in late.actions)


def test_a_sweep_with_a_deployed_model_is_looked_at_when_an_hour_begins() -> None:
    sweep = a_sweep(limits={"maxTrials": 1, "budget": {"maxCost": "26.00"}})
    wake_at = look(sweep, [deployed()], now=NOW + timedelta(minutes=90)).wake_at
    assert wake_at == NOW + timedelta(hours=2)


def test_a_trial_that_was_launched_without_a_price_counts_once_there_is_one() -> None:
    sweep = a_sweep(limits={"maxTrials": 2, "budget": {"maxCost": "26.00"}})
    cost = look(sweep, [a_trial(0, score=0.5, epochs=4), a_trial(1, TrialPhase.TRAINING)]).status.cost
    assert cost is not None
    assert (cost.spent, cost.reserved) == (money("6.00"), money("4.00"))


def test_a_price_that_has_risen_counts_for_what_runs_and_not_for_what_ended() -> None:
    ended = a_trial(0, score=0.5, epochs=1, estimated="1.50")
    running = a_trial(1, TrialPhase.TRAINING, epochs=2, estimated="2.50")
    cost = look(a_sweep(limits={"maxTrials": 2}), [ended, running]).status.cost
    assert cost is not None
    assert (cost.spent, cost.reserved) == (money("1.50"), money("4.00"))


def test_a_price_that_has_fallen_gives_nothing_back_before_the_trial_ends() -> None:
    assert reserved(a_trial(0, TrialPhase.TRAINING, epochs=1, estimated="9.00")) == money("9.00")


def test_candidates_at_several_providers_share_one_budget() -> None:
    other = {"name": "big", "providerRef": {"name": "zeta"}, "baseModels": ["large"]}
    one_value = {"epochs": {"values": ["1"]}}
    small = {"name": "small", "providerRef": {"name": "acme"}, "baseModels": ["tiny"]}
    sweep = a_sweep(
        candidates=[{**small, "parameters": one_value}, {**other, "parameters": one_value}],
        search={"method": "Grid"},
        limits={"parallelTrials": 2, "budget": {"maxCost": "8.00"}},
    )
    prices = {**SERVED.prices, ("big", "large"): ModelPrice(money("6.00"), 3)}
    decision = decide(sweep, [], Knowledge(costs=CostModel(1_000_000, prices)), now=NOW)
    new = [each.estimated_cost for each in decision.actions if isinstance(each, CreateTrial)]
    assert new in ([money("3.00")], [money("6.00")])
    ready = decision.status.condition("Ready")
    assert ready is not None
    assert ready.reason == "BudgetExhausted"


@pytest.mark.parametrize("phase", [TrialPhase.SUCCEEDED, TrialPhase.TRAINING, TrialPhase.PENDING])
def test_a_deleted_trial_gives_no_money_back(phase: TrialPhase) -> None:
    limits = {"maxTrials": 5, "parallelTrials": 1, "budget": {"maxCost": "26.00"}}
    before = look(a_sweep(limits=limits), [a_trial(0, phase, estimated="25.00")])
    after = look(a_sweep(limits=limits, status=before.status.to_dict()), [])
    assert after.actions == ()
    assert after.status.spent == "25.00 USD"
    again = look(a_sweep(limits=limits, status=after.status.to_dict()), [])
    assert again.status.cost == after.status.cost


def test_what_a_provider_counted_takes_the_place_of_estimated_tokens() -> None:
    """One epoch was estimated at a million tokens, and is three to this provider's tokenizer."""
    sweep = a_sweep(limits={"maxTrials": 2, "budget": {"maxCost": "26.00"}})
    trained = {"trained_tokens": 6_000_000, "fine_tuned_model": "ft:1", "cost": money("8.00")}
    ended = a_trial(0, score=0.5, epochs=2, estimated="4.00", **trained)
    running = a_trial(1, TrialPhase.TRAINING, epochs=2, estimated="4.00")
    cost = look(sweep, [ended, running]).status.cost
    assert cost is not None
    assert (cost.spent, cost.reserved) == (money("8.00"), money("8.00"))
    # One that was cancelled, of which nobody tells what it cost, has not become cheaper by that.
    cancelled = a_trial(1, TrialPhase.CANCELLED, epochs=2, estimated="4.00")
    assert look(sweep, [ended, cancelled]).status.spent == "16.00 USD"
    # A job that was cancelled has not trained all of them.
    cut_off = ended.model_copy(update={"status": ended.status.model_copy(update={"fine_tuned_model": None})})
    cost = look(sweep, [cut_off, running]).status.cost
    assert cost is not None
    assert cost.reserved == money("4.00")


def test_the_next_trial_is_reserved_by_what_earlier_ones_came_to() -> None:
    limits = {"parallelTrials": 1, "budget": {"maxCost": "100.00"}}
    trained = {"trained_tokens": 500_000, "fine_tuned_model": "ft:1", "cost": money("2.50")}
    ended = a_trial(0, score=0.5, epochs=1, estimated="3.00", **trained)
    (new,) = (each for each in look(a_sweep(limits=limits), [ended]).actions if isinstance(each, CreateTrial))
    assert new.estimated_cost == Decimal(int(new.proposal.point.parameters["epochs"])) / 2 + 2


def test_a_cost_that_becomes_known_late_takes_the_place_of_its_estimate() -> None:
    limits = {"maxTrials": 1}
    before = look(a_sweep(limits=limits), [a_trial(0, TrialPhase.FAILED, estimated="9.00")])
    assert before.status.spent == "9.00 USD"
    late = a_trial(0, TrialPhase.FAILED, estimated="9.00", cost=money("4.00"))
    assert look(a_sweep(limits=limits, status=before.status.to_dict()), [late]).status.spent == "4.00 USD"


def test_a_trial_that_somebody_made_with_a_huge_index_does_not_fill_the_status() -> None:
    cost = look(a_sweep(), [a_trial(999_999, TrialPhase.TRAINING, epochs=1, estimated="3.00")]).status.cost
    assert cost is not None
    assert cost.reserved == money("3.00")
    assert len(cost.per_trial) == 1000


class Money(RuleBasedStateMachine):
    """A sweep's trials train, are deployed, end, get their costs and are deleted; the operator dies in between."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.status = SweepStatus()
        self.trials: dict[int, FinetuneTrial] = {}
        self.truth: dict[int, Decimal] = {}
        self.budget = money("60.00")

    def bill(self) -> Decimal:
        """What was really spent, and what the trials that go on may cost."""
        gone_or_ended = sum(self.truth.values(), Decimal(0))
        return gone_or_ended + sum(map(self.exposure, self.trials.values()), Decimal(0))

    def exposure(self, trial: FinetuneTrial) -> Decimal:
        """What a trial that goes on may cost: its estimate, one hour of 2.00 in it, or more once that is known."""
        estimate, serving = trial.spec.estimated_cost, trial.status.serving
        assert estimate is not None
        if trial.terminal:
            return Decimal(0)
        if serving is None or serving.at is None:
            return estimate
        trained = estimate - 2 if trial.status.cost is None else trial.status.cost
        return max(estimate, trained + Decimal((self.now - serving.at) / timedelta(hours=1)) * 2)

    def one(self, data: st.DataObject, *phases: TrialPhase) -> FinetuneTrial | None:
        fitting = [each for each in self.trials.values() if each.phase in phases]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    def write(self, trial: FinetuneTrial, **status: Any) -> None:
        changed = trial.model_copy(update={"status": trial.status.model_copy(update=status)})
        self.trials[trial.spec.index] = changed

    @rule(parallel=st.integers(1, 4), dies=st.booleans())
    def the_operator_looks(self, parallel: int, dies: bool) -> None:
        limits = {
            "maxTrials": 30,
            "parallelTrials": parallel,
            "maxFailedTrials": 30,
            "budget": {"maxCost": f"{self.budget:f}"},
        }
        sweep = a_sweep(limits=limits, status=self.status.to_dict())
        decision = look(sweep, list(self.trials.values()), now=self.now)
        new = [each for each in decision.actions if isinstance(each, CreateTrial)]
        for each in new:
            assert each.index not in self.truth | self.trials
            assert each.estimated_cost is not None
            epochs = int(each.proposal.point.parameters["epochs"])
            trial = a_trial(
                each.index, TrialPhase.PENDING, epochs=epochs, estimated=f"{each.estimated_cost:f}"
            )
            self.trials[each.index] = trial
        assert not new or self.bill() <= self.budget
        cost = decision.status.cost
        assert cost is not None
        assert (cost.spent or 0) + (cost.reserved or 0) >= self.bill()
        # Trials that are there but not in the status are found again; they are not deleted before that here.
        if not dies or new:
            self.status = decision.status

    @rule(hours=st.floats(0.1, 5.0))
    def time_goes_by(self, hours: float) -> None:
        self.now += timedelta(hours=hours)

    @rule(data=st.data())
    def a_job_is_bought(self, data: st.DataObject) -> None:
        if trial := self.one(data, TrialPhase.PENDING):
            bought = a_trial(0, TrialPhase.TRAINING).status.create
            self.write(trial, phase=TrialPhase.TRAINING, create=bought)

    @rule(data=st.data(), cost=st.none() | st.decimals("0.01", "30.00", places=2))
    def a_job_ends(self, data: st.DataObject, cost: Decimal | None) -> None:
        if trial := self.one(data, TrialPhase.TRAINING):
            serving = ServingJournal(name="d", state="Active", model="m", at=self.now)
            self.write(trial, phase=TrialPhase.EVALUATING, cost=cost, serving=serving)

    @rule(data=st.data(), fails=st.booleans())
    def a_model_is_evaluated(self, data: st.DataObject, fails: bool) -> None:
        if (trial := self.one(data, TrialPhase.EVALUATING)) and trial.status.serving is not None:
            serving, status = trial.status.serving, trial.status
            assert serving.at is not None
            hours = Decimal((self.now - serving.at) / timedelta(hours=1)) * 2
            served = (status.serving_cost or Decimal(0)) + hours
            self.write(
                trial,
                phase=TrialPhase.FAILED if fails else TrialPhase.SUCCEEDED,
                score=None if fails else 0.5,
                serving=serving.model_copy(update={"state": "Deleted"}),
                serving_cost=served,
                cost=None if status.cost is None else status.cost + hours,
            )
            trained = status.cost
            if trained is None:
                assert trial.spec.estimated_cost is not None
                trained = trial.spec.estimated_cost - 2
            self.truth[trial.spec.index] = trained + served

    @rule(data=st.data(), cost=st.decimals("0.01", "30.00", places=2))
    def a_cost_is_known_late(self, data: st.DataObject, cost: Decimal) -> None:
        trial = self.one(data, TrialPhase.SUCCEEDED, TrialPhase.FAILED)
        if trial is not None and trial.status.cost is None:
            self.write(trial, cost=cost)
            self.truth[trial.spec.index] = cost

    @rule()
    def the_operator_looks_alone(self) -> None:
        self.the_operator_looks(1, dies=False)

    @precondition(lambda self: self.trials)
    @rule(data=st.data())
    def a_trial_is_deleted(self, data: st.DataObject) -> None:
        self.the_operator_looks(1, dies=False)  # a deletion has the sweep looked at before the trial is gone
        trial = data.draw(st.sampled_from(list(self.trials.values())))
        # What is cancelled with it counts as it was expected to; what had ended is in the truth already.
        self.truth[trial.spec.index] = self.truth.get(trial.spec.index, Decimal(0)) + self.exposure(trial)
        del self.trials[trial.spec.index]


TestMoney = Money.TestCase
TestMoney.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
