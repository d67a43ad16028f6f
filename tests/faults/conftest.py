"""Faults are brought about on a real Kubernetes API server, with operators that are real processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults.nursery import Nursery
from tests.faults.world import World

from controlplane.fixtures import control_plane, control_plane_binaries
from controlplane.plane import ControlPlane

__all__ = ["control_plane", "control_plane_binaries"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder `cluster`; the hook sees those of all folders."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where the processes are born."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def world(control_plane: ControlPlane, nursery: Nursery, tmp_path: Path) -> Iterator[World]:
    """A namespace, an operator that is not started yet, and no company."""
    with World(control_plane, nursery, tmp_path) as world:
        yield world


@pytest.fixture
def another_world(
    control_plane: ControlPlane, nursery: Nursery, tmp_path: Path
) -> Iterator[Callable[[], World]]:
    """Makes further worlds."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(World(control_plane, nursery, tmp_path / "another"))
