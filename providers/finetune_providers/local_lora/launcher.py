"""Starts trainers and answerers: by a fork server that has the libraries loaded, or else as fresh processes."""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import finetune_providers
from finetune_providers.local_lora.options import LocalOptions

logger = logging.getLogger(__name__)
_READY = b"ready\n"
_LOADING_S = 180.0
_PACKAGE = "finetune_providers.local_lora"


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to start.

    Attributes:
        module: "trainer" or "answerer"; its `main` gets the arguments and, as the last, the payload's number.
        arguments: The first arguments.
        payload: A descriptor that the process inherits: the job's lock, or a socket.
        log: The descriptor that standard output and error go to.
        environment: Whole environment.
        cwd: Working folder.
    """

    module: str
    arguments: tuple[str, ...]
    payload: int
    log: int
    environment: Mapping[str, str]
    cwd: Path


def child_environment(options: LocalOptions, credentials: Mapping[str, str]) -> dict[str, str]:
    """Environment of a process that loads models; a hub token travels here and nowhere else."""
    root = str(Path(finetune_providers.__file__).parents[1])
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


def _program(module: str) -> list[str]:
    """Our interpreter on a module. `-P`: a file that lies in the working folder by chance is no library."""
    return [sys.executable, "-P", "-m", f"{_PACKAGE}.{module}"]


class Launcher:
    """One for the whole process: all accounts share the loaded libraries. Its methods block and are thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._fresh: list[subprocess.Popen[bytes]] = []

    def start(self, launch: Launch) -> int:
        """Start a process and return its id.

        Raises:
            OSError: No process can be started.
        """
        with self._lock:
            self._fresh = [process for process in self._fresh if process.poll() is None]
            # Elsewhere system libraries are not made to be forked once they are loaded.
            if sys.platform == "linux":
                try:
                    return self._start_forked(launch)
                except ChildProcessError:
                    self._stop_server()
                    raise
                except OSError as error:
                    logger.warning("the fork server does not answer (%s): starting afresh", error)
                    self._stop_server()
            return self._start_fresh(launch)

    def close(self) -> None:
        """End the fork server, but nothing that it started."""
        with self._lock:
            self._stop_server()

    def _start_forked(self, launch: Launch) -> int:
        for attempt in (1, 2):
            connection = self._connection or self._start_server(launch.environment)
            request = {
                "module": f"{_PACKAGE}.{launch.module}",
                "arguments": launch.arguments,
                "environment": dict(launch.environment),
                "cwd": str(launch.cwd),
            }
            line = json.dumps(request).encode() + b"\n"
            try:
                # A large environment does not fit into the socket at once.
                sent = socket.send_fds(connection, [line], [launch.log, launch.payload])
                connection.sendall(line[sent:])
            except BrokenPipeError:
                # It has ended for lack of work. Nothing was started, so a second attempt starts nothing twice.
                self._stop_server()
                if attempt == 2:
                    raise
            else:
                return self._forked_pid(connection)
        raise BrokenPipeError

    @staticmethod
    def _forked_pid(connection: socket.socket) -> int:
        """The server's answer. Without one nobody knows whether a process was started, so no other way is tried."""
        try:
            return int(connection.recv(64))
        except (OSError, ValueError) as error:
            raise ChildProcessError("the fork server did not say what became of the request") from error

    def _start_server(self, environment: Mapping[str, str]) -> socket.socket:
        ours, theirs = socket.socketpair()
        plain = {name: value for name, value in environment.items() if name != "HF_TOKEN"}
        with theirs:
            self._server = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*_program("forkserver"), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=plain,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
        self._connection = ours
        ours.settimeout(_LOADING_S)
        if ours.recv(len(_READY)) != _READY:
            raise ConnectionError("it ended while loading")
        return ours

    def _stop_server(self) -> None:
        connection, self._connection = self._connection, None
        server, self._server = self._server, None
        if connection is not None:
            connection.close()
        if server is not None:
            with suppress(subprocess.TimeoutExpired):
                server.wait(5)
            server.kill()
            server.wait()

    def _start_fresh(self, launch: Launch) -> int:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*_program(launch.module), *launch.arguments, str(launch.payload)],
            stdin=subprocess.DEVNULL,
            stdout=launch.log,
            stderr=launch.log,
            env=dict(launch.environment),
            cwd=launch.cwd,
            start_new_session=True,
            pass_fds=(launch.payload,),
        )
        self._fresh.append(process)
        return process.pid


launcher = Launcher()
atexit.register(launcher.close)
