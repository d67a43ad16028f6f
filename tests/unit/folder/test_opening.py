"""Opening a state folder: what is kept, what may change, what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_contract import MANIFESTS, SECRET_VALUES, SWEEP, SWEEP_MANIFEST, a_trial
from tests.unit.folder.conftest import NOW, Open

from finetune_operator.errors import InvalidManifest
from finetune_operator.folder import FolderStore, StateFolderError, StateFolderInUse
from finetune_operator.lifecycle.store import NotFound, Refused
from finetune_operator.resources import SweepStatus, TrialPhase, TrialStatus, dump_yaml

Edit = Callable[[dict[str, Any]], object]


async def with_one_trial(store: FolderStore) -> None:
    """Give the store a trial that trains, and let go of the folder."""
    trial = await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING, metrics={"loss": 1e-5}))
    store.close()


def all_bytes(folder: Path) -> bytes:
    """The content of all files of a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_everything_is_there_again_after_a_restart(open_store: Open) -> None:
    before = open_store()
    trial = await before.create_trial(a_trial(0, namespace="default"), owner=before.sweep)
    trial = await before.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING, score=1e-5))
    sweep = await before.write_sweep_status(before.sweep, SweepStatus(phase="Searching"))
    await before.write_output(sweep, "support-model", {"model": "ft:1"})
    before.close()
    after = open_store()
    assert after.sweep == sweep
    assert await after.list_trials(after.sweep_key) == (trial,)
    assert await after.get_config_map("default", "support-model") == {"model": "ft:1"}


def test_opening_again_changes_no_file(open_store: Open, state: Path) -> None:
    open_store().close()
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*.yaml")}
    open_store()
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*.yaml")} == before
    assert len(before) == 2


def test_a_second_user_of_the_folder_is_told_who_has_it(open_store: Open) -> None:
    open_store()
    with pytest.raises(StateFolderInUse, match=rf"in use by process {os.getpid()}:.*--state") as caught:
        open_store()
    assert caught.value.pid == os.getpid()


def test_a_refused_opening_leaves_the_folder_free(open_store: Open, manifest: dict[str, Any]) -> None:
    open_store().close()
    manifest["spec"]["search"] = {"seed": 8}
    with pytest.raises(InvalidManifest):
        open_store(manifest)
    open_store()


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: spec["limits"].update(maxTrials=99),
        lambda spec: spec["limits"].pop("budget"),
        lambda spec: spec.update(suspend=True),
        lambda spec: spec.update(deletionPolicy="Orphan"),
        lambda spec: spec.update(keepModels="Best"),
        lambda spec: spec.update(keepData=True),
        lambda spec: spec.pop("output"),
    ],
    ids=["maxTrials", "budget", "suspend", "deletionPolicy", "keepModels", "keepData", "output"],
)
async def test_an_editable_field_makes_a_new_generation(
    open_store: Open, manifest: dict[str, Any], edit: Edit
) -> None:
    await with_one_trial(open_store())
    edit(manifest["spec"])
    edited = open_store(manifest)
    assert edited.sweep.metadata.generation == 2
    assert len(await edited.list_trials(edited.sweep_key)) == 1
    edited.close()
    again = open_store(manifest)
    assert again.sweep == edited.sweep


@pytest.mark.parametrize(
    ("field", "edit"),
    [
        ("objective", lambda spec: spec["objective"].update(goal=0.5)),
        ("dataset", lambda spec: spec["dataset"]["evaluation"].update(maxExamples=5)),
        ("candidates", lambda spec: spec["candidates"][0]["baseModels"].append("another")),
        ("candidates", lambda spec: spec["candidates"][0]["parameters"].pop("epochs")),
        ("search", lambda spec: spec.update(search={"method": "Random"})),
    ],
)
def test_an_immutable_field_is_refused_and_nothing_changes(
    open_store: Open, state: Path, manifest: dict[str, Any], field: str, edit: Edit
) -> None:
    open_store().close()
    before = (state / "sweep.yaml").read_bytes()
    edit(manifest["spec"])
    manifest["spec"]["limits"]["maxTrials"] = 99
    with pytest.raises(InvalidManifest, match="another name and another --state folder") as caught:
        open_store(manifest)
    assert [problem.field for problem in caught.value.problems] == [f"spec.{field}"]
    assert "is immutable once the sweep exists" in str(caught.value)
    assert (state / "sweep.yaml").read_bytes() == before


