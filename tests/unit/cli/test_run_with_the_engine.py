"""`finetune run` with the real engine and a company that sells fine-tuning jobs."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import click.testing
import pytest
from tests.contract.scenario_contract import DATA, PROVIDER, sweep_with
from tests.fakes.company import Company, factory
from tests.unit.cli.conftest import Cli

from finetune_operator.cli.seams import RunningEngine, utc_now
from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.lifecycle.store import Key, Store
from finetune_operator.resources import dump_yaml, load_yaml
from finetune_providers.errors import AmbiguousProviderError

STATE = Path(".finetune/intents")


class World:
    """The command, the files and the company."""

    def __init__(self, cli: Cli) -> None:
        self.company = Company(quality=lambda request: request.hyperparameters["epochs"] / 8 + 0.25)
        self.interrupt_at: str | None = None
        self._cli = cli

    def run(self, *options: str, **changes: Any) -> click.testing.Result:
        """Run the sweep with changes of its spec."""
        manifest = sweep_with(output__configMap="best-model", **changes)
        text = "---\n".join(dump_yaml(each) for each in (DATA, PROVIDER, manifest))
        (self._cli.folder / "sweep.yaml").write_text(text)
        return self._cli("run", "sweep.yaml", *options, make_engine=self._engine, clock=utc_now)

    def _engine(self, store: Store, work_dir: Path) -> RunningEngine:
        assert isinstance(store, FolderStore)
        store.subscribe(lambda key: self._interrupt(store, key))
        engine = Engine(store=store, work_dir=work_dir, make_provider=factory(self.company))
        if self.interrupt_at == "Evaluating":
            engine._context.quick_s = 0.0  # or the phase would be written only where evaluating takes long
        return engine

    def _interrupt(self, store: FolderStore, key: Key) -> None:
        trial = store._contents.trials.get(key.name)
        if trial is not None and trial.phase == self.interrupt_at:
            self.interrupt_at = None
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def world(cli: Cli) -> World:
    return World(cli)


def test_a_sweep_runs_to_its_end(world: World) -> None:
    result = world.run("-o", "json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["phase"] == "Succeeded"
    assert [trial["phase"] for trial in shown["trials"]] == ["Succeeded"] * 4
    best = max(shown["trials"], key=lambda trial: trial["score"])
    assert shown["best"]["score"] == best["score"]
    assert shown["best"]["baseScore"] == 0.25
    assert len(world.company.purchases) == 4
    spent = sum(float(trial["cost"]) for trial in shown["trials"])
    assert float(shown["cost"]["spent"]) == pytest.approx(spent)
    output = load_yaml((STATE / "output" / "best-model.yaml").read_text())
    assert output["data"]["model"] == shown["best"]["fineTunedModel"]


def test_a_finished_sweep_costs_nothing_when_it_is_run_again(world: World) -> None:
    world.run()
    observed = world.company.observed
    again = world.run()
    assert again.exit_code == 0
    assert "Best trial:" in again.stdout
    assert (len(world.company.purchases), world.company.observed) == (4, observed)


def test_raised_limits_buy_only_what_is_new(world: World) -> None:
    world.run()
    assert world.run(limits__maxTrials=6).exit_code == 0
    assert len(world.company.purchases) == 6
    points = {json.dumps(dict(each.hyperparameters), sort_keys=True) for each in world.company.purchases}
    assert len(points) == 6


@pytest.mark.parametrize("phase", ["Submitting", "Training", "Evaluating"])
def test_an_interrupted_sweep_goes_on_and_buys_nothing_twice(world: World, phase: str) -> None:
    world.interrupt_at = phase
    first = world.run()
    assert first.exit_code == 130, first.output
    assert "run the same command again to go on" in first.stderr
    assert len(world.company.purchases) < 4
    second = world.run("-o", "json")
    assert second.exit_code == 0, second.output
    assert len(world.company.purchases) == len({each.key for each in world.company.purchases}) == 4
    assert [trial["phase"] for trial in json.loads(second.stdout)["trials"]] == ["Succeeded"] * 4


def test_too_many_failures_have_their_exit_code(world: World) -> None:
    world.company.fails = lambda _: "out of memory"
    result = world.run(limits__maxFailedTrials=1)
    assert result.exit_code == 3
    assert "Sweep intents: Failed." in result.stdout
    assert "out of memory" in result.stdout


def test_a_manifest_that_the_provider_does_not_take_is_refused(world: World) -> None:
    result = world.run(candidates=[{**sweep_with()["spec"]["candidates"][0], "baseModels": ["unknown-1"]}])
    assert result.exit_code == 2
    assert "spec.candidates[0].baseModels[0]" in result.stderr
    assert world.company.purchases == []


def test_a_purchase_that_nobody_can_clear_up_waits_for_a_person(world: World) -> None:
    world.company.capabilities = replace(world.company.capabilities, finds_by_key=False)
    world.company.after = [AmbiguousProviderError("the connection was reset")]
    result = world.run(limits__maxTrials=1, limits__parallelTrials=1)
    assert result.exit_code == 4, result.output
    assert f"{STATE}/trials/intents-0.yaml" in result.stderr
    assert len(world.company.purchases) == 1
    again = world.run(limits__maxTrials=1, limits__parallelTrials=1)
    assert again.exit_code == 4
    assert len(world.company.purchases) == 1
