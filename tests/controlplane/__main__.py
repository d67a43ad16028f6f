"""The command line: `python -m controlplane up|down|build|status`; it works in `.cache/cluster`."""

import argparse
import os
import sys
import time
from pathlib import Path

from controlplane.binaries import Binaries, ensure_binaries, find_binaries, find_toolchain, pinned_version
from controlplane.errors import ControlPlaneError
from controlplane.plane import ControlPlane, remove_control_plane

_HOME = Path(".cache") / "cluster"
_KUBECONFIG = _HOME / "kubeconfig"


def main() -> int:
    """Does what the command line asks.

    Returns:
        0, or 1 if it failed or, for `status`, if no control plane is ready.
    """
    parser = argparse.ArgumentParser(
        prog="controlplane", description="A real Kubernetes API server for tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help=f"start one in the background and write {_KUBECONFIG}")
    up.add_argument("--crds", type=Path, default=Path("crds"), help="folder of CRDs to apply (default: crds)")
    commands.add_parser("down", help="end it and drop its data")
    commands.add_parser("build", help="find the binaries, or build them once with Go")
    commands.add_parser("status", help="tell whether one is ready")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            return _up(arguments.crds)
        if arguments.command == "down":
            return _down()
        if arguments.command == "build":
            return _build()
        return _status()
    except ControlPlaneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _up(crds: Path) -> int:
    binaries = _binaries()
    running = ControlPlane.open(_HOME, binaries, kubeconfig=_KUBECONFIG)
    if running is not None and running.is_ready():
        print(f"Already running: export KUBECONFIG={_KUBECONFIG.resolve()}")
        return 0
    began = time.monotonic()
    plane = ControlPlane.create(_HOME, binaries, kubeconfig=_KUBECONFIG)
    plane.start(crds)
    print(f"Ready after {time.monotonic() - began:.1f} s: export KUBECONFIG={_KUBECONFIG.resolve()}")
    return 0


def _down() -> int:
    remove_control_plane(_HOME)
    _KUBECONFIG.unlink(missing_ok=True)
    print("Stopped: no control plane is running here")
    return 0


def _build() -> int:
    binaries = _binaries()
    print(
        f"From {binaries.source}: {binaries.kube_apiserver.parent} (Kubernetes {pinned_version()} is pinned)"
    )
    return 0


def _status() -> int:
    binaries = find_binaries(os.environ, find_toolchain(os.environ))
    plane = ControlPlane.open(_HOME, binaries, kubeconfig=_KUBECONFIG) if binaries else None
    if plane is None:
        print("No control plane is running")
        return 1
    for component in plane.components:
        state = "ready" if component.is_ready() else "not ready" if component.is_running() else "not running"
        print(f"{component.name}: {state}, pid {component.pid}, log {component.log}")
    return 0 if plane.is_ready() else 1


def _binaries() -> Binaries:
    return ensure_binaries(notify=lambda message: print(message, flush=True))


if __name__ == "__main__":
    sys.exit(main())
