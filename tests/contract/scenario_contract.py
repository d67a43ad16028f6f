"""What a person sees of a sweep, whatever store it lives in.

A subclass gives the fixture `world`, a `World` over its store; every test here then runs against it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol

import pytest
from tests.contract.patience import PATIENCE_S
from tests.fakes.company import CAPABILITIES, Company

from finetune_operator.decisions import CreateTrial, Knowledge, decide
from finetune_operator.lifecycle.engine import utc_now
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, TrialPhase
from finetune_providers.base import JobRequest
from finetune_providers.errors import AmbiguousProviderError, PermanentProviderError, QuotaExceeded

Manifest = dict[str, Any]


class World(Protocol):
    """A store with an engine that can be stopped, and a company that goes on without it."""

    company: Company

    async def apply(self, *manifests: Manifest) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def crash(self) -> None: ...
    async def sweep(self) -> FinetuneSweep: ...
    async def trials(self) -> tuple[FinetuneTrial, ...]: ...
    async def delete_trial(self, name: str) -> None: ...
    async def annotate_trial(self, name: str, value: str) -> None: ...
    async def output(self) -> Mapping[str, str]: ...
    async def event_reasons(self) -> list[str]: ...


def dataset(size: int = 8) -> str:
    lines = [
        {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": str(n)}]}
        for n in range(size)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


DATA: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "data"},
    "data": {"train.jsonl": dataset(), "bad.jsonl": '{"messages": []}\n'},
}
PROVIDER: Manifest = {
    "apiVersion": "finetune-operator.dev/v1alpha1",
    "kind": "FinetuneProvider",
    "metadata": {"name": "acme"},
    "spec": {"type": "Acme", "prices": [{"trainingPerMillionTokens": "1000.00"}]},
}
SOURCE = {"configMapRef": {"name": "data", "key": "train.jsonl"}}
SWEEP: Manifest = {
    "apiVersion": "finetune-operator.dev/v1alpha1",
    "kind": "FinetuneSweep",
    "metadata": {"name": "intents"},
    "spec": {
        "objective": {"metric": "accuracy"},
        "dataset": {"training": SOURCE, "evaluation": SOURCE},
        "candidates": [
            {
                "name": "small",
                "providerRef": {"name": "acme"},
                "baseModels": ["tiny-1", "tiny-2"],
                "parameters": {
                    "epochs": {"int": {"min": 1, "max": 4}},
                    "learningRate": {"logUniform": {"min": 1e-5, "max": 1e-2}},
                },
            }
        ],
        "search": {"method": "Random", "seed": 3},
        "limits": {"maxTrials": 4, "parallelTrials": 2},
    },
}
GRID = {
    "name": "small",
    "providerRef": {"name": "acme"},
    "baseModels": ["tiny-1"],
    "parameters": {"epochs": {"values": ["1", "2", "3"]}},
}


def sweep_with(**changes: Any) -> Manifest:
    """The sweep with other values at dotted paths below spec, written with double underscores."""
    manifest = deepcopy(SWEEP)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = manifest["spec"]
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = deepcopy(value)
    return manifest


async def until(
    world: World, what: Callable[[FinetuneSweep, tuple[FinetuneTrial, ...]], bool]
) -> FinetuneSweep:
    """Wait until the sweep and its trials are as wanted; says how they are when they do not become so."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        sweep, trials = await world.sweep(), await world.trials()
        if what(sweep, trials):
            return sweep
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.02)
    states = [(trial.name, str(trial.phase), trial.status.message) for trial in trials]
    pytest.fail(f"not reached; sweep: {sweep.status.to_dict()}; trials: {states}")


async def until_finished(world: World) -> FinetuneSweep:
    return await until(world, lambda sweep, _: sweep.status.finished)


async def until_let_go(world: World) -> FinetuneSweep:
    """Wait for the end of a sweep and of all that is done then: events are told once its status is written."""
    return await until(world, lambda sweep, _: sweep.status.finished and not sweep.has_finalizer)


async def until_finished_anew(world: World) -> FinetuneSweep:
    """Wait for the end of a finished sweep whose spec was changed: as `kubectl wait` and GitOps tools do."""
    return await until(
        world,
        lambda sweep, _: (
            sweep.status.finished and sweep.status.observed_generation == sweep.metadata.generation
        ),
    )


