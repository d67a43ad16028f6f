import numpy as np
import pytest

from finetune_operator.search import Branch, Point, SearchSpace, UniformRange
from finetune_operator.search.encoding import Encoder, Matrix
from finetune_operator.search.gaussian_process import ScoreModel
from finetune_operator.search.trend import Flat, TowardsTheMiddle

SPACE = SearchSpace((Branch("a", ("m",), {"x": UniformRange(0.0, 1.0), "y": UniformRange(0.0, 1.0)}),))
ENCODER = Encoder(SPACE)


def rows(*places: tuple[float, float]) -> Matrix:
    return ENCODER.encode([Point("a", "m", {"x": x, "y": y}) for x, y in places])


def test_ends_of_the_ranges_are_expected_to_be_worse_while_there_are_few_trials() -> None:
    trend = TowardsTheMiddle(ENCODER, 3)
    assert trend.mean(rows((0.5, 0.5), (1.0, 0.5), (0.0, 1.0))).tolist() == pytest.approx([0.0, -1.0, -2.0])


def test_trust_in_the_ranges_falls_with_the_number_of_trials() -> None:
    corner = rows((1.0, 1.0))
    costs = [-TowardsTheMiddle(ENCODER, trials).mean(corner)[0] for trials in (0, 6, 12, 60)]
    assert costs == pytest.approx([2.0, 2.0, 1.0, 0.2])


def test_scores_that_rise_towards_an_end_turn_the_search_there() -> None:
    known = rows((0.1, 0.5), (0.3, 0.4), (0.5, 0.5), (0.6, 0.6))
    scores = np.array([0.1, 0.3, 0.5, 0.6])
    middle_and_end = rows((0.5, 0.5), (0.9, 0.5))

    class Unbending(TowardsTheMiddle):
        features = Flat().features

    open_minded = ScoreModel.fitted(known, scores, trend=TowardsTheMiddle(ENCODER, 4)).predict(
        middle_and_end
    )[0]
    unbending = ScoreModel.fitted(known, scores, trend=Unbending(ENCODER, 4)).predict(middle_and_end)[0]
    assert open_minded[1] > open_minded[0]
    assert open_minded[1] - open_minded[0] > unbending[1] - unbending[0]


def test_columns_of_other_tasks_do_not_change_what_is_expected() -> None:
    trend, own = TowardsTheMiddle(ENCODER, 4), rows((0.2, 0.9))
    wide = np.hstack([own, [[0.5]]])
    assert trend.mean(wide).tolist() == trend.mean(own).tolist()
    assert trend.features(wide).tolist() == trend.features(own).tolist()
