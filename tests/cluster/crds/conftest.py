"""One namespace and one client for all tests of the three kinds, which keep out of each other's way by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes import client, config

from controlplane.access import create_namespace, delete_namespace
from controlplane.plane import ControlPlane
from samples.server import Server


@pytest.fixture(scope="session")
def place(control_plane: ControlPlane) -> Iterator[str]:
    """The namespace."""
    name = create_namespace(control_plane, "crds")
    yield name
    delete_namespace(control_plane, name)


@pytest.fixture(scope="session")
def server(kubeconfig: Path, place: str) -> Iterator[Server]:
    """The API server in that namespace."""
    with config.new_client_from_config(str(kubeconfig)) as api_client:
        yield Server(client.CustomObjectsApi(api_client), place)
