"""What every other cluster test takes for granted: the server is real, and it can be stopped and started."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.patience import PATIENCE_S

import controlplane
from controlplane.binaries import Binaries, pinned_version
from controlplane.errors import ControlPlaneError
from controlplane.fixtures import Kubectl, ServiceAccountKubeconfig
from controlplane.plane import ControlPlane
from controlplane.processes import Component, kill_recorded, pid_file, recorded_process

READ_CONFIGMAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


def wait_until(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Returns as soon as the condition holds, and fails the test if it never does."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{holds.__name__} did not come true within {within_s} s"
        time.sleep(0.05)


def configmap(name: str, owner: dict[str, str] | None = None) -> str:
    """The manifest of a ConfigMap, perhaps owned by another one."""
    reference = {"apiVersion": "v1", "kind": "ConfigMap"}
    metadata = {"name": name, "ownerReferences": [reference | owner] if owner else []}
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}}
    )


def crd(kind: str) -> str:
    """The manifest of a CustomResourceDefinition whose kind takes anything."""
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "tests.example", "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": f"{plural}.tests.example"}
    return json.dumps(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": spec,
        }
    )


def pids_of(folder: Path) -> list[int]:
    """The pids of a control plane's living processes."""
    found = [recorded_process(file) for file in (folder / "pids").glob("*.json")]
    return [process.pid for process in found if process is not None]


def test_server_has_the_version_that_was_built(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    version = json.loads(kubectl("get", "--raw=/version").stdout)
    if control_plane.layout.binaries.source == "build cache":
        assert version["gitVersion"] == pinned_version()
        assert f"v{version['major']}.{version['minor']}" == pinned_version().rpartition(".")[0]
    client = json.loads(kubectl("version", "--output=json").stdout)
    assert client["serverVersion"]["gitVersion"] == version["gitVersion"]


def test_namespace_has_a_default_service_account(namespace: str, kubectl: Kubectl) -> None:
    def has_account() -> bool:
        return kubectl("get", "serviceaccount", "default", "-n", namespace, check=False).returncode == 0

    wait_until(has_account)


def test_service_account_may_do_what_its_role_grants_and_nothing_else(
    namespace: str, kubectl: Kubectl, service_account_kubeconfig: ServiceAccountKubeconfig
) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=configmap("readable"))
    account = service_account_kubeconfig([READ_CONFIGMAPS])

    read = kubectl("get", "configmap", "readable", "--output=name", kubeconfig=account)
    written = kubectl("create", "-f", "-", kubeconfig=account, stdin=configmap("forbidden"), check=False)
    elsewhere = kubectl("get", "configmaps", "-n", "kube-system", kubeconfig=account, check=False)

    assert read.stdout.strip() == "configmap/readable"
    for refused in (written, elsewhere):
        assert refused.returncode == 1
        assert "(Forbidden)" in refused.stderr
        assert f"system:serviceaccount:{namespace}:account-" in refused.stderr


def test_cluster_wide_service_account_reads_every_namespace(
    kubectl: Kubectl, service_account_kubeconfig: ServiceAccountKubeconfig
) -> None:
    account = service_account_kubeconfig([READ_CONFIGMAPS], cluster_wide=True)
    assert kubectl("get", "configmaps", "--all-namespaces", kubeconfig=account).returncode == 0
    assert "(Forbidden)" in kubectl("get", "secrets", "-A", kubeconfig=account, check=False).stderr


def test_unknown_client_is_refused(control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path) -> None:
    stranger = json.loads(control_plane.kubeconfig.read_text(encoding="utf-8"))
    stranger["users"][0]["user"] = {"token": "not-a-token"}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(stranger), encoding="utf-8")
    refused = kubectl("get", "namespaces", kubeconfig=file, check=False)
    assert refused.returncode == 1
    assert "Unauthorized" in refused.stderr or "must be logged in" in refused.stderr


def test_deleting_an_owner_deletes_its_dependents(namespace: str, kubectl: Kubectl) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=configmap("owner"))
    uid = kubectl("get", "configmap", "owner", "-n", namespace, "-o", "jsonpath={.metadata.uid}").stdout
    child = configmap("child", owner={"name": "owner", "uid": uid})
    kubectl("create", "-n", namespace, "-f", "-", stdin=child)
    kubectl("create", "-n", namespace, "-f", "-", stdin=configmap("bystander"))

    kubectl("delete", "configmap", "owner", "-n", namespace)

    def child_is_gone() -> bool:
        answer = kubectl("get", "configmap", "child", "-n", namespace, "--ignore-not-found", "-o", "name")
        return answer.stdout == ""

    wait_until(child_is_gone)
    assert kubectl("get", "configmap", "bystander", "-n", namespace, "-o", "name").stdout


@pytest.mark.parametrize(
    ("component", "end"),
    [
        pytest.param("api_server", Component.stop, id="API server stopped"),
        pytest.param("api_server", Component.kill, id="API server killed"),
        pytest.param("etcd", Component.kill, id="etcd killed"),
    ],
)
def test_objects_and_address_outlive_a_restart(
    component: str,
    end: Callable[[Component], None],
    control_plane: ControlPlane,
    namespace: str,
    kubectl: Kubectl,
) -> None:
    kubectl("create", "-n", namespace, "-f", "-", stdin=configmap("kept"))
    part: Component = getattr(control_plane, component)
    before = part.pid

    end(part)
    assert not part.is_running()
    assert not control_plane.is_ready()
    part.start()

    assert part.pid not in {None, before}
    # The API server may need a moment to reach an etcd that came back.
    wait_until(control_plane.api_server.is_ready)
    assert (
        kubectl("get", "configmap", "kept", "-n", namespace, "-o", "jsonpath={.data.key}").stdout == "value"
    )


