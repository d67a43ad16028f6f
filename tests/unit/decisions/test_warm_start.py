"""What a sweep learns from earlier ones."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decisions.builders import NOW, SPEC, a_sweep, a_trial

from finetune_operator.decisions import CostModel, CreateTrial, Decision, Knowledge, build_space, decide
from finetune_operator.decisions.warm_start import MOST_KEPT, Earlier, best_earlier, learn, prior_of
from finetune_operator.resources import API_VERSION, FinetuneSweep, FinetuneTrial, TrialPhase, parse_resource
from finetune_operator.resources.sweep_status import DatasetHashes, EarlierSweep

DATA = DatasetHashes(training="t1", evaluation="e1")
WANTS = {"sweepRefs": [{"name": "earlier"}]}
WIDE = {"name": "small", "providerRef": {"name": "acme"}, "baseModels": ["tiny"]}
EPOCHS = {"epochs": {"int": {"min": 1, "max": 500}}}


def earlier(
    *trials: FinetuneTrial, name: str = "earlier", data: DatasetHashes = DATA, **spec: Any
) -> Earlier:
    sweep = parse_resource(
        FinetuneSweep,
        {
            "apiVersion": API_VERSION,
            "kind": "FinetuneSweep",
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}"},
            "spec": {**SPEC, **spec},
            "status": {"phase": "Succeeded", "datasets": data.to_dict()},
        },
    )
    return Earlier(sweep, tuple(_owned(trial, sweep) for trial in trials))


def _owned(trial: FinetuneTrial, sweep: FinetuneSweep) -> FinetuneTrial:
    owner = {
        "apiVersion": API_VERSION,
        "kind": "FinetuneSweep",
        "name": sweep.name,
        "uid": sweep.metadata.uid,
    }
    raw = trial.to_dict()
    raw["metadata"]["ownerReferences"] = [owner]
    return parse_resource(FinetuneTrial, raw)


def bought(
    index: int, score: float | None, phase: TrialPhase = TrialPhase.SUCCEEDED, **spec: Any
) -> FinetuneTrial:
    trial = a_trial(index, phase, score)
    return trial.model_copy(update={"spec": trial.spec.model_copy(update=spec)})


def new_sweep(**changes: Any) -> FinetuneSweep:
    return a_sweep(warmStart=WANTS, **changes)


def learnt(*found: Earlier, sweep: FinetuneSweep | None = None) -> tuple[EarlierSweep, ...]:
    sweep = sweep or new_sweep()
    return learn(sweep, build_space(sweep.spec), found, datasets=DATA)


def warmed(sweep: FinetuneSweep, *found: Earlier) -> FinetuneSweep:
    status = sweep.status.model_copy(update={"warm_start": learnt(*found, sweep=sweep)})
    return sweep.model_copy(update={"status": status})


def look(sweep: FinetuneSweep, *trials: FinetuneTrial) -> Decision:
    return decide(sweep, trials, Knowledge(), now=NOW)


def origins(decision: Decision) -> list[tuple[str, Any]]:
    launches = [action.proposal for action in decision.actions if isinstance(action, CreateTrial)]
    return [(each.origin, each.point.parameters["epochs"]) for each in launches]


def test_succeeded_trials_are_kept_the_best_first_with_the_earlier_sweeps_identity() -> None:
    failed = bought(2, None, TrialPhase.FAILED)
    (entry,) = learnt(earlier(bought(0, 0.5), bought(1, 0.75), failed))
    assert (entry.sweep, entry.uid, entry.same_data) == ("earlier", "uid-of-earlier", True)
    assert [(seen.parameters, seen.score) for seen in entry.observations] == [
        ({"epochs": 2}, 0.75),
        ({"epochs": 1}, 0.5),
    ]


def test_of_a_loss_the_lowest_is_the_best() -> None:
    loss = {
        "objective": {"metric": "validationLoss"},
        "dataset": {**SPEC["dataset"], "validation": {"uri": "https://x/v"}},
    }
    sweep = new_sweep(**loss)
    (entry,) = learnt(earlier(bought(0, 0.5), bought(1, 0.75), **loss), sweep=sweep)
    assert [seen.score for seen in entry.observations] == [0.5, 0.75]


def test_a_parameter_that_the_new_space_does_not_have_is_left_out() -> None:
    trial = bought(0, 0.5, hyperparameters={"epochs": 4, "loraRank": 8})
    (entry,) = learnt(earlier(trial))
    assert [seen.parameters for seen in entry.observations] == [{"epochs": 4}]


def test_trials_outside_the_new_space_are_not_used() -> None:
    strangers = [
        bought(0, 0.5, hyperparameters={"epochs": 21}),
        bought(1, 0.5, hyperparameters={"loraRank": 8}),
        bought(2, 0.5, base_model="huge"),
    ]
    (entry,) = learnt(earlier(*strangers))
    assert entry.observations == ()


def test_a_value_is_read_as_the_new_space_writes_it() -> None:
    sizes = [{**WIDE, "parameters": {"epochs": {"values": ["2", "4"]}}}]
    sweep = new_sweep(candidates=sizes)
    trials = [
        bought(0, 0.5, hyperparameters={"epochs": "4"}),
        bought(1, 0.7, hyperparameters={"epochs": 2.0}),
    ]
    (entry,) = learnt(earlier(*trials), sweep=sweep)
    assert [seen.parameters["epochs"] for seen in entry.observations] == [2, 4]


def test_a_base_model_is_looked_for_at_its_own_provider_first() -> None:
    parameters = {"epochs": {"int": {"min": 1, "max": 20}}}
    candidates = [
        {"name": "a", "providerRef": {"name": "elsewhere"}, "baseModels": ["tiny"], "parameters": parameters},
        {"name": "b", "providerRef": {"name": "acme"}, "baseModels": ["tiny"], "parameters": parameters},
    ]
    (entry,) = learnt(earlier(bought(0, 0.5)), sweep=new_sweep(candidates=candidates))
    assert [seen.candidate for seen in entry.observations] == ["b"]
    (entry,) = learnt(earlier(bought(0, 0.5)), sweep=new_sweep(candidates=candidates[:1]))
    assert [seen.candidate for seen in entry.observations] == ["a"]


def test_repeats_of_a_point_count_as_their_mean() -> None:
    (entry,) = learnt(earlier(bought(0, 0.5), bought(1, 0.7, hyperparameters={"epochs": 1})))
    assert [seen.score for seen in entry.observations] == [0.6]


def test_scores_are_comparable_only_with_the_same_data_and_metric() -> None:
    other_training = DatasetHashes(training="t2", evaluation="e1")
    other_evaluation = DatasetHashes(training="t1", evaluation="e2")
    for data in (other_training, other_evaluation):
        assert [each.same_data for each in learnt(earlier(bought(0, 0.5), data=data))] == [False]
    other_metric = earlier(bought(0, 0.5), objective={"metric": "macroF1"})
    assert [each.same_data for each in learnt(other_metric)] == [False]
    fewer = {
        "training": {"uri": "https://x/t.jsonl"},
        "evaluation": {"uri": "https://x/e.jsonl", "maxExamples": 7},
    }
    assert [each.same_data for each in learnt(earlier(bought(0, 0.5), dataset=fewer))] == [False]


def test_scores_are_comparable_only_where_the_same_examples_were_answered_at_the_same_length() -> None:
    assert SPEC["search"]["seed"] != 2  # which examples are drawn follows from the seed
    longer = {**SPEC["dataset"], "evaluation": {**SPEC["dataset"]["evaluation"], "maxOutputTokens": 512}}
    for other in ({"search": {"method": "Random", "seed": 2}}, {"dataset": longer}):
        assert [each.same_data for each in learnt(earlier(bought(0, 0.5), **other))] == [False]
    assert [
        each.same_data for each in learnt(earlier(bought(0, 0.5), search={"seed": 1, "method": "Grid"}))
    ] == [True]


def test_a_loss_that_the_trainer_reports_is_comparable_whatever_the_seed() -> None:
    loss: dict[str, Any] = {
        "objective": {"metric": "validationLoss"},
        "dataset": {**SPEC["dataset"], "validation": {"uri": "https://x/v"}},
    }
    other = earlier(bought(0, 0.5), search={"method": "Random", "seed": 2}, **loss)
    assert [each.same_data for each in learnt(other, sweep=new_sweep(**loss))] == [True]


def test_where_less_was_better_there_and_more_is_here_scores_are_turned_round() -> None:
    loss = {
        "objective": {"metric": "validationLoss"},
        "dataset": {**SPEC["dataset"], "validation": {"uri": "https://x/v"}},
    }
    (entry,) = learnt(earlier(bought(0, 0.5), bought(1, 0.25), **loss))
    assert [(seen.parameters["epochs"], seen.score) for seen in entry.observations] == [(2, -0.25), (1, -0.5)]


@settings(max_examples=12, deadline=None)
@given(st.sampled_from((0, 1, 12, 61, 120)), st.integers(1, 5))
def test_what_is_kept_of_any_number_of_trials_is_bounded_and_has_the_best(trials: int, sweeps: int) -> None:
    sweep = new_sweep(candidates=[{**WIDE, "parameters": EPOCHS}])
    found = [
        earlier(*(bought(index, index / 1000) for index in range(trials)), name=f"earlier-{number}")
        for number in range(sweeps)
    ]
    entries = learnt(*found, sweep=sweep)
    assert sum(len(each.observations) for each in entries) <= MOST_KEPT
    assert sum(len(each.model_dump_json(by_alias=True)) for each in entries) < 8_000
    for each in entries:
        scores = [seen.score for seen in each.observations]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == len(scores)
        if trials:
            assert scores[0] == (trials - 1) / 1000
        if trials > 100:
            assert scores[-1] < 0.05


def test_the_order_of_earlier_sweeps_means_nothing() -> None:
    one, two = earlier(bought(0, 0.5), name="one"), earlier(bought(1, 0.6), name="two")
    assert learnt(one, two) == learnt(two, one)


def test_the_status_of_a_thousand_trials_with_all_that_was_learnt_is_small() -> None:
    sweep = new_sweep(candidates=[{**WIDE, "parameters": EPOCHS}], limits={"maxTrials": 1000})
    known = earlier(*(bought(index, index / 1000) for index in range(400)))
    trials = [a_trial(index, score=index / 1000, epochs=1) for index in range(1000)]
    decision = look(warmed(sweep, known), *trials)
    assert decision.status.warm_start
    assert len(decision.status.model_dump_json(by_alias=True)) < 20_000


KNOWN = [bought(index, 0.5 + index / 100) for index in range(8)]


def test_the_best_points_of_the_same_data_are_tried_first() -> None:
    sweep = warmed(new_sweep(limits={"maxTrials": 12, "parallelTrials": 4}), earlier(*KNOWN))
    shown = origins(look(sweep))
    assert shown[:3] == [("warm start", 8), ("warm start", 7), ("warm start", 6)]
    assert shown[3][0] == "random"


def test_of_other_data_the_best_point_alone_is_tried_first() -> None:
    data = DatasetHashes(training="t2", evaluation="e1")
    sweep = warmed(new_sweep(limits={"maxTrials": 12, "parallelTrials": 2}), earlier(*KNOWN, data=data))
    assert [origin for origin, _ in origins(look(sweep))] == ["warm start", "random"]


def test_points_of_earlier_sweeps_take_a_quarter_of_the_trials_at_most() -> None:
    for trials, points in ((1, 1), (7, 1), (8, 2), (12, 3), (100, 3)):
        sweep = warmed(new_sweep(limits={"maxTrials": trials}), earlier(*KNOWN))
        assert len(best_earlier(sweep, CostModel())) == points


def test_a_given_point_goes_before_those_of_earlier_sweeps_and_is_not_repeated() -> None:
    first = [{"candidate": "small", "parameters": {"epochs": 8}}]
    sweep = new_sweep(
        search={"method": "Random", "seed": 1, "firstPoints": first},
        limits={"maxTrials": 12, "parallelTrials": 3},
    )
    assert origins(look(warmed(sweep, earlier(*KNOWN)))) == [
        ("first point", 8),
        ("warm start", 7),
        ("warm start", 6),
    ]


def test_a_search_that_knows_the_same_data_does_not_spread_its_trials_first() -> None:
    search = {"method": "Bayesian", "seed": 1}
    sweep = warmed(new_sweep(search=search, limits={"maxTrials": 4}), earlier(*KNOWN))
    warm = origins(look(sweep, a_trial(0, score=0.57, epochs=8)))
    cold = origins(look(a_sweep(search=search), a_trial(0, score=0.57, epochs=8)))
    assert {origin for origin, _ in cold} == {"initial design"}
    assert "initial design" not in {origin for origin, _ in warm}


def test_scores_of_other_data_are_kept_apart_in_what_the_search_knows() -> None:
    other = earlier(bought(0, 0.5), name="other", data=DatasetHashes(training="t2"))
    sweep = warmed(new_sweep(), earlier(bought(1, 0.7)), other)
    assert [(seen.task, seen.score) for seen in prior_of(sweep, CostModel())] == [("", 0.7), ("other", 0.5)]


def message(decision: Decision) -> str:
    condition = decision.status.condition("Ready")
    assert condition is not None
    return condition.message


def test_the_message_says_what_was_learnt_and_from_whom() -> None:
    assert "; 8 trials of earlier were learnt from" in message(look(warmed(new_sweep(), earlier(*KNOWN))))
    cold = message(look(warmed(new_sweep(), earlier())))
    assert "it started cold: no succeeded trial of earlier lies in its search space" in cold
    assert "learnt" not in message(look(a_sweep()))


def test_what_was_learnt_stays_in_the_status() -> None:
    sweep = warmed(new_sweep(), earlier(*KNOWN))
    assert look(sweep).status.warm_start == sweep.status.warm_start
