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
from tests.contract.store_contract import MANIFESTS, SECRET_VALUES
from tests.unit.cli.conftest import Cli

from finetune_operator.folder import FolderStore
from finetune_operator.resources import (
    API_VERSION,
    FinetuneTrial,
    ObjectMeta,
    SweepStatus,
    TrialPhase,
    TrialSpec,
    TrialStatus,
    dump_yaml,
)
from finetune_operator.resources.common import NameRef
from finetune_operator.resources.sweep_status import DatasetHashes
from finetune_providers.base import Capabilities, DatasetFile, ModelRules, ParameterRule, ProviderConfig
from finetune_providers.errors import PermanentProviderError, TransientProviderError

RULES = ModelRules(
    {
        "epochs": ParameterRule("int", minimum=1, maximum=10, default=3),
        "learningRate": ParameterRule("float", minimum=0, exclusive_minimum=True, maximum=1),
    }
)
EXAMPLE = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "greeting"}]}


class TalkingProvider:
    """A provider that can be asked but sells nothing: it has no `submit`."""

    capabilities = Capabilities(
        finds_by_key=True,
        idempotent_create=True,
        lookup_window_s=0.0,
        metrics=frozenset(),
        poll_interval_s=1.0,
        deletes_models=True,
    )

    def __init__(self, config: ProviderConfig) -> None:
        if config.type != "Local":
            raise PermanentProviderError(f"provider type {config.type!r} is not known", field="spec.type")
        self.credentials = config.credentials

    def model_rules(self, base_model: str) -> ModelRules | None:
        return RULES if base_model.startswith("smollm2") else None

    def model_names(self) -> tuple[str, ...]:
        return ()

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """Any dataset will do."""

    async def check(self, base_models: Collection[str]) -> None:
        assert self.credentials == SECRET_VALUES

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.fixture
def files(cli: Cli, manifest: dict[str, Any]) -> dict[str, Any]:
    """Documents by file name, to be edited and written with `write`; the dataset is a real one."""
    provider = {**MANIFESTS[1], "spec": {**MANIFESTS[1]["spec"], "prices": [price("3.00")]}}
    data = {"train.jsonl": "".join(json.dumps(EXAMPLE) + "\n" for _ in range(20))}
    return {
        "sweep.yaml": manifest,
        "provider.yaml": provider,
        "secret.yaml": MANIFESTS[2],
        "data.yaml": {**MANIFESTS[3], "data": data},
    }


def price(per_million: str) -> dict[str, str]:
    return {"baseModel": "*", "trainingPerMillionTokens": per_million, "currency": "USD"}


def plan(
    cli: Cli, files: dict[str, Any], *options: str, make_provider: Any = TalkingProvider, **seams: Any
) -> Any:
    for name, document in files.items():
        (cli.folder / name).write_text(dump_yaml(document))
    return cli("plan", *files, *options, make_provider=make_provider, **seams)


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


def test_the_cost_follows_price_tokens_and_epochs(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 2, "max": 2}}}
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    tokens = shown["datasets"]["training"]["estimatedTokens"]
    assert [trial["cost"] for trial in shown["firstTrials"]] == [f"{2 * tokens}.00"] * 2
    assert shown["cost"]["expected"] == f"{2 * 2 * tokens}.00"


