"""The `finetune` command as a process of its own, and the processes that it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from tests.contract.patience import PATIENCE_S

import finetune_operator
import finetune_providers
from finetune_providers.local_lora.jobs import JobFolder

COMMAND = (sys.executable, "-c", "from finetune_operator.cli import main; main(prog_name='finetune')")
_LOOK_S = 0.05


def start_finetune(
    *arguments: str, folder: Path, output: Path | None = None, log: Path
) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own, as a shell does.

    Args:
        *arguments: As on the command line.
        folder: Where it runs; with that, all its processes are found by `processes_below`.
        output: Where standard output goes, by default to the log.
        log: Where standard error goes; is added to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors, (output or log).open("ab") as out:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": _packages(), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
            start_new_session=True,
        )


def _packages() -> str:
    """Where the tested packages were imported from: the process must not find others that are installed."""
    packages = (finetune_operator, finetune_providers)
    return os.pathsep.join(str(Path(str(package.__file__)).parents[1]) for package in packages)


def processes_below(folder: Path) -> dict[int, Path]:
    """Living processes that work in a folder, by pid: a trainer works in its job's folder."""
    root = folder.resolve()
    found: dict[int, Path] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            where = Path(process.cwd())
            if process.status() != psutil.STATUS_ZOMBIE and where.is_relative_to(root):
                found[process.pid] = where
    return found


def kill_below(folder: Path) -> None:
    """End what a test left behind, however it ended."""
    for pid in processes_below(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def jobs_below(work_dir: Path) -> dict[str, JobFolder]:
    """All jobs of the Local providers that work in a folder, by their id."""
    folders = work_dir.glob("providers/*/*/jobs/*/request.json")
    return {file.parent.name: JobFolder(file.parent) for file in folders}


def trainer_of(job: JobFolder) -> tuple[int, str]:
    """Pid and start time of the process that was last started for a job."""
    known = json.loads(job.process.read_text("utf-8"))
    return int(known["pid"]), str(known["started"])


def wait_for(holds: Callable[[], object], *, what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for what another process does.

    Raises:
        TimeoutError: It was not seen in time.
    """
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not seen within {within_s:.0f} s: {what}")
        time.sleep(_LOOK_S)
