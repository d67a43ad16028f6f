"""Of thousands of measured steps a hundred are kept: which?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune_providers.base import MetricPoint
from finetune_providers.series import MOST_POINTS, thinned


def measured(count: int, judged: set[int]) -> list[MetricPoint]:
    return [
        MetricPoint(step, {"trainingLoss": 1.0, **({"validationLoss": 1.0} if step in judged else {})})
        for step in range(count)
    ]


@given(st.integers(0, 400), st.sets(st.integers(0, 399)), st.integers(2, MOST_POINTS))
def test_order_ends_and_bound_are_kept(count: int, judged: set[int], most: int) -> None:
    steps = [each.step for each in thinned(measured(count, judged), most)]
    assert len(steps) == min(count, most)
    assert steps == sorted(set(steps))
    assert count == 0 or (steps[0], steps[-1]) == (0, count - 1)


@given(st.integers(0, 400), st.sets(st.integers(0, 399)), st.integers(3, MOST_POINTS))
def test_validation_stays_before_the_training_loss(count: int, judged: set[int], most: int) -> None:
    steps = {each.step for each in thinned(measured(count, judged), most)}
    validated = {step for step in judged if step < count}
    if len(validated | {0, count - 1}) <= most:
        assert validated <= steps
    # The newest of them is what a running job is judged by.
    assert not validated or max(validated) in steps


def test_a_short_series_is_left_as_it_is() -> None:
    points = measured(MOST_POINTS, {3})
    assert thinned(points) == tuple(points)
