"""A cluster on which the chart is installed, and the operator as its Deployment would start it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.contract.finetune_process import kill_below, start_finetune, wait_for
from tests.contract.patience import PATIENCE_S

from controlplane.access import write_service_account_kubeconfig
from controlplane.plane import ControlPlane
from controlplane.ports import ReservedPort
from gotools.helm_command import CHART, Helm, Values

RELEASE = "finetune-operator"
PREVIOUS = "0.0.9"


def previous_chart(helm: Helm, folder: Path) -> Path:
    """An earlier chart, packaged: an older version, and a CRD that lacks a column."""
    chart = shutil.copytree(CHART, folder / "finetune-operator")
    about = yaml.safe_load((chart / "Chart.yaml").read_text("utf-8"))
    (chart / "Chart.yaml").write_text(
        yaml.safe_dump({**about, "version": PREVIOUS, "appVersion": PREVIOUS}), "utf-8"
    )
    crd = chart / "templates" / "crds" / "finetunesweeps.yaml"
    before, found, rest = crd.read_text("utf-8").partition("    - name: Spent\n")
    assert found
    crd.write_text(before + rest[rest.index("    - name:") :], "utf-8")
    helm("package", str(chart), f"--destination={folder}")
    return folder / f"finetune-operator-{PREVIOUS}.tgz"


@dataclass
class Cluster:
    """A cluster without anything of ours, and helm.

    Attributes:
        plane: The control plane.
        helm: The real helm.
    """

    plane: ControlPlane
    helm: Helm

    def install(self, chart: Path, namespace: str, *flags: str, values: Values | None = None) -> str:
        """Install the chart, and wait until its CRDs are served."""
        where = (f"--namespace={namespace}", *flags)
        said = self.helm(
            "install", RELEASE, str(chart), *where, kubeconfig=self.plane.kubeconfig, values=values or {}
        )
        crds = [f"crd/{plural}.finetune-operator.dev" for plural in ("finetunesweeps", "finetunetrials")]
        self.plane.wait_until_served(*crds)
        return said

    def upgrade(self, chart: Path, namespace: str) -> None:
        """Upgrade the release, with the values that it has."""
        flags = (f"--namespace={namespace}", "--reuse-values")
        self.helm("upgrade", RELEASE, str(chart), *flags, kubeconfig=self.plane.kubeconfig)

    def uninstall(self, namespace: str) -> str:
        """Uninstall the release."""
        return self.helm("uninstall", RELEASE, f"--namespace={namespace}", kubeconfig=self.plane.kubeconfig)

    def get(self, what: str, namespace: str, *names: str) -> Any:
        """An object, or the list of all of a kind."""
        flags = ("--output=json", f"--namespace={namespace}")
        return json.loads(self.plane.kubectl("get", what, *names, *flags).stdout)

    def names(self, what: str, namespace: str) -> set[str]:
        """The names of all objects of a kind."""
        return {each["metadata"]["name"] for each in self.get(what, namespace)["items"]}


class Deployed:
    """The operator, as the Deployment in the cluster would start it: its arguments, its account's token.

    What cannot be on this machine is replaced: the folder of the volume, the port, the pod's own files with the token.
    """

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        """Names the release's namespace and a folder for this machine's files."""
        self._cluster = cluster
        self._namespace = namespace
        self._work_dir = folder / "work"
        self._log = folder / "operator.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = ReservedPort()

    def start(self) -> None:
        """Start it, and wait until the Deployment's probes succeed."""
        pod = self._cluster.get("deployment", self._namespace, RELEASE)["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        port = self._port.number
        replaced = {
            "--work-dir": f"--work-dir={self._work_dir}",
            "--liveness": f"--liveness=http://127.0.0.1:{port}/healthz",
        }
        arguments = [replaced.get(each.partition("=")[0], each) for each in container["args"]]
        account = pod["serviceAccountName"]
        kubeconfig = write_service_account_kubeconfig(self._cluster.plane, self._namespace, account)
        self._process = start_finetune(
            *arguments, f"--kubeconfig={kubeconfig}", folder=self._work_dir, log=self._log
        )
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            address = f"http://127.0.0.1:{port}{container[probe]['httpGet']['path']}"
            wait_for(lambda address=address: self._answers(address), what=f"an answer at {address}")

    def _answers(self, address: str) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text("utf-8")
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.URLError:
            return False

    def stop(self, within_s: float) -> None:
        """What Kubernetes does to a pod; it must end in order and in time."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(within_s) == 0, self._log.read_text("utf-8")
        self._process = None

    def close(self) -> None:
        """End what is left."""
        kill_below(self._work_dir)
        if self._process is not None:
            self._process.wait(PATIENCE_S)
        self._port.release()

    def log_text(self) -> str:
        """Everything that was logged so far."""
        return self._log.read_text("utf-8")
