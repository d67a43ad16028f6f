"""`finetune plan`: what is shown of a right manifest, and of a wrong one."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Cli
from tests.unit.cli.planning import TalkingProvider, documents_of, plan, price

from finetune_operator.folder import FolderStore
from finetune_operator.resources import (
    API_VERSION,
    FinetuneTrial,
    ObjectMeta,
    SweepStatus,
    TrialPhase,
    TrialSpec,
    TrialStatus,
)
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.sweep_status import DatasetHashes
from finetune_providers.errors import PermanentProviderError, TransientProviderError


@pytest.fixture
def files(manifest: dict[str, Any]) -> dict[str, Any]:
    """Documents by file name, to be edited."""
    return documents_of(manifest)


def test_a_right_manifest_shows_what_it_would_do(cli: Cli, files: dict[str, Any]) -> None:
    result = plan(cli, files)
    assert (result.exit_code, result.stderr) == (0, "")
    shown = [line.rstrip() for line in result.stdout.splitlines()]
    assert shown[0] == "Sweep support is valid; nothing was bought."
    assert "Objective:  Maximize accuracy, until 0.95 is reached" in shown
    assert "Space:      unbounded (a parameter is continuous)" in shown
    assert "Trials:     up to 12, 1 at a time, ends after more than 3 failures" in shown
    assert any(line.startswith("Training:   20 examples, about ") for line in shown)
    assert "Budget:     20.00 USD (limits.budget): enough for all trials" in shown
    assert sum(line.startswith("smollm2-") for line in shown) == 6


def test_a_plan_leaves_nothing_behind(cli: Cli, files: dict[str, Any]) -> None:
    plan(cli, files)
    assert sorted(path.name for path in cli.folder.iterdir()) == sorted(files)


def test_a_plan_is_the_same_each_time(cli: Cli, files: dict[str, Any]) -> None:
    first, second = (json.loads(plan(cli, files, "-o", "json").stdout) for _ in range(2))
    assert first == second


def test_json_has_the_documented_shape(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 4}}}
    files["sweep.yaml"]["spec"]["search"] = {"method": "Grid"}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert list(shown) == [
        "sweep", "valid", "problems", "method", "spaceSize", "trials", "datasets", "tokens", "cost",
        "trialsWithinBudget", "time", "warmStart", "firstTrials",
    ]  # fmt: skip
    assert (shown["valid"], shown["problems"]) == (True, [])
    assert (shown["method"], shown["spaceSize"], shown["trials"]) == ("Grid", 8, 8)
    assert shown["datasets"]["training"]["examples"] == 20
    assert shown["cost"]["budget"] == "20.00"
    assert shown["firstTrials"][0] == {
        "candidate": "small",
        "baseModel": "smollm2-135m",
        "hyperparameters": {"epochs": 1},
        "origin": "grid",
        "cost": shown["firstTrials"][0]["cost"],
    }


def test_no_trial_is_shown_that_depends_on_scores(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["search"] = {"method": "Bayesian", "initialTrials": 3}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert len(shown["firstTrials"]) == 3
    assert all(trial["origin"] in {"provider default", "initial design"} for trial in shown["firstTrials"])


def test_in_a_terminal_lines_go_on_below_their_text_and_in_a_pipe_they_are_whole(
    cli: Cli, files: dict[str, Any]
) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"]["epochs"] = {"int": {"min": 1, "max": 4}}
    files["provider.yaml"]["spec"]["prices"] = [price("1000.00")]

    def below_cost(columns: int | None = None) -> str:
        lines = plan(cli, files, columns=columns).stdout.splitlines()
        return next(after for line, after in pairwise(lines) if line.startswith("Cost:"))

    assert below_cost().startswith("Budget:")
    assert below_cost(60).startswith(" " * 12)


def test_what_an_earlier_sweep_is_waited_for_is_said(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["warmStart"] = {"sweepRefs": [{"name": "last-week"}]}
    assert "Warm start: it would wait: spec.warmStart.sweepRefs[0].name" in plan(cli, files).stdout
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert shown["warmStart"]["waitsFor"] == (
        "spec.warmStart.sweepRefs[0].name: there is no FinetuneSweep last-week in the sweep's own namespace; "
        "it is waited for"
    )


async def finish_one(state: Path, files: dict[str, Any], datasets: DatasetHashes | None = None) -> None:
    """The state folder of a sweep of one trial that has ended."""
    sweep = copy.deepcopy(files["sweep.yaml"])
    sweep["metadata"]["name"] = state.name
    documents = [sweep, files["provider.yaml"], files["secret.yaml"], files["data.yaml"]]
    spec = TrialSpec(
        sweep_ref=NameRef(name=state.name),
        index=0,
        candidate="small",
        provider_ref=NameRef(name="local"),
        base_model="smollm2-360m",
        hyperparameters={"epochs": 2, "learningRate": 1.5e-4},
        run_key="ft-00000000",
    )
    trial = FinetuneTrial(api_version=API_VERSION, metadata=ObjectMeta(name=f"{state.name}-0"), spec=spec)
    with FolderStore.open(state, documents, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC)) as store:
        created = await store.create_trial(trial, owner=store.sweep)
        await store.write_trial_status(created, TrialStatus(phase=TrialPhase.SUCCEEDED, score=0.5))
        await store.write_sweep_status(store.sweep, SweepStatus(phase="Succeeded", datasets=datasets))


def test_no_trial_is_shown_that_depends_on_scores_after_an_earlier_sweep_on_the_same_data(
    cli: Cli, files: dict[str, Any]
) -> None:
    content = hashlib.sha256(files["data.yaml"]["data"]["train.jsonl"].encode()).hexdigest()
    datasets = DatasetHashes(training=content, evaluation=content)
    asyncio.run(finish_one(cli.folder / ".finetune" / "last-week", files, datasets))
    files["sweep.yaml"]["spec"]["warmStart"] = {"sweepRefs": [{"name": "last-week"}]}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert shown["warmStart"]["sweeps"] == [{"sweep": "last-week", "sameData": True, "trials": 1}]
    assert [each["origin"] for each in shown["firstTrials"]] == ["warm start", *["initial design"] * 4]


def test_a_plan_begins_with_the_best_point_of_an_earlier_sweep(cli: Cli, files: dict[str, Any]) -> None:
    asyncio.run(finish_one(cli.folder / ".finetune" / "last-week", files))
    files["sweep.yaml"]["spec"]["warmStart"] = {"sweepRefs": [{"name": "last-week"}]}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert shown["warmStart"] == {
        "waitsFor": None,
        "sweeps": [{"sweep": "last-week", "sameData": False, "trials": 1}],
    }
    first = shown["firstTrials"][0]
    assert (first["origin"], first["baseModel"]) == ("warm start", "smollm2-360m")
    assert first["hyperparameters"] == {"epochs": 2, "learningRate": 1.5e-4}
    assert "Warm start: 1 trials of last-week (other data)" in plan(cli, files).stdout


def test_every_problem_is_listed_with_its_field(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["candidates"][0]["baseModels"].append("gpt-4.1-mini")
    spec["candidates"][0]["parameters"]["loraRank"] = {"values": ["8", "16"]}
    spec["dataset"]["evaluation"]["configMapRef"]["key"] = "eval.jsonl"
    result = plan(cli, files)
    assert result.exit_code == 2
    head, *problems = result.stderr.splitlines()
    assert head == "The manifest was refused:"
    fields = [problem.strip().partition(": ")[0] for problem in problems]
    assert "spec.candidates[0].baseModels[2]" in fields
    assert "spec.candidates[0].parameters.loraRank" in fields
    assert any(field.startswith("spec.dataset.evaluation") for field in fields)
    assert result.stdout == ""


def test_problems_are_json_too(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["baseModels"] = ["gpt-4.1-mini"]
    result = plan(cli, files, "-o", "json")
    assert result.exit_code == 2
    shown = json.loads(result.stdout)
    assert shown["valid"] is False
    assert shown["problems"][0]["field"] == "spec.candidates[0].baseModels[0]"


def test_what_cannot_even_be_read_is_json_too(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["limits"] = {}
    result = plan(cli, files, "-o", "json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "sweep": None,
        "valid": False,
        "problems": [{"field": "spec.limits.maxTrials", "message": "is required"}],
    }


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("provider.yaml", "no FinetuneProvider 'local'"),
        ("secret.yaml", "Secret local-credentials was not given"),
    ],
)
def test_what_is_missing_is_a_problem_of_the_candidate(
    cli: Cli, files: dict[str, Any], missing: str, said: str
) -> None:
    del files[missing]
    result = plan(cli, files)
    assert result.exit_code == 2
    assert "spec.candidates[0].providerRef: " in result.stderr
    assert said in result.stderr


def test_what_is_wrong_with_the_provider_itself_is_told_with_its_own_field(
    cli: Cli, files: dict[str, Any]
) -> None:
    class RefusingProvider(TalkingProvider):
        async def check(self, base_models: Collection[str]) -> None:
            raise PermanentProviderError("the key is refused", field="spec.credentialsSecretRef")

    said = plan(cli, files, make_provider=RefusingProvider).stderr
    where = "spec.candidates[0].providerRef: FinetuneProvider local spec.credentialsSecretRef"
    assert f"{where}: the key is refused" in said


def test_a_provider_that_cannot_be_reached_is_no_fault_of_the_manifest(
    cli: Cli, files: dict[str, Any]
) -> None:
    class AwayProvider(TalkingProvider):
        async def check(self, base_models: Collection[str]) -> None:
            raise TransientProviderError("the provider does not answer")

    result = plan(cli, files, make_provider=AwayProvider)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: spec.candidates[0].providerRef: the provider does not answer. A plan asks each provider what"
    )


def test_a_dataset_in_a_file_is_read(cli: Cli, files: dict[str, Any]) -> None:
    file = Path(cli.folder) / "train.jsonl"
    file.write_text(files["data.yaml"]["data"]["train.jsonl"])
    files["sweep.yaml"]["spec"]["dataset"]["training"] = {"uri": f"file://{file}"}
    assert "Training:   20 examples" in plan(cli, files).stdout
    file.write_text("not json\n")
    assert "spec.dataset.training" in plan(cli, files).stderr