def test_no_trial_is_shown_that_depends_on_scores(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["search"] = {"method": "Bayesian", "initialTrials": 3}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert len(shown["firstTrials"]) == 3
    assert all(trial["origin"] in {"provider default", "initial design"} for trial in shown["firstTrials"])


def test_the_whole_sweep_is_forecast_from_the_cheapest_to_the_dearest_point(
    cli: Cli, files: dict[str, Any]
) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"]["epochs"] = {"int": {"min": 1, "max": 4}}
    files["sweep.yaml"]["spec"]["limits"] |= {
        "maxTrials": 10,
        "parallelTrials": 4,
        "budget": {"maxCost": "5000.00"},
        "maxDuration": "48h",
    }
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    tokens = shown["datasets"]["training"]["estimatedTokens"]
    assert (shown["tokens"]["least"], shown["tokens"]["most"]) == (10 * tokens, 40 * tokens)
    assert (shown["cost"]["least"], shown["cost"]["most"]) == (f"{10 * tokens}.00", f"{40 * tokens}.00")
    epochs = [trial["hyperparameters"]["epochs"] for trial in shown["firstTrials"]]
    assert float(shown["cost"]["expected"]) == pytest.approx(
        10 * tokens * sum(epochs) / len(epochs), abs=0.01
    )
    within = shown["trialsWithinBudget"]
    left = 5000 - sum(epochs) * tokens
    assert (within["fewest"], within["most"]) == (len(epochs) + left // (4 * tokens), 10)
    assert shown["time"] == {"rounds": 3, "perTrial": None, "maxDuration": "48h"}
    text = plan(cli, files).stdout
    line = " ".join(text.split())
    assert f"; {10 * tokens}.00 if all are like smollm2-135m with epochs=1, {40 * tokens}.00 if like" in line
    assert f"used up after about {within['expected']} of 10 trials (after {within['fewest']} if" in line
    assert "Time: 3 rounds of trials; how long one takes no provider tells beforehand; at most 48h" in line


def test_a_budget_ends_the_search_at_the_first_trial_that_does_not_fit(
    cli: Cli, files: dict[str, Any]
) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["candidates"][0]["parameters"] |= {"epochs": {"int": {"min": 1, "max": 4}}}
    points = [
        {"candidate": "small", "baseModel": "smollm2-135m", "parameters": {"epochs": n, "learningRate": 1e-4}}
        for n in (2, 4, 1)
    ]
    spec["search"] = {"firstPoints": points}
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    tokens = json.loads(plan(cli, files, "-o", "json").stdout)["datasets"]["training"]["estimatedTokens"]
    spec["limits"]["budget"] = {"maxCost": f"{5 * tokens}.00"}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)["trialsWithinBudget"]
    assert shown == {"fewest": 1, "expected": 1, "most": 1}  # though the third would still fit
    spec["limits"]["budget"] = {"maxCost": f"{tokens}.00"}
    line = " ".join(plan(cli, files).stdout.split())
    assert f"too little for the first trial, which is expected to cost {2 * tokens}.00; none would" in line


def test_first_points_that_no_trial_is_left_for_are_told_of(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    points = [
        {"candidate": "small", "baseModel": "smollm2-135m", "parameters": {"epochs": n, "learningRate": 1e-4}}
        for n in (1, 2, 3)
    ]
    spec["search"] = {"firstPoints": points}
    assert "Search:     Bayesian, seed 0\n" in plan(cli, files).stdout
    spec["limits"]["maxTrials"] = 2
    assert "seed 0; 1 of 3 firstPoints left untried in 2 trials" in plan(cli, files).stdout


def test_the_same_model_at_two_candidates_is_told_apart(cli: Cli, files: dict[str, Any]) -> None:
    (candidate,) = files["sweep.yaml"]["spec"]["candidates"]
    dear = {**candidate, "name": "dear", "baseModels": ["smollm2-360m"]}
    dear["parameters"] = {**candidate["parameters"], "epochs": {"int": {"min": 7, "max": 9}}}
    candidate["baseModels"] = ["smollm2-135m"]
    files["sweep.yaml"]["spec"]["candidates"] = [candidate, dear]
    files["provider.yaml"]["spec"]["prices"] = [price("1000.00")]
    line = " ".join(plan(cli, files).stdout.split())
    assert "if like dear/smollm2-360m with epochs=9" in line


def test_what_counts_and_what_ends_the_search_is_shown(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["objective"] = {"metric": "accuracy", "costWeight": 0.05}
    spec["earlyStopping"] = {"plateau": {"trials": 40}}
    shown = plan(cli, files).stdout
    assert "Objective:  Maximize accuracy - 0.05 x cost in USD (objective.costWeight)" in shown
    line = " ".join(shown.split())
    assert "40 trials in a row were not better than the best, which 12 trials cannot come to (early" in line


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


def test_a_space_that_is_tried_whole_is_forecast_exactly(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 4}}}
    files["sweep.yaml"]["spec"]["search"] = {"method": "Grid"}
    files["provider.yaml"]["spec"]["prices"] = [price("1000000.00")]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    exact = 2 * (1 + 2 + 3 + 4) * shown["datasets"]["training"]["estimatedTokens"]
    assert shown["tokens"] == {"least": exact, "expected": exact, "most": exact}
    assert shown["cost"]["least"] == shown["cost"]["expected"] == shown["cost"]["most"] == f"{exact}.00"
    assert "if all are like" not in plan(cli, files).stdout


def test_repeats_are_counted_among_the_trials(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 2}}}
    files["sweep.yaml"]["spec"]["confirm"] = {"top": 2, "repeats": 3}
    tokens = json.loads(plan(cli, files, "-o", "json").stdout)["tokens"]
    each = tokens["least"] // 10
    assert (tokens["least"], tokens["most"]) == (10 * each, 2 * 10 * each)
    assert "Trials:     up to 10, 6 of them to repeat the best" in plan(cli, files).stdout


