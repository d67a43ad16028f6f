from collections import Counter
from itertools import islice

from finetune_operator.search import (
    Branch,
    IntRange,
    LogUniformRange,
    Observation,
    SearchSpace,
    Values,
    propose,
)
from finetune_operator.search.initial_design import initial_points

SPACE = SearchSpace(
    (
        Branch(
            "gpt",
            ("mini", "nano"),
            {
                "epochs": IntRange(1, 5),
                "learningRate": LogUniformRange(1e-6, 1e-2),
                "mode": Values(("a", "b")),
            },
        ),
        Branch("nova", ("lite",), {"learningRate": LogUniformRange(1e-6, 1e-4)}),
    )
)


def test_first_trial_is_the_centre() -> None:
    for seed in range(5):
        (proposal,) = propose(SPACE, method="Bayesian", seed=seed, history=[])
        centre = 1e-4 if proposal.point.candidate == "gpt" else 1e-5
        assert proposal.point.parameters["learningRate"] == centre
        assert proposal.point.parameters.get("epochs", 3) == 3


def test_base_models_are_dealt_in_turn() -> None:
    counts = Counter(point.base_model for point in islice(initial_points(SPACE, 3, 9), 9))
    assert counts == {"mini": 3, "nano": 3, "lite": 3}


def test_seed_picks_which_base_model_begins() -> None:
    first = {next(initial_points(SPACE, seed, 1)).base_model for seed in range(20)}
    assert first == {"mini", "nano", "lite"}


def test_ends_of_the_ranges_are_left_out() -> None:
    rates = [
        float(point.parameters["learningRate"])
        for point in initial_points(SPACE, 3, 64)
        if point.candidate == "gpt"
    ]
    assert 10**-5.6 <= min(rates) < 10**-5.2
    assert 10**-2.8 < max(rates) <= 10**-2.4


def test_longer_design_begins_with_the_shorter_one() -> None:
    assert list(islice(initial_points(SPACE, 3, 50), 6)) == list(islice(initial_points(SPACE, 3, 6), 6))


def test_design_has_six_trials_unless_told_otherwise() -> None:
    proposals = propose(SPACE, method="Bayesian", seed=3, history=[], count=8)
    assert [proposal.origin for proposal in proposals] == ["initial design"] * 6 + ["exploration"] * 2
    short = propose(SPACE, method="Bayesian", seed=3, history=[], count=4, initial_trials=2)
    assert [proposal.origin for proposal in short] == ["initial design"] * 2 + ["exploration"] * 2
    assert [proposal.point for proposal in short] == [proposal.point for proposal in proposals[:4]]


def test_trials_that_are_there_already_serve_as_the_design() -> None:
    drawn = propose(SPACE, method="Random", seed=3, history=[], count=6)
    history = [Observation(proposal.point, "Finished", 0.1 * turn) for turn, proposal in enumerate(drawn)]
    (proposal,) = propose(SPACE, method="Bayesian", seed=3, history=history)
    assert proposal.origin == "expected improvement"


def test_absurdly_long_design_is_not_computed_in_advance() -> None:
    assert len(propose(SPACE, method="Bayesian", seed=3, history=[], initial_trials=10**12)) == 1
