"""A real API server, the operator's real process, and a company beside them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.scale.cases import Case, common_manifests, sweep_manifest
from tests.benchmarks.scale.meters import Calls, Usage, calls_of, usage_of
from tests.cluster.operator_account import rbac_for
from tests.contract.finetune_process import _packages, kill_below
from tests.fakes.hosted import HostedCompany
from tests.faults.cluster_api import ClusterApi

from controlplane.access import create_namespace, delete_namespace
from controlplane.kubeconfig import write_token_kubeconfig
from controlplane.plane import ControlPlane
from finetune_operator.cluster.client import SWEEPS, TRIALS

ROOT = Path(__file__).parents[3]
READY_WITHIN_S, ENDS_WITHIN_S = 300.0, 60.0
_LOOK_S = 0.02
_COMMAND = "from finetune_operator.cli import main; main(prog_name='finetune')"

Ask = tuple[int, float, str, str]
"""Account, time, operation and trial of a call to the company."""


class CountingApi(ClusterApi):
    """A person who counts what it asks of the API server, as that would count it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__(plane, namespace)
        self.calls: Calls = Counter()

    def _call(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        parts = path.partition("?")[0].partition(f"/namespaces/{self.namespace}/")[2].split("/")
        if parts[0]:
            self.calls["READ" if method == "GET" else "WRITE", "/".join([parts[0], *parts[2:]])] += 1
        return super()._call(method, path, data, kind)

    def metrics(self) -> str:
        """What the API server counts."""
        with self._lock:
            self.close()  # the server may have closed a connection that was at rest
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context, timeout=60.0
            )
            with closing(connection):
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()

    def items(self, resource: str) -> list[dict[str, Any]]:
        """All objects of a kind, in chunks."""
        path = {"sweeps": SWEEPS, "trials": TRIALS}[resource].path(self.namespace)
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self.call("GET", f"{path}?limit=500" + (f"&continue={token}" if token else ""))
            found += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return found


class Company:
    """The company's process."""

    def __init__(self, case: Case) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.benchmarks.scale.company"),
                *(f"--accounts={case.accounts}", f"--training-s={case.training_s}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{_packages()}"},
        )
        assert self._process.stdout is not None
        self.urls: list[str] = json.loads(self._process.stdout.readline())
        self.asked: list[Ask] = []

    def look(self) -> list[Ask]:
        """All that was asked so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.asked += [
            (number, at, what, trial)
            for number, at, what, trial in json.loads(self._process.stdout.readline())
        ]
        return self.asked

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class World:
    """One namespace with an operator and a company. Used with `with`.

    Attributes:
        api: People's way to the API server.
        company: The company.
        plane: The control plane.
        log: What the operator wrote.
    """

    def __init__(self, plane: ControlPlane, folder: Path, case: Case) -> None:
        self.plane, self.case = plane, case
        self._folder = folder
        self._namespace = create_namespace(plane, "bench")
        self.api = CountingApi(plane, self._namespace)
        self.company = Company(case)
        self.log = folder / "operator.log"
        self._operator: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.plane.kubectl("apply", "-f", "-", stdin=rbac_for(self._namespace))
        account = ("create", "token", "finetune-operator", f"--namespace={self._namespace}", "--duration=8h")
        self._kubeconfig = write_token_kubeconfig(
            self._folder / "operator.kubeconfig",
            self.plane.server,
            authority=self.plane.layout.certificates.authority.public,
            token=self.plane.kubectl(*account).stdout.strip(),
            namespace=self._namespace,
        )
        for manifest in common_manifests(self.case, self.company.urls, HostedCompany.secret):
            self.api.create(manifest)
        return self

    def __exit__(self, *_: object) -> None:
        if self._operator is not None:
            self.stop()
        kill_below(self._folder)
        self.company.close()
        self.api.close()
        delete_namespace(self.plane, self._namespace)

    def start(self) -> float:
        """Start the operator; returns the seconds until it is ready."""
        port = self.plane.layout.ports.api_server - 10_000
        command = (
            *("operator", f"--namespace={self._namespace}", f"--kubeconfig={self._kubeconfig}"),
            *(f"--work-dir={self._folder / 'work'}", f"--liveness=http://127.0.0.1:{port}/healthz"),
        )
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._operator = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{_packages()}",
                    "HOME": str(self._folder),
                    "PATH": "/usr/bin:/bin",
                },
                start_new_session=True,
            )
        print(f"the operator is process {self._operator.pid}", flush=True)
        while not _answers(f"http://127.0.0.1:{port}/readyz"):
            assert self._operator.poll() is None, self.log.read_text("utf-8")[-2000:]
            assert time.monotonic() - began < READY_WITHIN_S
            time.sleep(_LOOK_S)
        return time.monotonic() - began

    def stop(self) -> None:
        """Stop the operator in order."""
        assert self._operator is not None
        self._operator.terminate()
        try:
            self._operator.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._operator.kill()
            self._operator.wait()
        self._operator = None

    def usage(self) -> Usage:
        """What the operator's process has used."""
        assert self._operator is not None
        return usage_of(self._operator.pid)

    def apply(self) -> dict[str, float]:
        """Create all sweeps; returns when each was."""
        created = {}
        for number in range(self.case.sweeps):
            manifest = sweep_manifest(self.case, number)
            self.api.create(manifest)
            created[manifest["metadata"]["name"]] = time.time()
        return created

    def calls(self) -> Calls:
        """What the API server was asked for so far, without what was asked here."""
        return calls_of(self.api.metrics()) - self.api.calls

    def finished(self) -> bool:
        """Whether all sweeps have ended and nothing is held."""
        bought = sum(what == "jobs.create" for _, _, what, _ in self.company.look())
        if bought < self.case.jobs:
            return False
        sweeps = self.api.items("sweeps")
        return all(
            each.get("status", {}).get("phase") == "Succeeded" and not each["metadata"].get("finalizers")
            for each in sweeps
        )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