def test_the_repeats_of_the_best_are_forecast_too(cli: Cli, files: dict[str, Any]) -> None:
    spec = files["sweep.yaml"]["spec"]
    spec["candidates"][0]["parameters"] = {"epochs": {"int": {"min": 1, "max": 2}}}
    spec["search"] = {"method": "Grid"}
    spec["confirm"] = {"top": 3, "repeats": 3}
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    tokens = shown["datasets"]["training"]["estimatedTokens"]
    assert shown["tokens"]["least"] == 12 * tokens  # 3 of the 4 points, and 9 repeats
    assert shown["tokens"]["most"] == 24 * tokens
    assert len(shown["firstTrials"]) == 3


def test_tokens_are_forecast_without_prices_from_the_default_epochs(cli: Cli, files: dict[str, Any]) -> None:
    rates = {"learningRate": {"logUniform": {"min": 1e-5, "max": 1e-3}}}
    files["sweep.yaml"]["spec"]["candidates"][0]["parameters"] = rates
    del files["provider.yaml"]["spec"]["prices"]
    del files["sweep.yaml"]["spec"]["limits"]["budget"]
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    exact = 12 * 3 * shown["datasets"]["training"]["estimatedTokens"]
    assert shown["tokens"] == {"least": exact, "expected": exact, "most": exact}
    assert shown["cost"]["least"] is None


def test_what_an_earlier_sweep_is_waited_for_is_said(cli: Cli, files: dict[str, Any]) -> None:
    files["sweep.yaml"]["spec"]["warmStart"] = {"sweepRefs": [{"name": "last-week"}]}
    assert "Warm start: it would wait: spec.warmStart.sweepRefs[0].name" in plan(cli, files).stdout
    shown = json.loads(plan(cli, files, "-o", "json").stdout)
    assert shown["warmStart"]["waitsFor"] == (
        "spec.warmStart.sweepRefs[0].name: there is no FinetuneSweep last-week; it is waited for"
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


def test_an_unknown_price_is_said(cli: Cli, files: dict[str, Any]) -> None:
    del files["provider.yaml"]["spec"]["prices"]
    del files["sweep.yaml"]["spec"]["limits"]["budget"]
    shown = plan(cli, files).stdout
    line = (
        "Cost:       unknown: there is no price in USD of training smollm2-135m at provider local, training"
    )
    assert line in shown
    assert "COST" not in shown
    assert json.loads(plan(cli, files, "-o", "json").stdout)["cost"]["expected"] is None


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
    assert result.stderr.startswith("Error: the provider does not answer. A plan asks each provider what")


def test_a_dataset_in_a_file_is_read(cli: Cli, files: dict[str, Any]) -> None:
    file = Path(cli.folder) / "train.jsonl"
    file.write_text(files["data.yaml"]["data"]["train.jsonl"])
    files["sweep.yaml"]["spec"]["dataset"]["training"] = {"uri": f"file://{file}"}
    assert "Training:   20 examples" in plan(cli, files).stdout
    file.write_text("not json\n")
    assert "spec.dataset.training" in plan(cli, files).stderr
