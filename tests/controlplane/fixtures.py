"""Pytest fixtures over a real control plane.

A conftest imports the ones that its folder's tests use. Each worker of pytest-xdist has a control plane of
its own, so a test may stop parts of it and disturbs nobody else; it has to start them again before it ends.
"""

import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from controlplane.access import (
    Rule,
    create_namespace,
    create_service_account,
    delete_namespace,
    write_service_account_kubeconfig,
)
from controlplane.binaries import Binaries, ensure_binaries
from controlplane.errors import BinariesUnavailableError
from controlplane.plane import ControlPlane

_CRDS = Path(__file__).resolve().parents[2] / "crds"


class Kubectl(Protocol):
    """Runs kubectl; see `ControlPlane.kubectl`."""

    def __call__(
        self,
        *arguments: str,
        kubeconfig: Path | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout_s: float = 120.0,
    ) -> subprocess.CompletedProcess[str]: ...


class ServiceAccountKubeconfig(Protocol):
    """Makes a service account that may do what the rules say, and returns its kubeconfig."""

    def __call__(
        self, rules: Sequence[Rule], *, name: str | None = None, cluster_wide: bool = False
    ) -> Path: ...


@pytest.fixture(scope="session")
def control_plane_binaries(request: pytest.FixtureRequest) -> Binaries:
    """The binaries, built on the first use; a machine that cannot have them skips, and CI fails."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def notify(message: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{message}", flush=True)

    try:
        return ensure_binaries(notify=notify)
    except BinariesUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def control_plane(
    control_plane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A running control plane with the project's CRDs, for the whole session."""
    folder = tmp_path_factory.mktemp("control-plane")
    plane = ControlPlane.create(folder, control_plane_binaries)
    plane.start(_CRDS, guarded=True)
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    """The administrator's kubeconfig."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """The real kubectl, as the administrator unless told otherwise."""
    return control_plane.kubectl


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace for one test."""
    name = create_namespace(control_plane)
    yield name
    delete_namespace(control_plane, name)


@pytest.fixture
def service_account_kubeconfig(
    control_plane: ControlPlane, namespace: str
) -> Iterator[ServiceAccountKubeconfig]:
    """Makes service accounts in the test's namespace; their cluster-wide roles go when the test ends."""
    cluster_roles: list[str] = []

    def make(rules: Sequence[Rule], *, name: str | None = None, cluster_wide: bool = False) -> Path:
        name = name or f"account-{uuid.uuid4().hex[:8]}"
        if cluster_wide:
            cluster_roles.append(f"{namespace}-{name}")
        create_service_account(control_plane, namespace, rules, name=name, cluster_wide=cluster_wide)
        return write_service_account_kubeconfig(control_plane, namespace, name)

    yield make
    for role in cluster_roles:
        control_plane.kubectl(
            "delete", f"clusterrole/{role}", f"clusterrolebinding/{role}", "--ignore-not-found"
        )