def ready(sweep: FinetuneSweep) -> tuple[str, str, str]:
    condition = sweep.status.condition("Ready")
    assert condition is not None
    return condition.status, condition.reason, condition.message


def by_rate(request: Any) -> float:
    return 1.0 if 1e-4 <= request.hyperparameters["learningRate"] <= 1e-3 else 0.5


class ScenarioContract:
    """Sweeps from end to end."""

    async def test_a_sweep_names_its_best_trial_and_what_the_base_model_scores(self, world: World) -> None:
        world.company.quality = lambda request: request.hyperparameters["epochs"] / 8 + 0.25
        await world.apply(DATA, PROVIDER, sweep_with(candidates=[GRID], search={"method": "Grid"}))
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.phase == "Succeeded"
        best = sweep.status.best
        assert best is not None
        assert (best.hyperparameters, best.score, best.base_score) == ({"epochs": 3}, 0.625, 0.25)
        assert best.fine_tuned_model == f"ft:tiny-1:{_job_of(await world.trials(), best.trial)}"
        assert sweep.status.best_score == "0.625"
        assert sweep.status.trials.succeeded == sweep.status.trials.done == 3
        assert ready(sweep)[:2] == ("True", "SearchSpaceExhausted")
        assert sweep.status.condition("Reconciling") is None

    @pytest.mark.parametrize("method", ["Random", "Bayesian"])
    async def test_every_method_runs_to_its_limit_without_a_repeated_point(
        self, world: World, method: str
    ) -> None:
        world.company.quality = by_rate
        await world.apply(DATA, PROVIDER, sweep_with(search__method=method, limits__maxTrials=8))
        await world.start()
        sweep = await until_finished(world)
        trials = await world.trials()
        assert ready(sweep)[:2] == ("True", "TrialsCompleted")
        points = {(t.spec.base_model, json.dumps(t.spec.hyperparameters, sort_keys=True)) for t in trials}
        assert len(trials) == len(points) == len(world.company.purchases) == 8

    async def test_a_job_that_trains_worse_than_the_median_is_cancelled_and_the_saving_shown(
        self, world: World
    ) -> None:
        company = world.company
        company.capabilities = replace(CAPABILITIES, live_metrics=frozenset({"validationLoss"}))
        company.polls = 6
        # The first three learn; the fourth does not, and would go on for long.
        company.losses = lambda request: (
            (2.0, *[9.0] * 500) if company.purchases.index(request) == 3 else (2.0, 1.5, 1.2, 1.0)
        )
        company.on_submit = lambda: setattr(company, "polls", 6 if len(company.purchases) < 3 else 500)
        manifest = sweep_with(
            candidates=[{**GRID, "parameters": {"epochs": {"int": {"min": 1, "max": 9}}}}],
            dataset__validation=SOURCE,
            earlyStopping={"median": {"minTrials": 3, "minSteps": 20}},
            limits={"maxTrials": 4, "parallelTrials": 1},
        )
        await world.apply(DATA, PROVIDER, manifest)
        await world.start()
        sweep = await until_finished(world)
        last = (await world.trials())[3]
        assert (last.phase, last.status.reason) == (TrialPhase.EARLY_STOPPED, "WorseThanMedian")
        assert "(earlyStopping.median)" in (last.status.message or "")
        assert set(company.cancelled) == {"job-4"}
        assert (sweep.status.phase, sweep.status.trials.failed) == ("Succeeded", 0)
        assert sweep.status.cost is not None
        assert last.spec.estimated_cost is not None
        assert last.status.cost is not None
        assert sweep.status.cost.saved == last.spec.estimated_cost - last.status.cost > 0

    async def test_median_stopping_is_refused_where_a_provider_tells_nothing_of_running_jobs(
        self, world: World
    ) -> None:
        await world.apply(DATA, PROVIDER, sweep_with(earlyStopping={"median": {}}))
        await world.start()
        sweep = await until(world, lambda sweep, _: sweep.status.condition("Stalled") is not None)
        accepted = sweep.status.condition("Accepted")
        assert accepted is not None
        assert accepted.message == (
            "spec.earlyStopping.median: provider acme tells no metrics of a job while it runs: leave median out, "
            "or the candidate"
        )
        assert world.company.purchases == []

    async def test_the_best_trials_are_trained_again_before_the_best_is_named(self, world: World) -> None:
        scores = {1: [0.5], 2: [1.0, 0.5, 0.25], 3: [0.875, 0.875, 0.75]}
        company = world.company

        def quality(request: JobRequest) -> float:
            same = [each for each in company.purchases if each.hyperparameters == request.hyperparameters]
            return scores[int(request.hyperparameters["epochs"])][same.index(request)]

        company.quality = quality
        manifest = sweep_with(
            candidates=[GRID],
            search={"method": "Grid"},
            confirm={"top": 2, "repeats": 2},
            limits={"maxTrials": 7, "parallelTrials": 2},
        )
        await world.apply(DATA, PROVIDER, manifest)
        await world.start()
        sweep = await until_finished(world)
        best = sweep.status.best
        assert best is not None
        assert (best.hyperparameters, best.score, best.repeats) == ({"epochs": 3}, 0.875, 2)
        assert best.mean_score == pytest.approx(2.5 / 3)
        repeats = [trial for trial in await world.trials() if trial.spec.repeat_of is not None]
        assert [trial.spec.origin for trial in repeats] == ["confirmation"] * 4
        assert len({trial.spec.seed for trial in repeats}) == 4
        assert len(company.purchases) == 7

    async def test_finished_trials_and_sweeps_keep_no_finalizer(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until_finished(world)
        await until(
            world, lambda sweep, trials: not sweep.has_finalizer and not any(t.has_finalizer for t in trials)
        )

    async def test_models_that_answer_only_from_machines_leave_none_behind(self, world: World) -> None:
        world.company.capabilities = replace(CAPABILITIES, needs_deployment=True)
        world.company.deploy_looks = 2
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.trials.succeeded == 4
        for trial in await world.trials():
            serving = trial.status.serving
            assert serving is not None
            assert (serving.state, serving.name) == ("Deleted", f"{trial.spec.run_key}-serve")
            assert serving.active_at is not None
            assert serving.deleted_at is not None
        assert len(set(world.company.deployed)) == 4
        assert world.company.deployments == {}

    async def test_an_operator_that_dies_while_models_are_deployed_finds_each_of_them_again(
        self, world: World
    ) -> None:
        world.company.capabilities = replace(CAPABILITIES, needs_deployment=True)
        world.company.deploy_looks = 10_000
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until(world, lambda *_: len(world.company.deployments) == 2)
        await world.crash()
        world.company.deploy_looks = 0
        await world.start()
        await until_finished(world)
        assert len(set(world.company.deployed)) == 4
        assert world.company.deployments == {}

    async def test_what_was_uploaded_is_deleted_at_the_end(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until_let_go(world)
        assert world.company.purchases
        assert world.company.files == {}

    async def test_data_is_kept_where_the_sweep_says_so(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, sweep_with(keepData=True))
        await world.start()
        await until_let_go(world)
        assert len(world.company.files) == 1

    async def test_an_account_s_limit_holds_below_the_sweep_s(self, world: World) -> None:
        world.company.hold = True
        limited = {**PROVIDER, "spec": {**PROVIDER["spec"], "maxConcurrentJobs": 1}}
        await world.apply(DATA, limited, sweep_with(limits__parallelTrials=3))
        await world.start()
        await until(
            world,
            lambda _, trials: (
                [t.status.reason for t in trials].count("WaitingForSlot") == 2
                and any(t.phase is TrialPhase.TRAINING for t in trials)
            ),
        )
        assert len(world.company.purchases) == 1
        world.company.hold = False
        sweep = await until_finished(world)
        assert sweep.status.trials.succeeded == 4

    async def test_no_more_trials_go_on_than_the_limit_allows(self, world: World) -> None:
        world.company.hold = True
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until(world, lambda _, trials: sum(t.phase is TrialPhase.TRAINING for t in trials) == 2)
        await asyncio.sleep(0.1)
        assert len(world.company.purchases) == 2
        world.company.hold = False
        await until_finished(world)
        assert len(world.company.purchases) == 4

    async def test_a_reached_goal_ends_the_sweep_and_cancels_what_still_trains(self, world: World) -> None:
        world.company.quality = lambda _: 1.0
        await world.apply(DATA, PROVIDER, sweep_with(objective__goal=0.9, limits__maxTrials=50))
        world.company.polls = 3
        await world.start()
        sweep = await until_let_go(world)
        assert ready(sweep)[:2] == ("True", "GoalReached")
        assert len(await world.trials()) < 6
        for trial in await world.trials():
            assert trial.phase in {TrialPhase.SUCCEEDED, TrialPhase.CANCELLED}
        cancelled = [trial.name for trial in await world.trials() if trial.phase is TrialPhase.CANCELLED]
        assert all(name in ready(sweep)[2] for name in cancelled)
        # The sweep says it once; that a trial succeeded is told where an event costs no request.
        succeeded = len(await world.trials()) - len(cancelled)
        assert (await world.event_reasons()).count("Succeeded") in {1, 1 + succeeded}

    async def test_failed_trials_are_counted_and_end_the_sweep(self, world: World) -> None:
        world.company.fails = lambda _: "loss is not finite"
        await world.apply(DATA, PROVIDER, sweep_with(limits__maxTrials=20, limits__maxFailedTrials=2))
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.phase == "Failed"
        assert ready(sweep)[:2] == ("False", "TooManyFailures")
        assert "loss is not finite" in ready(sweep)[2]
        assert sweep.status.condition("Stalled") is not None
        assert 3 <= sweep.status.trials.failed <= 4

    async def test_one_failed_trial_does_not_end_the_sweep(self, world: World) -> None:
        world.company.fails = lambda request: (
            "bad luck" if request.key == world.company.purchases[0].key else None
        )
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        sweep = await until_finished(world)
        assert (sweep.status.trials.succeeded, sweep.status.trials.failed) == (3, 1)
        assert sweep.status.phase == "Succeeded"

    async def test_a_metric_that_is_not_a_number_fails_the_trial(self, world: World) -> None:
        first = world.company.purchases
        world.company.losses = lambda request: (2.0, float("nan") if request.key == first[0].key else 1.0)
        await world.apply(DATA, PROVIDER, _reported())
        await world.start()
        sweep = await until_finished(world)
        assert (sweep.status.trials.succeeded, sweep.status.trials.failed) == (3, 1)
        failed = [trial for trial in await world.trials() if trial.phase is TrialPhase.FAILED]
        assert failed[0].status.reason == "MetricUnusable"
        assert sweep.status.best is not None
        assert sweep.status.best.score == 1.0

    async def test_a_model_that_diverged_is_not_scored_by_what_it_was_before(self, world: World) -> None:
        first = world.company.purchases
        world.company.losses = lambda request: (
            (2.0, 0.1, float("nan")) if request.key == first[0].key else (2.0, 1.5, 1.0)
        )
        await world.apply(DATA, PROVIDER, _reported())
        await world.start()
        sweep = await until_finished(world)
        assert (sweep.status.trials.succeeded, sweep.status.trials.failed) == (3, 1)
        assert sweep.status.best is not None
        assert sweep.status.best.score == 1.0

    async def test_a_reported_metric_is_minimised_and_its_start_is_the_base_score(self, world: World) -> None:
        world.company.losses = lambda request: (2.0, 1.0 / request.hyperparameters["epochs"])
        await world.apply(DATA, PROVIDER, _reported(candidates=[GRID], search={"method": "Grid"}))
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.best is not None
        assert sweep.status.best.hyperparameters == {"epochs": 3}
        assert sweep.status.best.base_score == 2.0

    async def test_a_model_that_cannot_answer_fails_its_trial_with_the_reason(self, world: World) -> None:
        world.company.inference_fault = PermanentProviderError("the model was withdrawn")
        await world.apply(DATA, PROVIDER, sweep_with(limits__maxFailedTrials=0))
        await world.start()
        sweep = await until_finished(world)
        assert ready(sweep)[1] == "TooManyFailures"
        assert "the model was withdrawn" in ready(sweep)[2]

    async def test_a_suspended_sweep_launches_nothing_until_it_is_resumed(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, sweep_with(suspend=True))
        await world.start()
        sweep = await until(world, lambda sweep, _: sweep.status.phase == "Suspended")
        assert ready(sweep)[1] == "Suspended"
        assert not world.company.purchases
        await world.apply(DATA, PROVIDER, sweep_with(suspend=False))
        sweep = await until_finished(world)
        assert len(world.company.purchases) == 4

    async def test_a_raised_limit_wakes_a_finished_sweep(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until_finished(world)
        await world.apply(DATA, PROVIDER, sweep_with(limits__maxTrials=6))
        # What its status says of the smaller limit stands until the first trials of the larger one are created.
        await until_finished_anew(world)
        assert len(world.company.purchases) == 6

    async def test_a_budget_is_kept(self, world: World) -> None:
        # 8 examples are some 100 tokens; at 1000.00 USD a million, a point of 1 epoch costs about 0.10 USD.
        grid = deepcopy(GRID)
        grid["parameters"]["epochs"] = {"values": ["10", "11", "12", "13"]}
        budget = {"maxCost": "3.00", "currency": "USD"}
        await world.apply(
            DATA, PROVIDER, sweep_with(candidates=[grid], search={"method": "Grid"}, limits__budget=budget)
        )
        world.company.hold = True
        await world.start()
        await until(world, lambda _, trials: any(t.phase is TrialPhase.TRAINING for t in trials))
        reserved = sum(t.spec.estimated_cost or 0 for t in await world.trials())
        assert 0 < reserved <= 3
        world.company.hold = False
        sweep = await until_finished(world)
        assert ready(sweep)[:2] == ("True", "BudgetExhausted")
        assert len(world.company.purchases) < 4
        assert sweep.status.cost is not None
        assert sweep.status.spent == f"{sweep.status.cost.spent:f} USD"

    async def test_models_that_are_not_the_best_are_deleted_when_asked(self, world: World) -> None:
        world.company.quality = lambda request: request.hyperparameters["epochs"] / 8
        await world.apply(
            DATA, PROVIDER, sweep_with(candidates=[GRID], search={"method": "Grid"}, keepModels="Best")
        )
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.best is not None
        assert len(world.company.deleted_models) == 2
        assert sweep.status.best.fine_tuned_model not in world.company.deleted_models

    async def test_the_output_holds_what_applications_read(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, sweep_with(output={"configMap": "intents-model"}))
        await world.start()
        sweep = await until_finished(world)
        output = await world.output()
        assert sweep.status.best is not None
        assert output["model"] == sweep.status.best.fine_tuned_model
        assert (output["provider"], output["metric"], output["score"]) == ("acme", "accuracy", "0.75")

    async def test_the_story_is_told_in_events(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until_let_go(world)
        reasons = await world.event_reasons()
        assert {"TrialLaunched", "NewBest", "Succeeded"} <= set(reasons)
        # Its conditions say that it was accepted and that all were launched, and the launches tell.
        assert not {"Accepted", "TrialsCompleted"} & set(reasons)
        assert reasons.count("TrialLaunched") == 2  # the first, and the rest together


class RestartContract:
    """The engine dies and another goes on."""

    async def test_other_data_is_refused_before_scores_are_mixed(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until_finished(world)
        await world.stop()
        other = {**DATA, "data": {"train.jsonl": dataset(9)}}
        await world.apply(other, PROVIDER, sweep_with(limits__maxTrials=6))
        await world.start()
        sweep = await until(world, lambda sweep, _: _refused(sweep))
        accepted = sweep.status.condition("Accepted")
        assert accepted is not None
        assert "spec.dataset.training: its content has changed" in accepted.message
        assert len(world.company.purchases) == 4

    async def test_a_crash_in_mid_training_buys_nothing_twice(self, world: World) -> None:
        world.company.hold = True
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until(world, lambda _, trials: sum(t.phase is TrialPhase.TRAINING for t in trials) == 2)
        await world.crash()
        world.company.hold = False
        await world.start()
        await until_finished(world)
        assert len(world.company.purchases) == 4
        assert len({request.key for request in world.company.purchases}) == 4

    async def test_a_restart_proposes_the_same_next_points(self, world: World) -> None:
        manifest = sweep_with(limits={"maxTrials": 6, "parallelTrials": 1}, search__method="Bayesian")
        world.company.quality = by_rate
        await world.apply(DATA, PROVIDER, manifest)
        await world.start()
        await until(world, lambda _, trials: sum(t.terminal for t in trials) >= 3)
        await world.crash()
        await world.start()
        await until_finished(world)
        points = [(t.spec.base_model, dict(t.spec.hyperparameters)) for t in await world.trials()]
        sweep, trials = await world.sweep(), await world.trials()
        for number in range(6):
            fresh = sweep.model_copy(update={"status": sweep.status.model_copy(update={"last_index": -1})})
            decision = decide(fresh, trials[:number], Knowledge(), now=utc_now())
            point = next(each.proposal.point for each in decision.actions if isinstance(each, CreateTrial))
            assert (point.base_model, dict(point.parameters)) == points[number]

    async def test_a_finished_sweep_costs_nothing_after_a_restart(self, world: World) -> None:
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        before = await until_let_go(world)
        await world.stop()
        observed = world.company.observed
        await world.start()
        await asyncio.sleep(0.3)
        after = await world.sweep()
        assert after.metadata.resource_version == before.metadata.resource_version
        assert world.company.observed == observed
        assert len(world.company.purchases) == 4


class PurchaseContract:
    """Create calls whose outcome is in doubt."""

    async def test_an_answer_that_got_lost_is_found_by_its_key_and_adopted(self, world: World) -> None:
        world.company.after = [AmbiguousProviderError("time-out after 60 s")]
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until_finished(world)
        assert len(world.company.purchases) == 4

    async def test_where_nothing_can_decide_the_trial_stalls_until_a_person_answers(
        self, world: World
    ) -> None:
        world.company.before = [AmbiguousProviderError("connection reset")]
        await world.apply(DATA, PROVIDER, sweep_with(limits={"maxTrials": 1}))
        await world.start()
        sweep = await until(world, lambda sweep, _: sweep.status.condition("Stalled") is not None)
        assert ready(sweep)[1] == "TrialStalled"
        (trial,) = await world.trials()
        assert trial.phase is TrialPhase.STALLED
        assert 'resolve-create="1 adopt=<job id>"' in str(trial.status.message)
        assert not world.company.purchases
        await world.annotate_trial(trial.name, "1 retry")
        sweep = await until_finished(world)
        assert sweep.status.phase == "Succeeded"
        assert len(world.company.purchases) == 1

    async def test_an_answer_for_another_attempt_is_not_taken(self, world: World) -> None:
        world.company.before = [AmbiguousProviderError("connection reset")]
        await world.apply(DATA, PROVIDER, sweep_with(limits={"maxTrials": 1}))
        await world.start()
        await until(world, lambda _, trials: bool(trials) and trials[0].phase is TrialPhase.STALLED)
        await world.annotate_trial("intents-0", "2 retry")
        await asyncio.sleep(0.2)
        assert not world.company.purchases
        await world.annotate_trial("intents-0", "1 abandon")
        sweep = await until_finished(world)
        assert sweep.status.phase == "Failed"
        assert not world.company.purchases

    async def test_an_empty_list_past_the_window_proves_that_nothing_was_bought(self, world: World) -> None:
        world.company.capabilities = replace(world.company.capabilities, lookup_window_s=0.0)
        world.company.before = [AmbiguousProviderError("connection reset")]
        await world.apply(DATA, PROVIDER, sweep_with(limits={"maxTrials": 1}))
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.phase == "Succeeded"
        assert len(world.company.purchases) == 1

    async def test_a_clear_refusal_is_a_failed_trial(self, world: World) -> None:
        world.company.before = [PermanentProviderError("no access to tiny-1")]
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        sweep = await until_finished(world)
        assert (sweep.status.trials.succeeded, sweep.status.trials.failed) == (3, 1)
        refused = [trial for trial in await world.trials() if trial.phase is TrialPhase.FAILED]
        assert refused[0].status.reason == "CreateRefused"
        assert "no access to tiny-1" in str(refused[0].status.message)

    async def test_a_quota_is_waited_for_and_is_no_failure(self, world: World) -> None:
        world.company.before = [QuotaExceeded("3 jobs at a time", retry_after_s=0.05)]
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        sweep = await until_finished(world)
        assert sweep.status.trials.succeeded == 4
        assert len(world.company.purchases) == 4

    async def test_a_job_that_vanished_is_not_bought_again(self, world: World) -> None:
        world.company.hold = True
        await world.apply(DATA, PROVIDER, sweep_with(limits={"maxTrials": 1}))
        await world.start()
        await until(world, lambda _, trials: bool(trials) and trials[0].phase is TrialPhase.TRAINING)
        world.company.jobs.clear()
        sweep = await until_finished(world)
        assert sweep.status.phase == "Failed"
        assert (await world.trials())[0].status.reason == "JobVanished"
        assert len(world.company.purchases) == 1

    async def test_deleting_a_trial_cancels_its_job(self, world: World) -> None:
        world.company.hold = True
        await world.apply(DATA, PROVIDER, SWEEP)
        await world.start()
        await until(world, lambda _, trials: sum(t.phase is TrialPhase.TRAINING for t in trials) == 2)
        doomed = (await world.trials())[0]
        await world.delete_trial(doomed.name)
        await until(world, lambda _, trials: doomed.name not in {t.name for t in trials})
        assert doomed.status.create is not None
        assert set(world.company.cancelled) == {doomed.status.create.external_id}


class RefusalContract:
    """Manifests that the schema lets pass and that are wrong all the same."""

    @pytest.mark.parametrize(
        ("changes", "field", "says"),
        [
            (
                {"candidates": [{**GRID, "parameters": {"loraRank": {"values": ["4"]}}}]},
                "spec.candidates[0].parameters.loraRank",
                "it takes batchSize, epochs, learningRate",
            ),
            (
                {"candidates": [{**GRID, "parameters": {"epochs": {"int": {"min": 1, "max": 60}}}}]},
                "spec.candidates[0].parameters.epochs.int.max",
                "an int from 1 to 50",
            ),
            (
                {"candidates": [{**GRID, "parameters": {"batchSize": {"values": ["4", "5"]}}}]},
                "batchSize.values",
                "4, 8",
            ),
            (
                {"candidates": [{**GRID, "baseModels": ["unknown-1"]}]},
                "spec.candidates[0].baseModels[0]",
                "unknown-1",
            ),
            (
                {"candidates": [{**GRID, "baseModels": ["broken-1"]}]},
                "spec.candidates[0].baseModels",
                "does not load",
            ),
            (
                {"candidates": [{**GRID, "providerRef": {"name": "no"}}]},
                "candidates[0].providerRef",
                "no FinetuneProvider",
            ),
            (
                {"dataset__training": {"configMapRef": {"name": "data", "key": "bad.jsonl"}}},
                "spec.dataset.training",
                "line 1",
            ),
            (
                {"dataset__training": {"uri": "file:///no/such.jsonl"}},
                "spec.dataset.training",
                "no such file",
            ),
            (
                {"limits__budget": {"maxCost": "3.00", "currency": "EUR"}},
                "spec.candidates[0].baseModels",
                "the price of training tiny-1 in EUR is not known",
            ),
        ],
    )
    async def test_nothing_is_bought_and_the_field_is_named(
        self, world: World, changes: dict[str, Any], field: str, says: str
    ) -> None:
        await world.apply(DATA, PROVIDER, sweep_with(**changes))
        await world.start()
        sweep = await until(world, lambda sweep, _: _refused(sweep))
        accepted = sweep.status.condition("Accepted")
        assert accepted is not None
        assert field in accepted.message
        assert says in accepted.message
        assert sweep.status.condition("Stalled") is not None
        assert not world.company.purchases


def _refused(sweep: FinetuneSweep) -> bool:
    accepted = sweep.status.condition("Accepted")
    return accepted is not None and accepted.reason == "InvalidSpec"


def _reported(**changes: Any) -> Manifest:
    return sweep_with(
        objective={"metric": "validationLoss"}, dataset={"training": SOURCE, "validation": SOURCE}, **changes
    )


def _job_of(trials: tuple[FinetuneTrial, ...], name: str) -> str | None:
    entry = next(trial for trial in trials if trial.name == name).status.create
    return None if entry is None else entry.external_id
