"""Starts and ends one process of the control plane, and knows it again by its pid file.

A pid file holds the time at which the process was created beside its pid, so that a process which happens to
have got the same pid later is never taken for ours, and never ended.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from controlplane.errors import ControlPlaneError

_POLL_S = 0.05
_STOP_TIMEOUT_S = 20.0
_TAIL_LINES = 15


class Component:
    """One process: etcd, the API server or the controller manager.

    It may be stopped, killed and started again at any time; it keeps its ports and its data.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        ready_timeout_s: float = 120.0,
    ) -> None:
        """Describes the process and starts nothing.

        Args:
            name: Names the log and the pid file.
            folder: The control plane's private folder.
            command: The program and its flags.
            is_ready: Asks the process whether it serves; must answer False rather than raise while it starts.
            ready_timeout_s: How long a start may take.
        """
        self.name = name
        self.log = folder / "logs" / f"{name}.log"
        self._folder = folder
        self._pid_file = pid_file(folder, name)
        self._command = list(command)
        self._is_ready = is_ready
        self._ready_timeout_s = ready_timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the running process, or None."""
        process = self._process()
        return None if process is None else process.pid

    def is_running(self) -> bool:
        """Whether the process lives, ready or not."""
        return self._process() is not None

    def is_ready(self) -> bool:
        """Whether the process lives and serves."""
        return self.is_running() and self._is_ready()

    def start(self) -> None:
        """Starts the process if it does not run, and returns once it serves.

        Raises:
            ControlPlaneError: If it ends or does not serve in time; the message shows the end of its log.
        """
        if not self.is_running():
            self._spawn()
        deadline = time.monotonic() + self._ready_timeout_s
        while not self.is_ready():
            if not self.is_running():
                raise ControlPlaneError(f"{self.name} ended while it was starting. {self.log_tail()}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(
                    f"{self.name} runs but does not serve within {self._ready_timeout_s:.0f} s. "
                    f"{self.log_tail()}"
                )
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Asks the process to end (SIGTERM) and kills it if it does not; no error if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process at once (SIGKILL), as a crash or a lost node would."""
        self._end(signal.SIGKILL)

    def log_tail(self) -> str:
        """A sentence that names the log, followed by its last lines."""
        if not self.log.exists():
            return f"There is no log: {self.log}"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"Its log is {self.log}; the last lines:", *(f"    {line}" for line in lines)])

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        # Nothing of the caller's environment (credentials, proxies) is for these processes.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._folder)}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        created = psutil.Process(self._child.pid).create_time()
        self._pid_file.write_text(json.dumps({"pid": self._child.pid, "created": created}), encoding="utf-8")

    def _process(self) -> psutil.Process | None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        return recorded_process(self._pid_file)

    def _end(self, number: signal.Signals) -> None:
        process = self._process()
        if process is not None:
            _signal_and_wait(process, number)
        if self._child is not None:
            self._child.wait()
            self._child = None
        self._pid_file.unlink(missing_ok=True)


def pid_file(folder: Path, name: str) -> Path:
    """Where the pid of a control plane's process is written."""
    return folder / "pids" / f"{name}.json"


def recorded_process(file: Path) -> psutil.Process | None:
    """The living process that a pid file names, or None if it has ended or if the pid is another's by now."""
    try:
        record: Mapping[str, float] = json.loads(file.read_text(encoding="utf-8"))
        process = psutil.Process(int(record["pid"]))
        is_ours = (
            abs(process.create_time() - record["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
        )
    except (FileNotFoundError, json.JSONDecodeError, psutil.NoSuchProcess):
        return None
    return process if is_ours else None


def kill_recorded(folder: Path) -> None:
    """Kills every process whose pid file lies in a control plane's folder."""
    for file in sorted((folder / "pids").glob("*.json")):
        process = recorded_process(file)
        if process is not None:
            _signal_and_wait(process, signal.SIGKILL)
        file.unlink(missing_ok=True)


def _signal_and_wait(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
        if not _has_ended(process, _STOP_TIMEOUT_S):
            process.kill()
            _has_ended(process, _STOP_TIMEOUT_S)
    except psutil.NoSuchProcess:
        return


def _has_ended(process: psutil.Process, within_s: float) -> bool:
    """Waits for a process that need not be a child; a zombie that nobody reaps has ended, too."""
    deadline = time.monotonic() + within_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S / 5)
    return True
