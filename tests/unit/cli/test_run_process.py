"""`finetune run` as a process that trains real models; it is killed, interrupted and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.finetune_process import (
    jobs_below,
    kill_below,
    processes_below,
    start_finetune,
    trainer_of,
    wait_for,
)
from tests.contract.local_sweep import RATES, TOKEN, config_map, one_of, provider, secret, sweep
from tests.contract.patience import PATIENCE_S
from tests.contract.tiny_model import write_tiny_model

from finetune_operator.resources import FinetuneTrial, TrialPhase, dump_yaml, load_yaml, parse_resource
from finetune_providers.local_lora.jobs import JobFolder

pytestmark = pytest.mark.lora


class Shell:
    """A folder with a manifest, in which a person types `finetune run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / ".finetune" / "colours"
        self.log = folder.with_name("log.txt")
        self._output = folder.with_name("output.json")

    def write(self, *, epochs: int = 30, **settings: Any) -> None:
        """Write the manifest of a sweep with all that it needs."""
        model = write_tiny_model(self.folder.with_name("tiny"))
        space = {**RATES, "epochs": one_of(epochs), "batchSize": one_of(2)}
        manifests = (
            sweep("colours", model, parameters=space, **settings),
            *(provider(jobs=2), secret(), config_map()),
        )
        self.folder.mkdir()
        text = "---\n".join(dump_yaml(manifest) for manifest in manifests)
        (self.folder / "sweep.yaml").write_text(text, "utf-8")

    def start(self) -> subprocess.Popen[bytes]:
        """Type the command."""
        self._output.unlink(missing_ok=True)
        return start_finetune(
            *("run", "sweep.yaml", "-o", "json"), folder=self.folder, output=self._output, log=self.log
        )

    def run(self) -> dict[str, Any]:
        """Type the command, wait for its good end and read what it printed."""
        code = self.start().wait(PATIENCE_S)
        assert code == 0, self.log.read_text("utf-8")
        printed: dict[str, Any] = json.loads(self._output.read_text("utf-8"))
        return printed

    def trials(self) -> list[FinetuneTrial]:
        """The trials as the state folder has them."""
        files = (self.state / "trials").glob("[!.]*.yaml")
        trials = [parse_resource(FinetuneTrial, load_yaml(file.read_text("utf-8"))) for file in files]
        return sorted(trials, key=lambda trial: trial.spec.index)

    def wait_until(self, holds: Callable[[list[FinetuneTrial]], bool], *, what: str) -> list[FinetuneTrial]:
        """Wait until the trials are as wanted."""
        wait_for(lambda: holds(self.trials()), what=f"{what}; {self.log.read_text('utf-8')}")
        return self.trials()

    def job(self, trial: FinetuneTrial) -> JobFolder:
        """The folder of a trial's job, once its trainer has written a checkpoint."""
        assert trial.status.create is not None
        job = jobs_below(self.state / "work")[str(trial.status.create.external_id)]
        wait_for(lambda: job.alive and job.status().saved_step > 0, what=f"a checkpoint of {trial.name}")
        return job

    def files(self) -> dict[Path, tuple[int, bytes]]:
        """Everything in the state folder but its lock, with the times of the last changes."""
        files = [file for file in self.state.rglob("*") if file.is_file() and file.name != ".lock"]
        return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "here")
    yield shell
    kill_below(shell.folder)


def trains(trials: list[FinetuneTrial], index: int) -> bool:
    """Whether the trial of an index trains and all before it have ended."""
    ended = all(trial.terminal for trial in trials[:index])
    return len(trials) > index and ended and trials[index].phase is TrialPhase.TRAINING


def test_a_killed_command_goes_on_where_it_was_and_repeats_nothing(shell: Shell) -> None:
    shell.write(trials=3, method="Bayesian", initial=1)
    first = shell.start()
    before = shell.wait_until(lambda trials: trains(trials, 1), what="the second trial trains")
    trainer = trainer_of(shell.job(before[1]))
    first.kill()
    first.wait(PATIENCE_S)

    printed = shell.run()
    assert (printed["phase"], len(printed["trials"])) == ("Succeeded", 3)
    after = shell.trials()
    assert [trial.spec for trial in after[:2]] == [trial.spec for trial in before]
    assert after[0].status == before[0].status
    assert after[0].status.finished_at is not None
    assert [trial.status.create.attempt for trial in after if trial.status.create] == [1] * 3
    jobs = jobs_below(shell.state / "work")
    assert len(jobs) == 3
    # The trainer outlived the command, and the next one took it over.
    assert before[1].status.create is not None
    assert trainer_of(jobs[str(before[1].status.create.external_id)]) == trainer
    assert not processes_below(shell.folder)

    files = shell.files()
    assert shell.run() == printed
    again = shell.files()
    assert [str(file) for file in files.keys() | again.keys() if files.get(file) != again.get(file)] == []


def test_ctrl_c_stops_in_order_and_leaves_no_process(shell: Shell) -> None:
    # Neither may have ended when the other has begun.
    shell.write(trials=2, parallel=2, method="Random", epochs=80)
    command = shell.start()
    trials = shell.wait_until(
        lambda trials: [trial.phase for trial in trials] == [TrialPhase.TRAINING] * 2, what="both train"
    )
    jobs = [shell.job(trial) for trial in trials]
    # A terminal sends it to the whole process group.
    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(PATIENCE_S) == 130
    assert not processes_below(shell.folder)
    assert [job.status().native_state for job in jobs] == ["Paused", "Paused"]
    assert "run the same command again to go on" in shell.log.read_text("utf-8")
    assert "Traceback" not in shell.log.read_text("utf-8")

    printed = shell.run()
    assert [trial["phase"] for trial in printed["trials"]] == ["Succeeded", "Succeeded"]
    for job in jobs:
        assert "going on from step" in job.log.read_text("utf-8")
    contents = [content for _, content in shell.files().values()]
    assert all(TOKEN.encode() not in content for content in (*contents, shell.log.read_bytes()))
