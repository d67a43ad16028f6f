"""A job's trainer as a process: started with the job's lock in its hands, signalled only while it holds it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from finetune_providers.local_lora.jobs import JobFolder, write_json
from finetune_providers.local_lora.launcher import Launch, launcher
from finetune_providers.local_lora.records import appended


def start_trainer(job: JobFolder, lock: int, *, environment: Mapping[str, str]) -> None:
    """Start a job's trainer and hand it the lock, which it holds until it ends.

    Args:
        job: The job; its lock is held by the caller.
        lock: The lock's descriptor; the caller closes its own copy afterwards.
        environment: Of the new process.

    Raises:
        OSError: No process could be started.
        DamagedJob: Something else lies in the place of the job's log.
    """
    with appended(job.log) as log:
        launch = Launch(
            module="trainer",
            arguments=(str(job.path),),
            payload=lock,
            log=log.fileno(),
            environment=environment,
            cwd=job.path,
        )
        pid = launcher.start(launch)
    write_json(job.process, {"pid": pid, "started": _start_time(pid)})


def signal_trainer(job: JobFolder, number: signal.Signals) -> None:
    """Signal the job's process group, if the process is still the one that was started for it."""
    try:
        known = json.loads(job.process.read_text("utf-8"))
    except FileNotFoundError:
        return
    pid = int(known["pid"])
    if not job.alive or _start_time(pid) != known["started"]:
        return
    for send in (os.killpg, os.kill):
        try:
            send(pid, number)
        except ProcessLookupError:
            continue  # a process that was born this moment has no group of its own yet
        return


def _start_time(pid: int) -> str:
    """When the process started, in clock ticks since boot; "" where the system has no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
