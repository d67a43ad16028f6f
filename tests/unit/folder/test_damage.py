"""What lies in a state folder in the place of its files is told, and never taken for nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.store_contract import a_trial
from tests.unit.folder.conftest import Open

from finetune_operator.folder import FolderStore, StateFolderError
from finetune_operator.folder.annotating import annotate_trial
from finetune_operator.folder.reading import read_state
from finetune_operator.lifecycle.store import NotFound, Refused, StoreUnavailable
from finetune_operator.resources import SweepStatus, TrialPhase, TrialStatus

FILES = ("sweep.yaml", "trials/support-0.yaml", "providers/local.yaml")
OUTSIDE = "outside.yaml"


def replaced(put: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        path.unlink()
        put(path)

    return damage


def link_to_a_copy(path: Path) -> None:
    outside = path.parents[2] / OUTSIDE if path.parent.name != "state" else path.parents[1] / OUTSIDE
    path.rename(outside)
    path.symlink_to(outside)


def huge(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(2**34)  # of zeros, which take no place on the disk


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(bytes(range(256))),
    "nested": lambda path: path.write_bytes(b"[" * 3_000),
    "wrong type": lambda path: path.write_text("- kind: FinetuneTrial\n...\n"),
    "wrong kind": lambda path: path.write_text("kind: ConfigMap\n...\n"),
    "odd version": lambda path: path.write_text(
        re.sub(r"resourceVersion: .*", "resourceVersion: '²'", path.read_text())
    ),
    "huge": huge,
    "folder": replaced(Path.mkdir),
    "pipe": replaced(os.mkfifo),
    "dangling link": replaced(lambda path: path.symlink_to("/nowhere/at/all")),
    "link out of the folder": link_to_a_copy,
}


async def with_a_trial(store: FolderStore) -> None:
    trial = await store.create_trial(a_trial(0, namespace="default"), owner=store.sweep)
    await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.TRAINING))
    await store.write_sweep_status(store.sweep, SweepStatus(last_index=0))
    store.close()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_named_with_what_to_do_and_nothing_is_bought(
    open_store: Open, state: Path, name: str, damage: str
) -> None:
    await with_a_trial(open_store())
    DAMAGES[damage](state / name)
    with pytest.raises(StateFolderError, match=re.escape(name)) as caught:
        open_store()
    assert "bring" in str(caught.value).lower() or "move it away" in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("name", FILES[:2])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_report_of_a_damaged_folder_is_an_error_and_no_traceback(
    open_store: Open, state: Path, name: str, damage: str
) -> None:
    await with_a_trial(open_store())
    DAMAGES[damage](state / name)
    with pytest.raises(StateFolderError, match=re.escape(str(state))):
        read_state(state)


async def test_a_file_without_leave_to_read_it_is_named(
    open_store: Open, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_a_trial(open_store())
    allowed = os.open

    def refusing(path: object, *arguments: object, **options: object) -> int:
        if str(path).endswith("support-0.yaml"):
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(StateFolderError, match=r"support-0\.yaml cannot be used: .*Permission denied"):
        open_store()


async def test_a_folder_that_has_lost_its_trials_buys_none_again(open_store: Open, state: Path) -> None:
    await with_a_trial(open_store())
    (state / "trials" / "support-0.yaml").unlink()
    with pytest.raises(StateFolderError, match=r"trials is empty, but the sweep has had 1 .*from a copy"):
        open_store()
    (state / "trials").rmdir()
    with pytest.raises(StateFolderError, match=r"trials is empty, but the sweep has had 1 .*from a copy"):
        open_store()


@pytest.mark.parametrize("damage", [each for each in DAMAGES if each not in {"odd version", "half"}])
async def test_a_damaged_output_is_refused_and_left_as_it_is(
    open_store: Open, state: Path, damage: str
) -> None:
    store = open_store()
    await store.write_output(store.sweep, "support-model", {"model": "ft:1"})
    DAMAGES[damage](state / "output" / "support-model.yaml")
    with pytest.raises(Refused, match=r"output/support-model\.yaml"):
        await store.write_output(store.sweep, "support-model", {"model": "ft:2"})
    if damage not in {"wrong kind", "link out of the folder"}:
        with pytest.raises(NotFound, match=r"output/support-model\.yaml"):
            await store.get_config_map("default", "support-model")


@pytest.mark.parametrize("name", [".lock", "events.jsonl", "trials/.support-0.yaml.tmp"])
async def test_nothing_is_written_through_a_link_out_of_the_folder(
    open_store: Open, state: Path, tmp_path: Path, name: str
) -> None:
    await with_a_trial(open_store())
    precious = tmp_path / "precious"
    precious.write_text("precious")
    store = None if name == ".lock" else open_store()
    (state / name).unlink(missing_ok=True)
    (state / name).symlink_to(precious)
    if store is None:
        with pytest.raises(StateFolderError, match=r"\.lock"):
            open_store()
        with pytest.raises(StateFolderError, match=r"\.lock"):
            annotate_trial(state, "support-0", {"a": "b"})
    else:
        (trial,) = await store.list_trials(store.sweep_key)
        await store.record_event(trial, "Reason", "message")
        if name.endswith(".tmp"):
            with pytest.raises(StoreUnavailable):
                await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.EVALUATING))
            await store.write_trial_status(trial, TrialStatus(phase=TrialPhase.EVALUATING))
    assert precious.read_text() == "precious"


async def test_events_that_are_a_pipe_hold_nobody_up(open_store: Open, state: Path) -> None:
    store = open_store()
    os.mkfifo(state / "events.jsonl")
    for _ in range(300):
        await store.record_event(store.sweep, "Reason", "message" * 100)
