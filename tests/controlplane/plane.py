"""One control plane: its three processes, started in order, over one private folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

from controlplane import commands
from controlplane.binaries import Binaries
from controlplane.certificates import certificate_paths, make_certificates
from controlplane.commands import Layout, Ports
from controlplane.errors import ControlPlaneError
from controlplane.kubeconfig import write_certificate_kubeconfig
from controlplane.ports import ReservedPort
from controlplane.processes import Component, kill_recorded

_PORT_NAMES = ("etcd_client", "etcd_peer", "api_server", "controller_manager")
_KUBECTL_TIMEOUT_S = 120.0


class ControlPlane:
    """A Kubernetes control plane on the loopback interface: storage, API and controllers, but no nodes.

    Attributes:
        folder: Private folder with the data, logs, certificates and pid files.
        kubeconfig: The administrator's kubeconfig.
        etcd: The storage.
        api_server: The API server.
        controller_manager: Garbage collection, namespaces, service accounts.
    """

    def __init__(self, layout: Layout, kubeconfig: Path | None = None) -> None:
        """Describes a control plane; `create` and `open` are how to get one.

        Args:
            layout: Where everything lies.
            kubeconfig: Where the administrator's kubeconfig is written, by default into the folder.
        """
        self.layout = layout
        self.folder = layout.folder
        self.kubeconfig = kubeconfig or layout.folder / "kubeconfig"
        self._manager_kubeconfig = layout.folder / "pki" / "kube-controller-manager.kubeconfig"
        self._guard: subprocess.Popen[bytes] | None = None
        self._reserved: tuple[ReservedPort, ...] = ()
        self.etcd = Component(
            "etcd",
            layout.folder,
            command=commands.etcd_command(layout),
            is_ready=partial(commands.etcd_serves, layout),
        )
        self.api_server = Component(
            "kube-apiserver",
            layout.folder,
            command=commands.api_server_command(layout),
            is_ready=partial(commands.api_server_serves, layout),
        )
        self.controller_manager = Component(
            "kube-controller-manager",
            layout.folder,
            command=commands.controller_manager_command(layout, self._manager_kubeconfig),
            is_ready=partial(commands.controller_manager_serves, layout),
        )

    @classmethod
    def create(cls, folder: Path, binaries: Binaries, *, kubeconfig: Path | None = None) -> Self:
        """A new control plane with free ports and new certificates, not yet started.

        Args:
            folder: Private folder; an earlier control plane there is ended and its data dropped.
            binaries: What to start.
            kubeconfig: Where to write the administrator's kubeconfig.
        """
        folder = folder.resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_control_plane(folder)
        certificates = make_certificates(folder / "pki")
        reserved = tuple(ReservedPort() for _ in _PORT_NAMES)
        ports = Ports(**{name: port.number for name, port in zip(_PORT_NAMES, reserved, strict=True)})
        layout = Layout(folder=folder, binaries=binaries, ports=ports, certificates=certificates)
        _ports_file(folder).write_text(json.dumps(layout.ports.as_dict()), encoding="utf-8")
        plane = cls(layout, kubeconfig)
        plane._reserved = reserved
        authority = certificates.authority.public
        write_certificate_kubeconfig(
            plane.kubeconfig, layout.server, authority=authority, client=certificates.admin
        )
        write_certificate_kubeconfig(
            plane._manager_kubeconfig,
            layout.server,
            authority=authority,
            client=certificates.controller_manager,
        )
        return plane

    @classmethod
    def open(cls, folder: Path, binaries: Binaries, *, kubeconfig: Path | None = None) -> Self | None:
        """The control plane that another process created in a folder, or None if there is none."""
        folder = folder.resolve()
        try:
            ports = Ports(**json.loads(_ports_file(folder).read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None
        certificates = certificate_paths(folder / "pki")
        return cls(
            Layout(folder=folder, binaries=binaries, ports=ports, certificates=certificates), kubeconfig
        )

    @property
    def components(self) -> tuple[Component, Component, Component]:
        """The three processes in the order in which they start."""
        return self.etcd, self.api_server, self.controller_manager

    @property
    def server(self) -> str:
        """The API server's address."""
        return self.layout.server

    def is_ready(self) -> bool:
        """Whether all three processes serve."""
        return all(component.is_ready() for component in self.components)

    def start(self, crds: Path | None = None, *, guarded: bool = False) -> None:
        """Starts what does not run and returns once all of it serves; on an error nothing is left running.

        Args:
            crds: Folder of CustomResourceDefinitions. They are applied before the controller manager starts,
                since a running garbage collector takes up to 30 s to learn of a new kind.
            guarded: End the control plane when this process ends, even if it is killed.

        Raises:
            ControlPlaneError: If a process does not come up or a definition is refused.
        """
        with ExitStack() as undo:
            undo.callback(self.stop)
            if guarded:
                self._guard = start_guard(self.folder)
            self.etcd.start()
            self.api_server.start()
            self._apply_crds(crds)
            self.controller_manager.start()
            undo.pop_all()

    def stop(self) -> None:
        """Ends the processes, last started first, and drops the data; the logs stay."""
        for component in reversed(self.components):
            component.stop()
        for port in self._reserved:
            port.release()
        _drop_data(self.folder)
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def kubectl(
        self,
        *arguments: str,
        kubeconfig: Path | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout_s: float = _KUBECTL_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Runs the real kubectl against this control plane.

        Args:
            *arguments: As on the command line.
            kubeconfig: Whose credentials, by default the administrator's.
            stdin: Text for `-f -`.
            check: Raise if kubectl exits with anything but 0.
            timeout_s: Seconds until kubectl is ended.

        Returns:
            Exit status, standard output and standard error.

        Raises:
            ControlPlaneError: If `check` is set and kubectl fails; it holds what kubectl said.
        """
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
            "KUBECACHEDIR": str(self.folder / "kubectl-cache"),
        }
        done = subprocess.run(
            [str(self.layout.binaries.kubectl), *arguments],
            input=stdin if stdin is not None else "",
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise ControlPlaneError(
                f"`kubectl {' '.join(arguments)}` failed with {done.returncode}: {done.stderr.strip()}"
            )
        return done

    def audited(self) -> list[dict[str, Any]]:
        """What service accounts asked of the API server so far, as its own record has it."""
        return whole_records(self.layout.audit_log)

    def wait_until_served(self, *crds: str, timeout_s: float = _KUBECTL_TIMEOUT_S) -> None:
        """Waits until the API server serves the kinds of CustomResourceDefinitions.

        `kubectl wait` will not do: a definition that has just been created has `conditions: null`, which it
        refuses as no list.

        Args:
            *crds: What `kubectl get` is to be given for each: `crd/NAME` or `--filename=FILE`.
            timeout_s: Seconds until this is given up.

        Raises:
            ControlPlaneError: If one of them is not there, or not served in time.
        """
        until = time.monotonic() + timeout_s
        while not all(is_served(crd) for crd in self._definitions(crds)):
            if time.monotonic() > until:
                raise ControlPlaneError(f"not served after {timeout_s:.0f} s: {', '.join(crds)}")
            time.sleep(0.1)

    def _definitions(self, crds: tuple[str, ...]) -> list[dict[str, Any]]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "--output=json", *crds).stdout)
        items: list[dict[str, Any]] = found["items"] if found["kind"] == "List" else [found]
        return items

    def _apply_crds(self, folder: Path | None) -> None:
        files = sorted(folder.glob("*.yaml")) if folder is not None else []
        if not files:
            return
        names = [f"--filename={file.resolve()}" for file in files]
        self.kubectl("apply", "--server-side", *names)
        self.wait_until_served(*names)


def is_served(crd: dict[str, Any]) -> bool:
    """Whether the API server says of a CustomResourceDefinition that its kind can be used."""
    conditions = crd.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def whole_records(log: Path) -> list[dict[str, Any]]:
    """The JSON objects of a log that has one a line, without the last line where it is only half written yet."""
    whole, _, _ = log.read_text("utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.split("\n") if line]


def remove_control_plane(folder: Path) -> None:
    """Ends whatever control plane a folder holds and drops its data; needs no binaries, and the logs stay."""
    kill_recorded(folder)
    _drop_data(folder)


def _ports_file(folder: Path) -> Path:
    return folder / "ports.json"


def _drop_data(folder: Path) -> None:
    for name in ("etcd", "pki", "api-server", "controller-manager", "kubectl-cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    _ports_file(folder).unlink(missing_ok=True)


def start_guard(folder: Path) -> subprocess.Popen[bytes]:
    """Starts the watcher that ends a folder's processes once its standard input is closed."""
    search_path = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "controlplane.guard", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": search_path},
        start_new_session=True,
    )
