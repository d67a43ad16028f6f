"""Real `finetune` processes that are born in a tenth of a second, so that they can be killed a thousand times.

A process imports everything once and does nothing else. For each start it forks: the child runs the command as the
console script does, in a session and a folder of its own, and shares nothing that is written with any other. What
is left out is the time for imports, in which no command has done anything yet.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from tests.contract.patience import PATIENCE_S

import finetune_operator
import finetune_providers

ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1
_PRELOADED = (
    "finetune_operator.cli.operator_command",
    "finetune_operator.cli.run_command",
    "finetune_operator.cluster.operator",
    "finetune_operator.lifecycle.engine",
    "finetune_operator.search.bayesian",
    "finetune_providers.openai",
    "finetune_providers.azure_openai",
    "finetune_providers.vertex_ai",
    "finetune_providers.google_ai_studio",
    "finetune_providers.bedrock",
    "finetune_providers.cohere",
    "finetune_providers.local_lora.provider",
    "sklearn.gaussian_process",
)


class Child:
    """A process that was born here.

    Attributes:
        pid: Its process id.
        log: Where its output goes.
    """

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log
        self._handle = os.pidfd_open(pid)
        self._ended = False
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return not self.wait(0.0)

    def wait(self, within_s: float) -> bool:
        """Wait for its end; false where it lives on."""
        if not self._ended:
            ends = select.poll()  # select() takes no handle above 1023
            ends.register(self._handle, select.POLLIN)
            if ends.poll(within_s * 1000):
                self._note_end()
        return self._ended

    def _note_end(self) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                os.close(self._handle)  # a thousand processes die here

    def kill(self) -> bool:
        """SIGKILL, and wait until nothing of it runs any more; false where it had ended before."""
        with self._lock:
            if not self.running:
                return False
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            assert self.wait(PATIENCE_S)
            return True

    def stop(self, within_s: float = 30.0) -> bool:
        """SIGTERM, and a time to end in; false where that did not do."""
        with self._lock:
            if self.running:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._handle, signal.SIGTERM)
        return self.wait(within_s)

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None where it was killed."""
        file = _exit_file(self.log, self.pid)
        return int(file.read_text("ascii")) if file.exists() else None


class Nursery:
    """Where processes are born; used with `with`, at whose end all that live are killed."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._parent: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        packages = [
            str(Path(str(each.__file__)).parents[1]) for each in (finetune_operator, finetune_providers)
        ]
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *packages])
        self._parent = subprocess.Popen(
            [sys.executable, "-c", "from tests.faults.nursery import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "HF_HUB_OFFLINE": "1",
                "COLUMNS": "200",
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            },
        )
        assert self._parent.stdout is not None
        assert self._parent.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
        assert self._parent is not None
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(30.0)
        if self._parent.stdout is not None:
            self._parent.stdout.close()

    def bear(self, *arguments: str, folder: Path, log: Path, limits: dict[str, int] | None = None) -> Child:
        """Start `finetune` with arguments.

        Args:
            *arguments: As on the command line.
            folder: Where it runs.
            log: Where its output goes; is added to.
            limits: Resource limits by their name in `resource`, such as `RLIMIT_AS`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        order = {"arguments": arguments, "folder": str(folder), "log": str(log), "limits": limits or {}}
        with self._lock:
            assert self._parent is not None
            assert self._parent.stdin is not None
            assert self._parent.stdout is not None
            self._parent.stdin.write(json.dumps(order) + "\n")
            self._parent.stdin.flush()
            answer = self._parent.stdout.readline()
        assert answer, "the nursery has ended"
        child = Child(int(answer), log)
        self._children = [*(each for each in self._children if each.running), child]
        return child


def serve() -> None:
    """The process that forks: reads orders and answers with pids, until its input ends."""
    import importlib

    for module in _PRELOADED:
        importlib.import_module(module)
    alone = len(os.listdir("/proc/self/task")) == 1
    assert alone, "a process with threads must not fork"
    # What is there now stays as it is: the children share it and never look through it for garbage.
    gc.collect()
    gc.freeze()
    # Nobody waits for the children, and the kernel forgets them at once.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(order)
        print(pid, flush=True)


def _live(order: dict[str, Any]) -> NoReturn:
    log = Path(order["log"])
    code = 70
    try:
        _settle_in(order, log)
        from finetune_operator.cli import main

        main(order["arguments"], prog_name="finetune")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 (as the interpreter does at its end)
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        _write_exit(log, code)
        os._exit(code)


def _settle_in(order: dict[str, Any], log: Path) -> None:
    import resource

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(
        _PR_SET_PDEATHSIG, signal.SIGKILL
    )  # no test leaves an operator behind, however it ends
    os.setsid()
    os.chdir(order["folder"])
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(out)
    os.close(null)
    for name, value in order["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    _log_in_without_entra()


def _log_in_without_entra() -> None:
    """Microsoft Entra is asked over TLS alone: who logs in there is all that is left out."""
    from tests.fakes.azure_openai_server import AzureOpenAIServer, Identity

    from finetune_providers.azure_openai import provider

    assert callable(provider.credential_of), "it moved: whoever logs in must be replaced where it is used"
    provider.credential_of = lambda config: Identity(AzureOpenAIServer.secret)


def _exit_file(log: Path, pid: int) -> Path:
    return log.with_name(f"{log.name}.{pid}.exit")


def _write_exit(log: Path, code: int) -> None:
    with suppress(OSError):
        _exit_file(log, os.getpid()).write_text(str(code), "ascii")
