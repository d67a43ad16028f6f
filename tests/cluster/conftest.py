"""Every test below this folder talks to a real Kubernetes API server."""

from pathlib import Path

import pytest

from controlplane.fixtures import (
    control_plane,
    control_plane_binaries,
    kubeconfig,
    kubectl,
    namespace,
    service_account_kubeconfig,
)

__all__ = [
    "control_plane",
    "control_plane_binaries",
    "kubeconfig",
    "kubectl",
    "namespace",
    "service_account_kubeconfig",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder `cluster`; the hook sees those of all folders."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.cluster)
