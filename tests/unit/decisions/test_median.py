"""The median rule stops what trains worse than earlier trials, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.decisions import MEDIAN_STOPPED, CancelTrial, Knowledge, decide
from finetune_operator.decisions.median import early_stops
from finetune_operator.decisions.proposing import observations
from finetune_operator.resources import FinetuneTrial, TrialPhase
from finetune_operator.resources.trial import CancelRequest, SeriesPoint
from unit.decisions.builders import NOW, a_sweep, a_trial

MEDIAN = {"median": {"minTrials": 3, "minSteps": 10}}


def curve(*values: float, metric: str = "validationLoss", every: int = 10) -> tuple[SeriesPoint, ...]:
    """Values at steps 10, 20 and so on, after that of the base model at step 0."""
    points = [SeriesPoint(step=0, values={metric: 9.0})]
    return (
        *points,
        *(SeriesPoint(step=every * (place + 1), values={metric: each}) for place, each in enumerate(values)),
    )


def trained(index: int, *values: float, **more: Any) -> FinetuneTrial:
    return a_trial(index, TrialPhase.SUCCEEDED, 0.5 + index / 100, series=curve(*values), **more)


def training(index: int, *values: float, **more: Any) -> FinetuneTrial:
    return a_trial(index, TrialPhase.TRAINING, series=curve(*values), **more)


EARLIER = [trained(0, 2.0, 1.0), trained(1, 2.2, 1.2), trained(2, 2.4, 1.4)]


def stopped(*trials: FinetuneTrial, **spec: Any) -> list[str]:
    return [each.trial for each in early_stops(a_sweep(**{"earlyStopping": MEDIAN, **spec}), trials)]


def test_a_trial_worse_than_the_median_of_averages_is_stopped_and_told_why() -> None:
    (action,) = early_stops(a_sweep(earlyStopping=MEDIAN), [*EARLIER, training(3, 3.0, 1.9)])
    assert action == CancelTrial(
        "s-3",
        MEDIAN_STOPPED,
        "validationLoss is at best 1.9 by step 20, worse than 1.7, the median of 3 earlier trials of this base model "
        "at that point (earlyStopping.median)",
    )


def test_a_trial_that_is_as_good_as_the_median_goes_on() -> None:
    assert stopped(*EARLIER, training(3, 3.0, 1.7)) == []


def test_the_base_models_own_loss_is_no_part_of_a_curve() -> None:
    assert stopped(*EARLIER, training(3)) == []


def test_too_few_earlier_trials_judge_nobody() -> None:
    assert stopped(*EARLIER[:2], training(3, 9.0, 9.0)) == []


def test_nobody_is_judged_before_its_first_steps() -> None:
    late = {"median": {"minTrials": 3, "minSteps": 21}}
    assert stopped(*EARLIER, training(3, 9.0, 9.0), earlyStopping=late) == []
    assert stopped(*EARLIER, training(3, 9.0, 9.0, 9.0), earlyStopping=late) == ["s-3"]


def test_without_the_rule_nobody_is_stopped() -> None:
    assert early_stops(a_sweep(), [*EARLIER, training(3, 9.0, 9.0)]) == ()
    assert stopped(*EARLIER, training(3, 9.0, 9.0), earlyStopping={"plateau": {"trials": 3}}) == []


def test_more_is_better_for_a_token_accuracy() -> None:
    spec = {
        "objective": {"metric": "validationTokenAccuracy"},
        "dataset": {"training": {"uri": "https://x/t"}, "validation": {"uri": "https://x/v"}},
    }

    def told(trial: FinetuneTrial, *values: float) -> FinetuneTrial:
        series = curve(*values, metric="validationTokenAccuracy")
        return trial.model_copy(update={"status": trial.status.model_copy(update={"series": series})})

    earlier = [told(each, 0.5, 0.6) for each in EARLIER]
    assert stopped(*earlier, told(training(3), 0.3, 0.4), **spec) == ["s-3"]
    assert stopped(*earlier, told(training(3), 0.6, 0.7), **spec) == []


def test_a_trial_that_is_being_cancelled_or_evaluated_is_left_alone() -> None:
    asked = CancelRequest(reason="x", message="y")
    assert stopped(*EARLIER, training(3, 9.0, 9.0, cancel=asked)) == []
    evaluating = a_trial(3, TrialPhase.EVALUATING, series=curve(9.0, 9.0))
    assert stopped(*EARLIER, evaluating) == []


def test_a_repeat_is_trained_to_its_end() -> None:
    assert stopped(*EARLIER, training(3, 9.0, 9.0, repeat_of=0)) == []


def with_batch(trial: FinetuneTrial, size: object) -> FinetuneTrial:
    values = {**trial.spec.hyperparameters, "batchSize": size}
    return trial.model_copy(update={"spec": trial.spec.model_copy(update={"hyperparameters": values})})


def test_trials_of_unlike_batches_are_compared_after_as_many_examples() -> None:
    # After 20 steps of 8 the trial has seen as much as the others after 10 of 16, where they were no better.
    earlier = [with_batch(each, 16) for each in EARLIER]
    assert stopped(*earlier, with_batch(training(3, 3.0, 2.1), 8)) == []
    assert stopped(*EARLIER, training(3, 3.0, 2.1)) == ["s-3"]


def test_a_repeat_is_trained_to_its_end_since_a_mean_without_the_poor_ones_is_too_good() -> None:
    assert stopped(*EARLIER, training(3, 3.0, 1.9, epochs=1, repeat_of=0)) == []


def test_trials_of_another_base_model_are_no_measure() -> None:
    others = [
        each.model_copy(update={"spec": each.spec.model_copy(update={"base_model": "large"})})
        for each in EARLIER
    ]
    assert stopped(*others, training(3, 9.0, 9.0)) == []


def test_a_stopped_trial_counts_as_a_poor_one_for_the_search() -> None:
    trials = [*EARLIER, a_trial(3, TrialPhase.EARLY_STOPPED), a_trial(4, TrialPhase.CANCELLED)]
    seen = observations(a_sweep(earlyStopping=MEDIAN), trials)
    assert [each.state for each in seen] == ["Finished"] * 4 + ["Failed"]
    assert seen[3].score == pytest.approx(0.5)
    assert [each.state for each in observations(a_sweep(), trials[3:])] == ["Failed", "Failed"]


def test_what_was_stopped_does_not_count_as_failed_and_its_savings_are_shown() -> None:
    stopped_one = a_trial(3, TrialPhase.EARLY_STOPPED, estimated="3.00", cost="1.10")
    unknown = a_trial(4, TrialPhase.EARLY_STOPPED, estimated="3.00")
    sweep = a_sweep(earlyStopping=MEDIAN, limits={"maxFailedTrials": 0})
    status = decide(sweep, [*EARLIER, stopped_one, unknown], Knowledge(), now=NOW).status
    assert status.phase == "Searching"
    assert status.trials.cancelled == 2
    assert status.cost is not None
    assert str(status.cost.saved) == "1.90"


@given(
    st.lists(st.lists(st.floats(0, 10), min_size=1, max_size=5), min_size=3, max_size=6),
    st.lists(st.floats(0, 10), min_size=1, max_size=5),
)
def test_a_trial_better_than_all_earlier_ones_is_never_stopped(
    curves: list[list[float]], own: list[float]
) -> None:
    earlier = [trained(index, *values) for index, values in enumerate(curves)]
    least = min(min(values) for values in curves)
    assert stopped(*earlier, training(9, *[min(value, least) for value in own])) == []
