"""Argo CD's health checks and actions, run as Argo CD runs them over every state of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from examples.argocd.make_argocd_cm import render
from lupa import lua51
from tests.gitops.argocd_lua import run_lua
from tests.gitops.states import CUSTOMIZATIONS, State, argocd_files, states

from finetune_operator.lifecycle.resolution import resolution_of
from finetune_operator.resources import FinetuneTrial, load_yaml_documents, parse_resource

ARGOCD = CUSTOMIZATIONS.parents[1]
STATES = {f"{state.kind} {state.name}": state for state in states()}


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text("utf-8"))


def action_tests(part: str) -> list[Any]:
    """Those of upstream's layout, with the folder of their kind's actions."""
    return [
        pytest.param(
            file.parent, each, id=" ".join((file.parents[1].name, each["inputPath"], each.get("action", "")))
        )
        for file in sorted(CUSTOMIZATIONS.glob("*/actions/action_test.yaml"))
        for each in read(file)[part]
    ]


def test_the_test_data_is_what_the_operator_writes() -> None:
    wanted = argocd_files()
    stale = [
        str(file) for file, text in wanted.items() if not file.exists() or file.read_text("utf-8") != text
    ]
    assert stale == [], "python -m tests.gitops.states writes them anew"
    there = {file for folder in CUSTOMIZATIONS.rglob("testdata") for file in folder.iterdir()}
    assert there <= wanted.keys()


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_health_is_what_a_person_would_say(state: State) -> None:
    said = run_lua(CUSTOMIZATIONS / state.kind / "health.lua", state.manifest)
    assert said == {"status": state.health, "message": state.message}


@pytest.mark.parametrize("kind", ["FinetuneSweep", "FinetuneTrial", "FinetuneProvider"])
def test_upstream_s_own_tests_of_health_hold(kind: str) -> None:
    folder = CUSTOMIZATIONS / kind
    tests = read(folder / "health_test.yaml")["tests"]
    assert len(tests) == sum(state.kind == kind for state in STATES.values())
    for each in tests:
        assert run_lua(folder / "health.lua", read(folder / each["inputPath"])) == each["healthStatus"]


@pytest.mark.parametrize(("folder", "test"), action_tests("discoveryTests"))
def test_only_actions_that_make_sense_are_offered(folder: Path, test: dict[str, Any]) -> None:
    offered = run_lua(folder / "discovery.lua", read(folder / test["inputPath"]))
    assert {name: each["disabled"] for name, each in offered.items()} == {
        each["name"]: each["disabled"] for each in test["result"]
    }
    assert {file.parent.name for file in folder.glob("*/action.lua")} == offered.keys()


@pytest.mark.parametrize(("folder", "test"), action_tests("actionTests"))
def test_an_action_changes_one_field(folder: Path, test: dict[str, Any]) -> None:
    script = folder / test["action"] / "action.lua"
    done = run_lua(script, read(folder / test["inputPath"]), **test.get("parameters", {}))
    assert done == read(folder / test["expectedOutputPath"])


@pytest.mark.parametrize("action", ["retry", "adopt", "abandon"])
def test_the_operator_understands_the_answer(action: str) -> None:
    folder = CUSTOMIZATIONS / "FinetuneTrial" / "actions"
    asked = read(folder / "testdata" / "asked.yaml")
    given = {"job": "ftjob-1"} if action == "adopt" else {}
    trial = parse_resource(FinetuneTrial, run_lua(folder / action / "action.lua", asked, **given))
    resolution = resolution_of(trial)
    assert resolution is not None
    assert (resolution.verb, resolution.job_id) == (action, given.get("job", ""))


def test_adopting_without_a_job_is_refused() -> None:
    folder = CUSTOMIZATIONS / "FinetuneTrial" / "actions"
    with pytest.raises(lua51.LuaError, match="job: give the id"):
        run_lua(folder / "adopt" / "action.lua", read(folder / "testdata" / "asked.yaml"))


@pytest.mark.parametrize(
    "text", ["('x'):upper()", "string.format('x')", "math.max(1)", "io.open('x')", "require('string')"]
)
def test_what_argo_cd_takes_away_is_not_there(tmp_path: Path, text: str) -> None:
    script = tmp_path / "script.lua"
    script.write_text(f"return {text}", encoding="utf-8")
    with pytest.raises(lua51.LuaError):
        run_lua(script, {})


def test_the_patch_of_argocd_cm_is_fresh() -> None:
    assert (ARGOCD / "argocd-cm.yaml").read_text("utf-8") == render(ARGOCD), (
        "run examples/argocd/make_argocd_cm.py"
    )


def test_the_patch_of_argocd_cm_holds_every_script_as_it_is() -> None:
    data = read(ARGOCD / "argocd-cm.yaml")["data"]
    for kind in ("FinetuneSweep", "FinetuneTrial", "FinetuneProvider"):
        key, folder = f"finetune-operator.dev_{kind}", CUSTOMIZATIONS / kind
        assert data.pop(f"resource.customizations.health.{key}") == (folder / "health.lua").read_text("utf-8")
        ignored = yaml.safe_load(data.pop(f"resource.customizations.ignoreResourceUpdates.{key}"))
        assert ignored == {"jsonPointers": ["/status"]}
        if (folder / "actions").is_dir():
            actions = yaml.safe_load(data.pop(f"resource.customizations.actions.{key}"))
            assert actions["discovery.lua"] == (folder / "actions" / "discovery.lua").read_text("utf-8")
            for each in actions["definitions"]:
                script = folder / "actions" / each["name"] / "action.lua"
                assert each["action.lua"] == script.read_text("utf-8")
    assert data == {}


def test_operator_and_sweeps_are_applications_of_their_own_in_order() -> None:
    operator, sweeps = read(ARGOCD / "operator.yaml"), read(ARGOCD / "sweeps.yaml")
    waves = [
        int(each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for each in (operator, sweeps)
    ]
    assert waves == [0, 1]
    for each in load_yaml_documents((ARGOCD / "sweep.yaml").read_text("utf-8")):
        assert "Delete=confirm" in each["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
