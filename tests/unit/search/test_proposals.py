import doctest

import pytest

from finetune_operator.search import Branch, IntRange, InvalidSpace, Point, SearchSpace, proposals, propose

SPACE = SearchSpace((Branch("a", ("m",), {"x": IntRange(1, 3)}),))


def test_example_in_the_documentation_works() -> None:
    outcome = doctest.testmod(proposals)
    assert outcome.attempted > 5
    assert outcome.failed == 0


def test_first_point_outside_the_space_is_refused_with_its_position() -> None:
    points = [Point("a", "m", {"x": 1}), Point("a", "m", {"x": 9})]
    with pytest.raises(InvalidSpace, match=r"firstPoints\[1\]: .*'x': 9.* lies outside"):
        propose(SPACE, method="Random", seed=0, history=[], first_points=points)


def test_no_proposals_wanted_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="count is 0"):
        propose(SPACE, method="Random", seed=0, history=[], count=0)


def test_no_initial_trials_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="initial_trials is 0"):
        propose(SPACE, method="Bayesian", seed=0, history=[], initial_trials=0)