def test_killed_api_server_refuses_connections(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    control_plane.api_server.kill()
    try:
        refused = kubectl("get", "namespaces", check=False)
        assert refused.returncode == 1
        assert "refused" in refused.stderr
    finally:
        control_plane.api_server.start()
    assert kubectl("get", "namespaces").returncode == 0


def test_kubectl_failure_says_what_kubectl_said(kubectl: Kubectl) -> None:
    with pytest.raises(
        ControlPlaneError, match=r'kubectl get namespace nowhere.*namespaces "nowhere" not found'
    ):
        kubectl("get", "namespace", "nowhere")


def test_kubectl_keeps_its_cache_in_the_private_folder(control_plane: ControlPlane, kubectl: Kubectl) -> None:
    kubectl("api-resources")
    assert any((control_plane.folder / "kubectl-cache").iterdir())


def test_etcd_and_api_server_listen_on_loopback_only(control_plane: ControlPlane) -> None:
    for component in control_plane.components:
        process = recorded_process(control_plane.folder / "pids" / f"{component.name}.json")
        assert process is not None
        listening = [c.laddr.ip for c in process.net_connections("tcp") if c.status == "LISTEN"]
        assert listening
        assert set(listening) == {"127.0.0.1"}


def test_dependents_of_a_custom_resource_are_collected_soon_after_the_start(
    control_plane_binaries: Binaries, tmp_path: Path
) -> None:
    crds = tmp_path / "crds"
    crds.mkdir()
    (crds / "widgets.yaml").write_text(crd("Widget"), encoding="utf-8")
    plane = ControlPlane.create(tmp_path / "plane", control_plane_binaries)
    try:
        plane.start(crds, guarded=True)
        widget = {"apiVersion": "tests.example/v1", "kind": "Widget", "metadata": {"name": "owner"}}
        plane.kubectl("create", "-f", "-", stdin=json.dumps(widget))
        uid = plane.kubectl("get", "widget", "owner", "-o", "jsonpath={.metadata.uid}").stdout
        owner = {"apiVersion": "tests.example/v1", "kind": "Widget", "name": "owner", "uid": uid}
        plane.kubectl("create", "-f", "-", stdin=configmap("child", owner=owner))
        plane.kubectl("delete", "widget", "owner")

        def child_is_gone() -> bool:
            return plane.kubectl("get", "configmap", "child", "--ignore-not-found", "-o", "name").stdout == ""

        # Well within the 30 s that a garbage collector takes to learn of a kind that is new to it.
        wait_until(child_is_gone, within_s=25)
    finally:
        plane.stop()
    assert pids_of(plane.folder) == []


def test_refused_crd_fails_the_start_and_leaves_nothing_running(
    control_plane_binaries: Binaries, tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text(crd("Widget").replace("Namespaced", "Nowhere"), encoding="utf-8")
    plane = ControlPlane.create(tmp_path / "plane", control_plane_binaries)
    with pytest.raises(ControlPlaneError, match="Nowhere"):
        plane.start(tmp_path, guarded=True)
    assert pids_of(plane.folder) == []
    assert not (plane.folder / "etcd").exists()


def test_component_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('address already in use'); raise SystemExit(1)"]
    component = Component("etcd", tmp_path, command=command, is_ready=lambda: False)
    with pytest.raises(ControlPlaneError, match=r"(?s)ended while .*etcd\.log.*address already in use"):
        component.start()


def test_component_that_never_serves_is_not_waited_for_forever(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    component = Component("etcd", tmp_path, command=command, is_ready=lambda: False, ready_timeout_s=0.2)
    try:
        with pytest.raises(ControlPlaneError, match="runs but does not serve"):
            component.start()
    finally:
        component.kill()
    assert not component.is_running()


def test_pid_file_of_another_process_is_not_believed(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        file = pid_file(tmp_path, "etcd")
        file.parent.mkdir()
        file.write_text(json.dumps({"pid": stranger.pid, "created": 1.0}), encoding="utf-8")
        kill_recorded(tmp_path)
        assert stranger.poll() is None
        assert not file.exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_processes_end_with_their_owner_even_if_it_is_killed(tmp_path: Path) -> None:
    """The owner is a process of its own that starts a guard and one component, and is then killed."""
    program = """
import sys, time
from pathlib import Path
from controlplane.plane import start_guard
from controlplane.processes import Component
folder = Path(sys.argv[1])
guard = start_guard(folder)
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
Component("etcd", folder, command=sleeper, is_ready=lambda: True).start()
print("started", flush=True)
time.sleep(60)
"""
    search_path = str(Path(controlplane.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": search_path},
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        assert len(pids_of(tmp_path)) == 1
        owner.kill()
    wait_until(lambda: pids_of(tmp_path) == [])
