"""`finetune run`: how it ends, what it prints, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_contract import MANIFESTS, SECRET_VALUES, SWEEP_MANIFEST
from tests.unit.cli.conftest import NOW, Cli, add_trial, set_status, succeed

from finetune_operator.cli.seams import Pace
from finetune_operator.folder import FolderStore
from finetune_operator.lifecycle.store import StoreUnavailable
from finetune_operator.resources import Condition, TrialPhase, TrialStatus

STATE = Path(".finetune/support")


def stalled(message: str) -> tuple[Condition, ...]:
    """The conditions of a sweep that waits for a person."""
    return (
        Condition(type="Accepted", status="True", reason="Valid"),
        Condition(type="Ready", status="False", reason="TrialStalled", message=message),
        Condition(type="Stalled", status="True", reason="TrialStalled", message=message),
    )


def test_a_sweep_that_succeeds_says_what_it_found(cli: Cli) -> None:
    cli.script = succeed
    result = cli("run", "sweep.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Sweep support: Succeeded. the goal of 0.8 is met" in result.stdout
    assert "Best trial:  support-1, small/smollm2-135m at provider local" in result.stdout
    assert "Model:       ft:smollm2:1" in result.stdout
    assert "Score:       accuracy 0.8125 (base model 0.5, better by 0.3125)" in result.stdout
    assert "Time:        10m00s" in result.stdout
    assert f"State:       {STATE}" in result.stdout
    assert [str(key) for key in cli.engines[0].enqueued] == ["FinetuneSweep default/support"]


def test_without_a_terminal_the_course_is_told_in_lines(cli: Cli) -> None:
    async def step_by_step(store: FolderStore, _: asyncio.Event) -> None:
        trial = await add_trial(store, 0, phase=TrialPhase.TRAINING)
        await asyncio.sleep(0.05)
        done = TrialStatus(phase=TrialPhase.SUCCEEDED, score=0.7)
        await store.write_trial_status(trial, done)
        await set_status(store, "Succeeded")

    cli.script = step_by_step
    lines = cli("run", "sweep.yaml").stdout.splitlines()
    assert lines[0] == (
        "12:10:00 trial support-0 Training, smollm2-135m batchSize=8 epochs=2 learningRate=1e-05"
    )
    assert "12:10:00 trial support-0 Succeeded, score 0.7" in lines
    assert "12:10:00 sweep support Succeeded" in lines


def test_json_is_all_that_stands_on_standard_output(cli: Cli) -> None:
    cli.script = succeed
    result = cli("run", "sweep.yaml", "-o", "json")
    shown = json.loads(result.stdout)
    assert list(shown) == [
        "sweep", "namespace", "phase", "message", "elapsedSeconds", "state", "objective", "cost", "best", "trials",
    ]  # fmt: skip
    assert (shown["sweep"], shown["phase"], shown["cost"]) == ("support", "Succeeded", None)
    assert shown["elapsedSeconds"] == 600
    assert shown["best"]["fineTunedModel"] == "ft:smollm2:1"
    assert shown["best"]["baseScore"] == 0.5
    assert shown["trials"][0] == {
        "name": "support-0",
        "index": 0,
        "candidate": "small",
        "provider": "local",
        "baseModel": "smollm2-135m",
        "hyperparameters": {"epochs": 2, "learningRate": 1e-5, "batchSize": "8"},
        "origin": None,
        "repeatOf": None,
        "phase": "Failed",
        "reason": None,
        "message": "the provider refused the file",
        "score": None,
        "value": None,
        "seconds": None,
        "cost": None,
        "fineTunedModel": None,
    }
    assert "trial support-0 Failed" in result.stderr


def test_a_finished_sweep_ends_at_once_when_it_is_run_again(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    again = cli("run", "sweep.yaml", "-o", "json")
    assert (again.exit_code, again.stderr) == (0, "")
    assert json.loads(again.stdout)["best"]["trial"] == "support-1"
    assert len(cli.engines) == 1


def test_a_finished_sweep_goes_on_when_its_limits_are_raised(cli: Cli, manifest: dict[str, Any]) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    manifest["spec"]["limits"]["maxTrials"] = 50
    cli.write(manifest)

    async def finish(store: FolderStore, _: asyncio.Event) -> None:
        await set_status(store, "Succeeded")

    cli.script = finish
    assert cli("run", "sweep.yaml").exit_code == 0
    assert len(cli.engines) == 2


def test_a_failed_sweep_has_its_own_exit_code(cli: Cli) -> None:
    async def fail(store: FolderStore, _: asyncio.Event) -> None:
        failed = Condition(type="Ready", status="False", reason="TooManyFailures", message="4 trials failed")
        await set_status(store, "Failed", failed)

    cli.script = fail
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 3
    assert "Sweep support: Failed. 4 trials failed" in result.stdout


def test_the_finalizer_is_waited_for(cli: Cli) -> None:
    released: list[bool] = []

    async def finish(store: FolderStore, _: asyncio.Event) -> None:
        await store.add_finalizer(store.sweep)
        await set_status(store, "Succeeded")
        await asyncio.sleep(0.05)
        released.append(True)
        await store.remove_finalizer(store.sweep)

    cli.script = finish
    assert cli("run", "sweep.yaml").exit_code == 0
    assert released == [True]


def test_a_stalled_sweep_says_what_to_do(cli: Cli) -> None:
    async def stall(store: FolderStore, _: asyncio.Event) -> None:
        await add_trial(store, 0, phase=TrialPhase.STALLED)
        await set_status(store, "Searching", *stalled("trial support-0 needs a person: annotate it"))

    cli.script = stall
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 4
    assert "needs a person: annotate it" in result.stderr
    assert f"{STATE}/trials/support-0.yaml" in result.stderr


def test_what_an_earlier_process_found_stalled_is_looked_at_again(cli: Cli) -> None:
    async def stall(store: FolderStore, _: asyncio.Event) -> None:
        await set_status(store, "Searching", *stalled("the output was refused"))

    async def find_it_resolved(store: FolderStore, _: asyncio.Event) -> None:
        assert store.sweep.status.condition("Stalled") is None
        await asyncio.sleep(0.05)
        await set_status(store, "Succeeded")

    cli.script = stall
    assert cli("run", "sweep.yaml").exit_code == 4
    cli.script = find_it_resolved
    assert cli("run", "sweep.yaml").exit_code == 0


def test_a_stall_that_passes_by_itself_ends_nothing(cli: Cli) -> None:
    async def stall_for_a_moment(store: FolderStore, _: asyncio.Event) -> None:
        await set_status(store, "Searching", *stalled("for a moment"))
        await asyncio.sleep(0.05)
        await set_status(store, "Succeeded")

    cli.script = stall_for_a_moment
    assert cli("run", "sweep.yaml", pace=Pace(refresh_s=0.01, settle_s=60.0)).exit_code == 0


def test_a_suspended_sweep_is_not_waited_for(cli: Cli, manifest: dict[str, Any]) -> None:
    async def suspend(store: FolderStore, _: asyncio.Event) -> None:
        await set_status(store, "Suspended")

    manifest["spec"]["suspend"] = True
    cli.write(manifest)
    cli.script = suspend
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 4
    assert "set spec.suspend to false" in result.stderr


def test_a_sweep_that_the_engine_refuses_exits_as_a_wrong_manifest(cli: Cli) -> None:
    message = "spec.candidates[0].baseModels[0]: cannot be fine-tuned"

    async def refuse(store: FolderStore, _: asyncio.Event) -> None:
        conditions = (
            Condition(type="Accepted", status="False", reason="InvalidSpec", message=message),
            Condition(type="Ready", status="False", reason="InvalidSpec", message=message),
            Condition(type="Stalled", status="True", reason="InvalidSpec", message=message),
        )
        await set_status(store, "Pending", *conditions)

    cli.script = refuse
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_first_interrupt_stops_in_order(cli: Cli) -> None:
    paused: list[bool] = []

    async def work(store: FolderStore, stop: asyncio.Event) -> None:
        await add_trial(store, 0, phase=TrialPhase.TRAINING)
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        await asyncio.sleep(0.05)
        paused.append(True)

    cli.script = work
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 130
    assert paused == [True]
    assert "press Ctrl-C again to quit at once" in result.stdout
    assert result.stderr == "Interrupted: run the same command again to go on.\n"
    assert cli.exits == []

    async def find_the_trial(store: FolderStore, _: asyncio.Event) -> None:
        (trial,) = await store.list_trials(store.sweep_key)
        assert trial.phase is TrialPhase.TRAINING
        await set_status(store, "Succeeded")

    cli.script = find_the_trial
    assert cli("run", "sweep.yaml").exit_code == 0


def test_the_second_interrupt_quits_at_once(cli: Cli) -> None:
    async def never_ready_to_stop(store: FolderStore, stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await quit_at_once.wait()

    def hard_exit(code: int) -> None:
        cli.exits.append(code)
        quit_at_once.set()

    quit_at_once = asyncio.Event()
    cli.script = never_ready_to_stop
    cli("run", "sweep.yaml", hard_exit=hard_exit)
    assert cli.exits == [130]


def test_a_termination_is_an_interrupt(cli: Cli) -> None:
    async def work(store: FolderStore, stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    cli.script = work
    assert cli("run", "sweep.yaml").exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_engine_that_breaks_is_an_unexpected_error_without_traceback(cli: Cli) -> None:
    async def break_down(store: FolderStore, stop: asyncio.Event) -> None:
        raise ZeroDivisionError("of all things")

    cli.script = break_down
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 1
    assert result.stderr == "Unexpected error: ZeroDivisionError: of all things (--debug shows where)\n"
    debugged = cli("--debug", "run", "sweep.yaml")
    assert isinstance(debugged.exception, ZeroDivisionError)


def test_a_full_disk_is_told_in_a_sentence(cli: Cli) -> None:
    async def fill_the_disk(store: FolderStore, stop: asyncio.Event) -> None:
        raise StoreUnavailable("sweep.yaml could not be written: No space left on device")

    cli.script = fill_the_disk
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 1
    assert result.stderr == "Error: sweep.yaml could not be written: No space left on device\n"


def test_the_folder_is_free_again_after_an_error(cli: Cli) -> None:
    async def break_down(store: FolderStore, stop: asyncio.Event) -> None:
        raise ZeroDivisionError

    cli.script = break_down
    cli("run", "sweep.yaml")
    with FolderStore.open(STATE, MANIFESTS, clock=lambda: NOW) as store:
        assert store.sweep.name == "support"


def test_a_folder_in_use_is_told_with_the_process(cli: Cli) -> None:
    with FolderStore.open(STATE, MANIFESTS, clock=lambda: NOW):
        result = cli("run", "sweep.yaml")
    assert result.exit_code == 1
    assert f"in use by process {os.getpid()}" in result.stderr


def test_the_state_goes_where_it_is_told_to(cli: Cli) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml", "--state", "deep/down")
    assert (cli.folder / "deep" / "down" / "sweep.yaml").exists()
    assert not (cli.folder / ".finetune").exists()


def test_a_manifest_comes_from_standard_input_too(cli: Cli) -> None:
    cli.script = succeed
    text = (cli.folder / "sweep.yaml").read_text()
    assert cli("run", "-", stdin=text).exit_code == 0


def test_every_problem_of_a_manifest_is_listed(cli: Cli, manifest: dict[str, Any]) -> None:
    manifest["spec"]["limits"] = {"maxTrials": 0}
    manifest["spec"]["supsend"] = True
    cli.write(manifest)
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 2
    head, first, second = result.stderr.splitlines()
    assert head == "The manifest was refused:"
    assert first.startswith("  spec.limits.maxTrials: ")
    assert second.startswith("  spec.supsend: unknown field")
    assert not (cli.folder / ".finetune").exists()


def test_a_changed_immutable_field_is_refused(cli: Cli, manifest: dict[str, Any]) -> None:
    cli.script = succeed
    cli("run", "sweep.yaml")
    manifest["spec"]["objective"]["goal"] = 0.5
    cli.write(manifest)
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 2
    assert "spec.objective: is immutable once the sweep exists: use another name" in result.stderr


@pytest.mark.parametrize("text", ["kind: {a", "kind: 'x\nstringData: {token: s3cret", "a: b: c"])
def test_a_file_that_is_not_yaml_is_named_with_its_line(cli: Cli, text: str) -> None:
    (cli.folder / "broken.yaml").write_text(f"# a comment\n{text}\n")
    result = cli("run", "sweep.yaml", "broken.yaml")
    assert result.exit_code == 2
    assert "broken.yaml:" in result.stderr
    assert "is not YAML: " in result.stderr
    assert "s3cret" not in result.output


def test_a_file_that_is_not_there_is_wrong_usage(cli: Cli) -> None:
    result = cli("run", "missing.yaml")
    assert result.exit_code == 2
    assert "missing.yaml" in result.stderr
    assert cli("run").exit_code == 2


def test_a_name_cannot_lead_the_state_elsewhere(cli: Cli, manifest: dict[str, Any]) -> None:
    manifest["metadata"]["name"] = "../../etc"
    cli.write(manifest)
    result = cli("run", "sweep.yaml")
    assert result.exit_code == 2
    assert "  metadata.name: " in result.stderr
    assert sorted(path.name for path in cli.folder.iterdir()) == ["sweep.yaml"]


def test_no_secret_is_shown_or_left_behind(cli: Cli) -> None:
    async def break_down(store: FolderStore, stop: asyncio.Event) -> None:
        assert await store.get_secret("default", "local-credentials") == SECRET_VALUES
        raise ZeroDivisionError

    cli.script = break_down
    result = cli("--debug", "run", "sweep.yaml")
    assert SECRET_VALUES["token"] not in result.output
    left = b"".join(path.read_bytes() for path in STATE.rglob("*") if path.is_file())
    assert SECRET_VALUES["token"].encode() not in left


def test_the_version_and_help_are_given(cli: Cli) -> None:
    assert cli("--version").stdout == "finetune, version 0.1.0\n"
    for command in ("run", "plan", "report", "operator"):
        shown = cli(command, "--help").stdout
        assert "Examples:" in shown
        # The operator serves many sweeps: its exit code tells of none.
        assert ("130  interrupted" in shown) is (command != "operator")


def test_the_sweeps_manifest_stays_as_it_was(cli: Cli) -> None:
    before = (cli.folder / "sweep.yaml").read_bytes()
    cli.script = succeed
    cli("run", "sweep.yaml")
    assert (cli.folder / "sweep.yaml").read_bytes() == before
    assert SWEEP_MANIFEST["metadata"] == {"name": "support"}
