"""Where a search starts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.decisions.builders import NOW, a_sweep, a_trial

from finetune_operator.decisions import CreateTrial, Knowledge, build_space, decide
from finetune_operator.decisions.starting import Defaults, given_points
from finetune_operator.errors import InvalidManifest
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase

TWO: list[dict[str, Any]] = [
    {
        "name": "small",
        "providerRef": {"name": "acme"},
        "baseModels": ["tiny"],
        "parameters": {
            "epochs": {"int": {"min": 1, "max": 20}},
            "batchSize": {"values": ["4", "8", "16"]},
        },
    },
    {
        "name": "other",
        "providerRef": {"name": "acme"},
        "baseModels": ["big-1", "big-2"],
        "parameters": {"learningRate": {"logUniform": {"min": 1e-5, "max": 1e-3}}},
    },
]
DEFAULTS: Defaults = {("small", "tiny"): {"epochs": 3, "batchSize": 32}}


def with_points(*points: dict[str, Any], **changes: Any) -> FinetuneSweep:
    search = {"method": "Bayesian", "seed": 1, "firstPoints": list(points)}
    return a_sweep(candidates=TWO, search=search, **changes)


def launches(
    sweep: FinetuneSweep, trials: list[FinetuneTrial], defaults: Defaults = DEFAULTS
) -> list[CreateTrial]:
    decision = decide(sweep, trials, Knowledge(defaults=defaults), now=NOW)
    return [action for action in decision.actions if isinstance(action, CreateTrial)]


def values(launch: CreateTrial) -> dict[str, Any]:
    return dict(launch.proposal.point.parameters)


def complaints(*points: dict[str, Any]) -> dict[str, str]:
    sweep = with_points(*points)
    with pytest.raises(InvalidManifest) as refused:
        given_points(sweep.spec, build_space(sweep.spec), DEFAULTS)
    return {problem.field: problem.message for problem in refused.value.problems}


def test_given_points_are_tried_first_and_in_their_order() -> None:
    sweep = with_points(
        {"candidate": "small", "parameters": {"epochs": 20, "batchSize": "16"}},
        {"candidate": "other", "baseModel": "big-2", "parameters": {"learningRate": 1e-4}},
        limits={"parallelTrials": 3},
    )
    first, second, third = launches(sweep, [])
    assert [first.proposal.origin, second.proposal.origin] == ["first point", "first point"]
    assert values(first) == {"epochs": 20, "batchSize": 16}
    assert (second.proposal.point.base_model, values(second)) == ("big-2", {"learningRate": 1e-4})
    assert third.proposal.origin == "initial design"


def test_what_a_given_point_leaves_out_is_the_default_of_its_base_model() -> None:
    launch, *_ = launches(with_points({"candidate": "small", "parameters": {"batchSize": 8}}), [])
    assert values(launch) == {"epochs": 3, "batchSize": 8}


def test_a_given_point_is_not_tried_again_though_its_trial_is_gone_and_the_default_is_another() -> None:
    points = {"candidate": "small", "parameters": {"batchSize": 8}}
    sweep = with_points(points, status={"lastIndex": 0})
    launch, *_ = launches(sweep, [], {("small", "tiny"): {"epochs": 7}})
    assert launch.proposal.origin != "first point"


@pytest.mark.parametrize(
    ("point", "path", "says"),
    [
        ({"candidate": "nova"}, "candidate", "'nova' is no candidate; there are small, other"),
        (
            {"candidate": "other"},
            "baseModel",
            "is needed where a candidate has several; other has big-1, big-2",
        ),
        (
            {"candidate": "other", "baseModel": "tiny"},
            "baseModel",
            "'tiny' is no base model of candidate other; it has big-1, big-2",
        ),
        (
            {"candidate": "small", "parameters": {"batchSize": 8, "epochs": 21}},
            "parameters.epochs",
            "21 lies outside the search space; give a whole number from 1 to 20",
        ),
        (
            {"candidate": "small", "parameters": {"batchSize": "12"}},
            "parameters.batchSize",
            "'12' lies outside the search space; give one of 4, 8, 16",
        ),
        (
            {"candidate": "small", "parameters": {"batchSize": 8, "loraRank": 4}},
            "parameters.loraRank",
            "candidate small has batchSize, epochs only",
        ),
        (
            {"candidate": "small"},
            "parameters.batchSize",
            "is left out, and the default of tiny, 32, lies outside the search space; give one of 4, 8, 16",
        ),
        (
            {"candidate": "other", "baseModel": "big-1"},
            "parameters.learningRate",
            "is left out, and no default of big-1 is known; give a number from 1e-05 to 0.001",
        ),
    ],
)
def test_a_given_point_that_is_not_in_the_space_is_refused(
    point: dict[str, Any], path: str, says: str
) -> None:
    good = {"candidate": "small", "parameters": {"batchSize": 4}}
    assert complaints(good, point) == {f"spec.search.firstPoints[1].{path}": says}


def test_a_given_point_that_repeats_another_is_refused() -> None:
    point = {"candidate": "small", "parameters": {"batchSize": "8"}}
    again = {"candidate": "small", "baseModel": "tiny", "parameters": {"batchSize": 8, "epochs": 3.0}}
    assert complaints(point, again) == {
        "spec.search.firstPoints[1]": "is the same point as spec.search.firstPoints[0]; no point is tried twice"
    }


def bayesian(**changes: Any) -> FinetuneSweep:
    return a_sweep(candidates=TWO[:1], search={"method": "Bayesian", "seed": 1}, **changes)


def test_a_bayesian_search_begins_with_what_the_provider_takes_by_default() -> None:
    first, second = launches(bayesian(), [])
    assert first.proposal.origin == "provider default"
    # The default batch size of 32 is not in the space: the centre stands in for it.
    assert values(first) == {"epochs": 3, "batchSize": 8}
    assert second.proposal.origin == "initial design"


def test_without_a_known_default_a_bayesian_search_begins_in_the_centre() -> None:
    first, *_ = launches(bayesian(), [], {})
    assert first.proposal.origin == "initial design"
    assert values(first) == {"epochs": 11, "batchSize": 8}


def test_a_default_that_becomes_known_later_changes_no_later_proposal() -> None:
    candidates = [{**TWO[0], "parameters": {"epochs": {"int": {"min": 1, "max": 20}}}}]
    sweep = a_sweep(candidates=candidates, search={"method": "Bayesian", "seed": 1})
    trials = [a_trial(0, TrialPhase.TRAINING, epochs=5)]
    assert launches(sweep, trials) == launches(sweep, trials, {})


def test_who_did_not_begin_in_the_centre_does_not_go_there_second() -> None:
    first, second = launches(bayesian(), [])
    assert values(first) == {"epochs": 3, "batchSize": 8}
    assert values(second) != {"epochs": 11, "batchSize": 8}


def test_other_methods_do_not_begin_with_a_default() -> None:
    sweep = a_sweep(candidates=TWO[:1], search={"method": "Grid"})
    assert [launch.proposal.origin for launch in launches(sweep, [])] == ["grid", "grid"]