def test_a_changed_candidate_is_named(open_store: Open, manifest: dict[str, Any]) -> None:
    open_store().close()
    manifest["spec"]["candidates"].append({**manifest["spec"]["candidates"][0], "name": "twin"})
    manifest["spec"]["candidates"][1]["baseModels"] = ["qwen3-0.6b"]
    with pytest.raises(InvalidManifest, match=r"changed: twin\)"):
        open_store(manifest)


def test_the_order_of_candidates_and_base_models_is_no_change(
    open_store: Open, manifest: dict[str, Any]
) -> None:
    manifest["spec"]["candidates"].append(
        {**manifest["spec"]["candidates"][0], "name": "large", "baseModels": ["qwen3-0.6b", "qwen3-1.7b"]}
    )
    before = open_store(manifest)
    before.close()
    manifest["spec"]["candidates"].reverse()
    manifest["spec"]["candidates"][0]["baseModels"].reverse()
    assert open_store(manifest).sweep == before.sweep


@pytest.mark.parametrize("field", ["name", "namespace"])
def test_another_sweep_needs_another_folder(open_store: Open, manifest: dict[str, Any], field: str) -> None:
    open_store().close()
    manifest["metadata"][field] = "billing"
    message = (
        rf"metadata\.{field}: is billing, but .* {SWEEP if field == 'name' else 'default'}: .* immutable"
    )
    with pytest.raises(InvalidManifest, match=message):
        open_store(manifest)


async def test_a_changed_provider_keeps_its_status(state: Path, open_store: Open) -> None:
    open_store().close()
    faster = {**MANIFESTS[1], "spec": {**MANIFESTS[1]["spec"], "maxConcurrentJobs": 4}}
    with FolderStore.open(state, (SWEEP_MANIFEST, faster), clock=lambda: NOW) as store:
        provider = await store.get_provider(store.sweep_key.sibling("FinetuneProvider", "local"))
        assert provider is not None
        assert provider.spec.max_concurrent_jobs == 4
        assert provider.metadata.generation == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("type", "OpenAI"), ("region", "us-west-2"), ("project", "other"), ("dataUri", "s3://other")],
)
def test_a_provider_that_would_look_elsewhere_for_its_jobs_is_refused(
    state: Path, open_store: Open, field: str, value: str
) -> None:
    open_store().close()
    before = (state / "providers" / "local.yaml").read_bytes()
    moved = {**MANIFESTS[1], "spec": {**MANIFESTS[1]["spec"], field: value}}
    with pytest.raises(InvalidManifest, match="is immutable once the provider exists") as caught:
        FolderStore.open(state, (SWEEP_MANIFEST, moved), clock=lambda: NOW)
    assert [problem.field for problem in caught.value.problems] == [f"FinetuneProvider local: spec.{field}"]
    assert (state / "providers" / "local.yaml").read_bytes() == before


async def test_a_missing_secret_says_how_to_give_it(state: Path) -> None:
    said = r"local-credentials was not given: .*kind: Secret.*kubectl create"
    with (
        FolderStore.open(state, MANIFESTS[:2], clock=lambda: NOW) as store,
        pytest.raises(NotFound, match=said),
    ):
        await store.get_secret("default", "local-credentials")


async def test_secrets_are_never_written(open_store: Open, state: Path) -> None:
    store = open_store()
    await with_one_trial(store)
    written = all_bytes(state)
    assert b"smollm2-135m" in written
    assert SECRET_VALUES["token"].encode() not in written
    assert SECRET_VALUES["token"] not in repr(store._contents)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not a YAML mapping"),
        (b"metadata: {name: support-0", "it is not YAML"),
        (b"\xff\xfe\x00", "it is not YAML"),
        (b"kind: ConfigMap\n", "its kind is 'ConfigMap', not FinetuneTrial"),
        (
            b"apiVersion: finetune-operator.dev/v1alpha1\nkind: FinetuneTrial\nmetadata: {name: support-0}\n",
            "spec: is required",
        ),
    ],
    ids=["empty", "torn", "binary", "another kind", "half"],
)
async def test_a_trial_file_that_cannot_be_read_is_named(
    open_store: Open, state: Path, content: bytes, reason: str
) -> None:
    await with_one_trial(open_store())
    file = state / "trials" / "support-0.yaml"
    file.write_bytes(content)
    with pytest.raises(StateFolderError, match=re.escape(f"{file} cannot be used: {reason}")):
        open_store()
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ["sweep.yaml", "trials/support-0.yaml", "providers/local.yaml"])
async def test_a_file_that_was_cut_off_never_passes_for_a_whole_one(
    open_store: Open, state: Path, name: str
) -> None:
    await with_one_trial(open_store())
    whole = (state / name).read_bytes()
    for length in range(0, len(whole), 13):
        (state / name).write_bytes(whole[:length])
        with pytest.raises(StateFolderError, match=re.escape(f"{name} cannot be used")):
            open_store()
    (state / name).write_bytes(whole)
    open_store()


