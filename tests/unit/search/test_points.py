import copy
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.search import Observation, Point
from finetune_operator.search.points import History

POINT = Point("gpt", "mini", {"b": 2, "a": 0.5})


def test_parameters_are_kept_sorted_and_cannot_be_changed() -> None:
    assert list(POINT.parameters) == ["a", "b"]
    assert POINT.parameters == {"a": 0.5, "b": 2}
    assert not hasattr(POINT.parameters, "__setitem__")


def test_later_changes_of_the_given_mapping_do_not_reach_the_point() -> None:
    given_mapping: dict[str, int | float | str] = {"a": 1}
    point = Point("gpt", "mini", given_mapping)
    given_mapping["a"] = 2
    assert point.parameters["a"] == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Point("gpt", "mini", {"a": 0.5, "b": 2}), id="order"),
        pytest.param(Point("gpt", "mini", {"a": 0.5, "b": 2.0}), id="whole float"),
        pytest.param(Point("gpt", "mini", {"a": 0.5 + 1e-14, "b": 2}), id="last bits"),
    ],
)
def test_points_that_mean_the_same_are_equal(other: Point) -> None:
    assert other == POINT
    assert hash(other) == hash(POINT)
    assert other.key == POINT.key


@pytest.mark.parametrize(
    "other",
    [
        Point("gpu", "mini", {"a": 0.5, "b": 2}),
        Point("gpt", "nano", {"a": 0.5, "b": 2}),
        Point("gpt", "mini", {"a": 0.5, "b": "2"}),
        Point("gpt", "mini", {"a": 0.5000001, "b": 2}),
        Point("gpt", "mini", {"a": 0.5}),
        "gpt",
    ],
)
def test_points_that_differ_are_not_equal(other: object) -> None:
    assert other != POINT


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_that_python_calls_equal_make_equal_points(one: float, other: float) -> None:
    same = Point("c", "m", {"x": one}) == Point("c", "m", {"x": other})
    assert same == math.isclose(one, other, rel_tol=1e-13) or math.isclose(one, other, rel_tol=1e-11)


def test_point_can_be_copied_and_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(POINT)) == POINT
    assert copy.deepcopy(POINT) == POINT


@pytest.mark.parametrize(
    ("observation", "score"),
    [
        (Observation(POINT, "Finished", 0.5), 0.5),
        (Observation(POINT, "Finished", 1), 1.0),
        (Observation(POINT, "Finished", math.nan), None),
        (Observation(POINT, "Finished"), None),
        (Observation(POINT, "Pending", 0.5), None),
        (Observation(POINT, "Failed", 0.5), None),
    ],
)
def test_only_a_finished_trial_has_a_score(observation: Observation, score: float | None) -> None:
    assert observation.finite_score == score


def test_trial_that_failed_once_and_then_finished_is_finished() -> None:
    history = History.of([Observation(POINT, "Failed"), Observation(POINT, "Finished", 0.5)], "Maximize")
    assert history.finished == ((POINT, 0.5),)
    assert history.failed == ()
    assert history.length == 2


def test_history_forgets_the_order_in_which_trials_ended() -> None:
    points = [Point("c", "m", {"x": number}) for number in range(4)]
    observations = [
        *(Observation(point, "Finished", 0.1) for point in points),
        Observation(points[0], "Finished", 0.2),
        *(Observation(Point("d", "m", {"x": number}), "Failed") for number in range(2)),
        *(Observation(Point("e", "m", {"x": number}), "Pending") for number in range(2)),
    ]
    assert History.of(observations, "Maximize") == History.of(observations[::-1], "Maximize")


def test_scores_to_minimise_are_turned_round() -> None:
    history = History.of([Observation(POINT, "Finished", 0.5)], "Minimize")
    assert history.finished == ((POINT, -0.5),)
