"""Starting and stopping the processes that load models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import finetune_providers.base
from finetune_providers.local_lora.jobs import JobFolder, write_json
from finetune_providers.local_lora.options import LocalOptions


def child_environment(options: LocalOptions, credentials: Mapping[str, str]) -> dict[str, str]:
    """Environment of a process that loads models; a hub token travels here and nowhere else."""
    root = str(Path(finetune_providers.base.__file__).parents[1])
    path = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root,
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(options.threads),
        "MKL_NUM_THREADS": str(options.threads),
    }
    if "HF_TOKEN" in credentials:
        environment["HF_TOKEN"] = credentials["HF_TOKEN"]
    return environment


def start_trainer(job: JobFolder, lock: int, *, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a job's trainer and hand it the lock, which it holds until it ends.

    Args:
        job: The job; its lock is held by the caller.
        lock: The lock's descriptor; the caller closes its own copy afterwards.
        environment: Of the new process.

    Raises:
        OSError: No process could be started.
    """
    with job.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "finetune_providers.local_lora.trainer", str(job.path), str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=job.path,
            start_new_session=True,
            pass_fds=(lock,),
        )
    write_json(job.process, {"pid": process.pid, "started": _start_time(process.pid)})
    return process


def signal_trainer(job: JobFolder, number: signal.Signals) -> None:
    """Signal the job's process group, if the process is still the one that was started for it."""
    try:
        known = json.loads(job.process.read_text("utf-8"))
    except FileNotFoundError:
        return
    pid = int(known["pid"])
    if not job.alive or _start_time(pid) != known["started"]:
        return
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _start_time(pid: int) -> str:
    """When the process started, in clock ticks since boot; "" where the system has no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
