"""Pytest fixtures over the Go tools; a conftest imports those that its folder's tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controlplane.errors import BinariesUnavailableError
from gotools import MONITORING_CRDS, ensure_tool
from gotools.helm_command import Helm
from gotools.kstatus_command import KStatus
from gotools.promtool_command import Promtool


def _tool(name: str) -> Path:
    """A machine that cannot have a tool skips, and CI fails."""
    try:
        return ensure_tool(name)
    except BinariesUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm, with configuration folders of its own."""
    return Helm(_tool("helm"), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def kstatus() -> KStatus:
    """What Flux makes of objects."""
    return KStatus(_tool("kstatus"))


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """What Prometheus says of metrics and rules."""
    return Promtool(_tool("promtool"))


@pytest.fixture(scope="session")
def monitoring_crds() -> Path:
    """A folder with the CRDs of the Prometheus Operator, `monitoring.coreos.com_servicemonitors.yaml` among them."""
    return _tool("controller-gen").parent / MONITORING_CRDS
