"""Tools that are written in Go and that tests need as they are: each built once from its pinned module.

A folder here holds `go.mod` and `go.sum`, and either names a tool (`helm`) or has its own `main.go` (`kstatus`, the
library by which Flux tells whether something is ready). `controller-gen` makes at once, beside itself, the CRDs of
the Prometheus Operator out of its Go types, as that project does. Builds lie outside the clone, in the cache that
the control plane uses too, keyed by what goes into them: a changed version is a new build, and a fresh clone builds
nothing.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from controlplane.binaries import Toolchain, cache_root, find_toolchain
from controlplane.errors import BinariesUnavailableError, BuildError

__all__ = ["MONITORING_CRDS", "TOOLS", "build_key", "ensure_tool"]

TOOLS = Path(__file__).parent
_PACKAGES = {
    "controller-gen": "sigs.k8s.io/controller-tools/cmd/controller-gen",
    "helm": "helm.sh/helm/v3/cmd/helm",
    "kstatus": ".",
    "promtool": "github.com/prometheus/prometheus/cmd/promtool",
}
MONITORING_CRDS = "crds"
"""The folder of CRDs beside controller-gen."""
_MONITORING = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
_SOURCES = ("*.go", "go.mod", "go.sum")


def build_key(tool: str, go_version: str, *, tools: Path = TOOLS) -> str:
    """Names a build by its sources, pinned modules, platform and Go version."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()} {_flags(tool, tools)}".encode())
    for pattern in _SOURCES:
        for file in sorted((tools / tool).glob(pattern)):
            digest.update(file.read_bytes())
    return f"{tool}-{digest.hexdigest()[:16]}-{go_version}"


def ensure_tool(
    tool: str, environment: Mapping[str, str] | None = None, *, notify: Callable[[str], None] = lambda _: None
) -> Path:
    """The tool's binary, built on the first use.

    Args:
        tool: A folder beside this file.
        environment: By default that of this process; `PATH`, `XDG_CACHE_HOME` and `HOME` are read from it.
        notify: Told in a sentence that a build begins.

    Raises:
        BinariesUnavailableError: If it was never built here and there is no Go toolchain.
        BuildError: If the build fails.
    """
    environment = os.environ if environment is None else environment
    root = cache_root(environment).parent / "gotools"
    toolchain = find_toolchain(environment)
    pattern = build_key(tool, toolchain.version if toolchain else "*")
    if found := _built(root, pattern, tool):
        return found
    if toolchain is None:
        raise BinariesUnavailableError(
            f"There is no {tool} in {root}. Install Go 1.26 or newer to have it built."
        )
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{tool}.lock"):
        # Another process may have built it while this one waited.
        if found := _built(root, pattern, tool):
            return found
        notify(f"Building {tool} into {root}: about a minute, once")
        _build(tool, toolchain, final=root / pattern, environment=environment)
    return root / pattern / tool


def _built(root: Path, pattern: str, tool: str) -> Path | None:
    return next((folder / tool for folder in sorted(root.glob(pattern)) if (folder / tool).is_file()), None)


def _flags(tool: str, tools: Path = TOOLS) -> list[str]:
    """Flags of `go build`; charts ask helm for its version and for Kubernetes', which it does not know of itself."""
    linker = ["-s", "-w"]
    if tool == "helm":
        modules = (tools / tool / "go.mod").read_text(encoding="utf-8")
        found = (
            re.search(r"helm\.sh/helm/v3 (v\S+)", modules),
            re.search(r"k8s\.io/client-go v0\.(\d+)", modules),
        )
        if found[0] is None or found[1] is None:
            raise BuildError(f"{tools / tool}/go.mod requires no helm.sh/helm/v3 or no k8s.io/client-go")
        package, minor = "helm.sh/helm/v3", found[1].group(1)
        values = {f"{package}/internal/version.version": found[0].group(1)}
        for place in ("pkg/chartutil", "pkg/lint/rules"):
            values |= {f"{package}/{place}.k8sVersionMajor": "1", f"{package}/{place}.k8sVersionMinor": minor}
        linker += [f"-X {name}={value}" for name, value in values.items()]
    # Rules and metrics are checked without the clients of all clouds, which find what to scrape.
    tags = ["-tags=remove_all_sd"] if tool == "promtool" else []
    return ["-mod=readonly", "-trimpath", *tags, f"-ldflags={' '.join(linker)}"]


def _build(tool: str, toolchain: Toolchain, *, final: Path, environment: Mapping[str, str]) -> None:
    """Builds into a folder beside the final one, then renames it: the cache never holds half a build."""
    with tempfile.TemporaryDirectory(prefix=".building-", dir=final.parent) as folder:
        built = Path(folder) / "built"
        command = [str(toolchain.command), "build", *_flags(tool), "-o", str(built / tool), _PACKAGES[tool]]
        settings = {**environment, "CGO_ENABLED": "0", "GOWORK": "off"}
        _call(command, cwd=TOOLS / tool, environment=settings)
        if tool == "controller-gen":
            # It reads the types' sources with the `go` command.
            settings["PATH"] = f"{toolchain.command.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
            out = f"output:crd:dir={built / MONITORING_CRDS}"
            making = [str(built / tool), "crd:crdVersions=v1", f"paths={_MONITORING}", out]
            _call(making, cwd=TOOLS / tool, environment=settings)
        shutil.rmtree(final, ignore_errors=True)
        built.rename(final)


def _call(command: list[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise BuildError(f"`{' '.join(command)}` in {cwd} failed with {done.returncode}:\n{tail}")
