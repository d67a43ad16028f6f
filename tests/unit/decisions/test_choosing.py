"""The best of noisy scores: the highest one, or the one that a model expects to be the best."""

from finetune_operator.decisions import Knowledge, best_of, decide
from finetune_operator.resources import TrialPhase
from unit.decisions.builders import NOW, a_sweep, a_trial, look, message

EXPECTED = {"metric": "accuracy", "bestBy": "ExpectedScore"}
# A hill around 10 epochs, and one score beside it that none of its neighbours shares.
HILL = [0.50, 0.52, 0.55, 0.59, 0.64, 0.70, 0.76, 0.81, 0.85, 0.87, 0.86, 0.83, 0.79, 0.73, 0.67, 0.61]
TRIALS = [a_trial(index, score=score) for index, score in enumerate(HILL)]
LUCKY = [*TRIALS[:13], a_trial(13, score=0.875), *TRIALS[14:]]


def test_the_highest_score_wins_unless_told_otherwise() -> None:
    best = best_of(a_sweep(), LUCKY)
    assert best is not None
    assert best.name == "s-13"


def test_a_score_that_its_neighbours_do_not_share_is_taken_for_luck() -> None:
    best = best_of(a_sweep(objective=EXPECTED), LUCKY)
    assert best is not None
    assert best.spec.index in {8, 9, 10}


def test_the_status_names_the_trial_that_is_expected_to_be_best() -> None:
    best = decide(
        a_sweep(objective=EXPECTED, limits={"maxTrials": 20}), LUCKY, Knowledge(), now=NOW
    ).status.best
    assert best is not None
    assert best.trial in {"s-8", "s-9", "s-10"}
    assert best.score == HILL[int(best.trial.removeprefix("s-"))]


def test_means_of_repeats_tell_more_than_a_model() -> None:
    repeat = a_trial(16, score=0.88, epochs=14, repeat_of=13)
    best = best_of(a_sweep(objective=EXPECTED), [*LUCKY, repeat])
    assert best is not None
    assert best.name == "s-16"


def test_what_has_no_score_of_its_own_is_never_the_best() -> None:
    stopped = a_trial(0, TrialPhase.EARLY_STOPPED)
    assert best_of(a_sweep(objective=EXPECTED), [stopped, a_trial(1, TrialPhase.FAILED)]) is None
    best = best_of(a_sweep(objective=EXPECTED), [stopped, a_trial(1, score=0.1)])
    assert best is not None
    assert best.name == "s-1"


def test_a_model_that_was_deleted_is_not_named_when_a_sweep_goes_on() -> None:
    gone = [
        each.model_copy(update={"status": each.status.model_copy(update={"model_deleted": True})})
        for each in LUCKY
    ]
    kept = [*gone[:13], LUCKY[13], *gone[14:]]
    for objective in ({"metric": "accuracy"}, EXPECTED):
        best = best_of(a_sweep(objective=objective), kept)
        assert best is not None
        assert best.name == "s-13"


def test_a_mean_whose_models_were_all_deleted_gives_way_to_one_that_still_has_a_model() -> None:
    deleted = {"model_deleted": True}
    trials = [
        a_trial(0, score=0.9, **deleted),
        a_trial(1, score=0.8),
        a_trial(2, score=0.9, epochs=1, repeat_of=0, **deleted),
        a_trial(3, score=0.7, epochs=2, repeat_of=1, **deleted),
    ]
    best = best_of(a_sweep(), trials)
    assert best is not None
    assert best.name == "s-1"
    status = decide(a_sweep(), trials, Knowledge(), now=NOW).status
    assert status.best is not None
    assert (status.best.trial, status.best.repeats) == ("s-1", 1)


def test_where_every_model_was_deleted_the_best_is_named_all_the_same() -> None:
    best = best_of(
        a_sweep(), [a_trial(0, score=0.1, model_deleted=True), a_trial(1, score=0.2, model_deleted=True)]
    )
    assert best is not None
    assert best.name == "s-1"


def test_a_sweep_says_which_higher_score_it_takes_for_luck() -> None:
    limits = {"maxTrials": len(LUCKY)}
    said = message(look(a_sweep(objective=EXPECTED, limits=limits), LUCKY))
    assert "trial s-13 scored 0.875, but a model of all scores expects more of s-" in said
    assert "(objective.bestBy)" in said
    for sweep, trials in (
        (a_sweep(limits=limits), LUCKY),
        (a_sweep(objective=EXPECTED, limits=limits), TRIALS),
    ):
        assert "bestBy" not in message(look(sweep, trials))


def test_trials_of_earlier_sweeps_have_no_say_in_which_one_is_the_best() -> None:
    points = [
        {"candidate": "small", "baseModel": "tiny", "parameters": {"epochs": 14}, "score": score}
        for score in (0.99, 0.98, 0.97)
    ]
    status = {"warmStart": [{"sweep": "earlier", "sameData": True, "observations": points}]}
    warm, cold = a_sweep(objective=EXPECTED, status=status), a_sweep(objective=EXPECTED)
    assert warm.status.warm_start[0].observations
    assert best_of(warm, LUCKY) == best_of(cold, LUCKY)