async def test_a_trial_under_another_name_is_refused(open_store: Open, state: Path) -> None:
    await with_one_trial(open_store())
    (state / "trials" / "support-0.yaml").rename(state / "trials" / "support-1.yaml")
    with pytest.raises(StateFolderError, match=r"support-1\.yaml holds FinetuneTrial support-0"):
        open_store()


async def test_a_trial_of_another_sweep_is_refused(open_store: Open, state: Path) -> None:
    store = open_store()
    await with_one_trial(store)
    text = (state / "sweep.yaml").read_text()
    assert store.sweep.metadata.uid in text
    (state / "sweep.yaml").write_text(text.replace(store.sweep.metadata.uid or "", "another-uid"))
    with pytest.raises(StateFolderError, match=r"trials/support-0\.yaml belongs to another sweep"):
        open_store()


@pytest.mark.parametrize("name", ["notes.txt", "support-0.yaml~", "folder.yaml"])
def test_a_foreign_file_among_the_trials_is_named(open_store: Open, state: Path, name: str) -> None:
    open_store().close()
    if name == "folder.yaml":
        (state / "trials" / name).mkdir()
    else:
        (state / "trials" / name).write_text("mine")
    with pytest.raises(StateFolderError, match=re.escape(f"trials/{name} does not belong here")):
        open_store()


def test_what_a_crash_left_is_tidied_up(open_store: Open, state: Path) -> None:
    open_store().close()
    leftover, hidden = state / "trials" / ".support-9.yaml.tmp", state / "trials" / ".DS_Store"
    for path in (leftover, hidden):
        path.write_text("half a tri")
    open_store()
    assert not leftover.exists()
    assert hidden.exists()


async def test_trials_without_their_sweep_are_not_taken_over(open_store: Open, state: Path) -> None:
    await with_one_trial(open_store())
    (state / "sweep.yaml").unlink()
    with pytest.raises(StateFolderError, match=r"sweep\.yaml is missing, but its trials are here"):
        open_store()
    assert not (state / "sweep.yaml").exists()


def test_a_persons_own_sweep_yaml_is_not_taken_for_the_state(open_store: Open, state: Path) -> None:
    state.mkdir()
    (state / "sweep.yaml").write_text(dump_yaml(SWEEP_MANIFEST))
    with pytest.raises(StateFolderError, match=r"sweep\.yaml cannot be used: it has no uid"):
        open_store()
    assert (state / "sweep.yaml").read_text() == dump_yaml(SWEEP_MANIFEST)


def test_a_folder_that_holds_other_things_is_not_begun_in(open_store: Open, state: Path) -> None:
    state.mkdir()
    (state / "thesis.tex").write_text("mine")
    with pytest.raises(
        StateFolderError, match=r"holds other files \(thesis\.tex\): give a folder of its own"
    ):
        open_store()
    assert [path.name for path in state.iterdir()] == ["thesis.tex"]


def test_a_file_is_not_a_state_folder(open_store: Open, state: Path) -> None:
    state.write_text("")
    with pytest.raises(StateFolderError, match="cannot be used as a state folder"):
        open_store()


@pytest.mark.parametrize("name", ["../sweep", "a/b", "/etc/passwd", "..", "", "Support", "x" * 201])
async def test_a_name_cannot_lead_out_of_the_folder(open_store: Open, state: Path, name: str) -> None:
    store = open_store()
    before = sorted(state.parent.rglob("*"))
    trial = a_trial(0, namespace="default")
    evil = trial.model_copy(update={"metadata": trial.metadata.model_copy(update={"name": name})})
    with pytest.raises((StateFolderError, InvalidManifest)):
        await store.create_trial(evil, owner=store.sweep)
    with pytest.raises(StateFolderError):
        await store.write_output(store.sweep, name, {"model": "ft:1"})
    with pytest.raises((StateFolderError, NotFound)):
        await store.get_config_map("default", name)
    assert sorted(state.parent.rglob("*")) == before


async def test_a_file_of_somebody_else_is_not_taken_for_an_output(open_store: Open, state: Path) -> None:
    store = open_store()
    (state / "output" / "support-model.yaml").write_text("not: {yaml")
    with pytest.raises(Refused, match="support-model"):
        await store.write_output(store.sweep, "support-model", {"model": "ft:1"})
