"""Finds the control plane's binaries, or builds them once with Go.

Places, in this order: the folder that `KUBEBUILDER_ASSETS` names, the build cache, `PATH`, and a build from
the pinned Go modules in `tools/`. A place counts only if it has all that a control plane consists of, because
versions that were not built for each other fail in ways that look like a bug of the operator.

The cache lies outside the clone, so that a fresh clone on the same machine builds nothing.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from controlplane.errors import BinariesUnavailableError, BuildError

TOOLS = Path(__file__).parent / "tools"
PLANE_NAMES = ("etcd", "kube-apiserver", "kube-controller-manager")
ALL_NAMES = (*PLANE_NAMES, "kubectl")
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where each binary lies, and which of the places it was found in."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    source: str


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The Go command and its version, for example `go1.26.8`."""

    command: Path
    version: str


def find_toolchain(environment: Mapping[str, str]) -> Toolchain | None:
    """The Go toolchain on the path, or None where there is none or where it does not answer."""
    command = shutil.which("go", path=environment.get("PATH", ""))
    if command is None:
        return None
    answer = subprocess.run(
        [command, "env", "GOVERSION"], cwd=TOOLS / "kubernetes", capture_output=True, text=True, check=False
    )
    if answer.returncode != 0 or not answer.stdout.strip():
        return None
    return Toolchain(command=Path(command), version=answer.stdout.strip())


def pinned_version(tools: Path = TOOLS) -> str:
    """The Kubernetes version that the Go modules pin, for example `v1.36.3`."""
    text = (tools / "kubernetes" / "go.mod").read_text(encoding="utf-8")
    match = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v\d+\.\d+\.\d+)", text, re.MULTILINE)
    if match is None:
        raise BuildError(f"{tools}/kubernetes/go.mod requires no k8s.io/kubernetes vX.Y.Z")
    return match.group(1)


def cache_root(environment: Mapping[str, str]) -> Path:
    """The folder of all builds, `finetune-operator/controlplane` in the user's cache folder."""
    base = environment.get("XDG_CACHE_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".cache"
    )
    return Path(base) / "finetune-operator" / "controlplane"


def build_key(go_version: str, tools: Path = TOOLS) -> str:
    """Names a build by what goes into it: the pinned modules, the platform, this recipe, the Go version."""
    digest = hashlib.sha256()
    for module in ("etcd", "kubernetes"):
        for name in ("go.mod", "go.sum"):
            digest.update((tools / module / name).read_bytes())
    digest.update(f"{platform.system()} {platform.machine()} {_build_flags('v0.0.0')}".encode())
    return f"{digest.hexdigest()[:16]}-{go_version}"


def find_binaries(
    environment: Mapping[str, str], toolchain: Toolchain | None, *, tools: Path = TOOLS
) -> Binaries | None:
    """Looks in the places that need no build.

    Args:
        environment: `KUBEBUILDER_ASSETS`, `PATH`, `XDG_CACHE_HOME` and `HOME` are read from it.
        toolchain: The Go toolchain, whose version is part of the cache's key. Without one a cached build of
            the same modules by any version of Go is taken.
        tools: The folder with the pinned Go modules.

    Returns:
        The binaries, or None if no place has all of them.
    """
    path = environment.get("PATH", "")
    assets = environment.get("KUBEBUILDER_ASSETS")
    if assets and (found := _all_in(assets, kubectl_path=path, source="KUBEBUILDER_ASSETS")):
        return found
    pattern = build_key(toolchain.version if toolchain else "*", tools)
    for folder in sorted(cache_root(environment).glob(pattern), reverse=True):
        if found := _all_in(str(folder), kubectl_path="", source="build cache"):
            return found
    return _all_in(path, kubectl_path=path, source="PATH")


def ensure_binaries(
    environment: Mapping[str, str] | None = None, *, notify: Callable[[str], None] = lambda _: None
) -> Binaries:
    """Finds the binaries, and builds them where no place has them.

    Args:
        environment: By default that of this process.
        notify: Told in a sentence that a build begins, since that takes minutes.

    Raises:
        BinariesUnavailableError: If they are nowhere and there is no Go toolchain.
        BuildError: If the build fails.
    """
    environment = os.environ if environment is None else environment
    toolchain = find_toolchain(environment)
    if found := find_binaries(environment, toolchain):
        return found
    if toolchain is None:
        raise BinariesUnavailableError(
            f"No folder has all of {', '.join(ALL_NAMES)}. Looked in KUBEBUILDER_ASSETS "
            f"({environment.get('KUBEBUILDER_ASSETS') or 'not set'}), {cache_root(environment)} and PATH. "
            "Install Go 1.26 or newer to have them built once, or name a folder in KUBEBUILDER_ASSETS."
        )
    root = cache_root(environment)
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / "build.lock"):
        # Another process may have built them while this one waited for the lock.
        if found := find_binaries(environment, toolchain):
            return found
        notify(f"Building Kubernetes {pinned_version()} and etcd into {root}: about 10 CPU minutes, once")
        _build(toolchain, root, environment)
    if found := find_binaries(environment, toolchain):
        return found
    raise BuildError(
        f"The build in {root} ended well but left no {', '.join(ALL_NAMES)}; remove {root} and retry"
    )


def _all_in(path: str, *, kubectl_path: str, source: str) -> Binaries | None:
    """All binaries from one search path; kubectl alone, which is only a client, may come from another."""
    found = {name: shutil.which(name, path=path) for name in ALL_NAMES}
    found["kubectl"] = found["kubectl"] or shutil.which("kubectl", path=kubectl_path)
    paths = [Path(file) for name in ALL_NAMES if (file := found[name])]
    if len(paths) < len(ALL_NAMES):
        return None
    etcd, api_server, controller_manager, kubectl = paths
    return Binaries(
        etcd=etcd,
        kube_apiserver=api_server,
        kube_controller_manager=controller_manager,
        kubectl=kubectl,
        source=source,
    )


def _build_flags(version: str) -> list[str]:
    """Flags of `go build`; clients read the version to decide what the server can do."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    linker = ["-s", "-w", *(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in values.items())]
    return ["-mod=readonly", "-trimpath", f"-ldflags={' '.join(linker)}"]


def _build(toolchain: Toolchain, root: Path, environment: Mapping[str, str]) -> None:
    """Builds into a folder beside the final one, then renames it: the cache never holds half a build."""
    for leftover in root.glob(".building-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        flags = _build_flags(pinned_version())
        _go_build(
            toolchain, "kubernetes", [*flags, "-o", f"{folder}{os.sep}", "tool"], environment=environment
        )
        etcd = ["-o", str(folder / "etcd"), "go.etcd.io/etcd/server/v3"]
        _go_build(toolchain, "etcd", [*flags, *etcd], environment=environment)
        final = root / build_key(toolchain.version)
        shutil.rmtree(final, ignore_errors=True)
        folder.chmod(0o755)
        folder.rename(final)


def _go_build(
    toolchain: Toolchain, module: str, arguments: list[str], *, environment: Mapping[str, str]
) -> None:
    command = [str(toolchain.command), "build", *arguments]
    # No C compiler is needed, and a workspace file above the clone must not take part.
    settings = {**environment, "CGO_ENABLED": "0", "GOWORK": "off"}
    built = subprocess.run(
        command, cwd=TOOLS / module, env=settings, capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        tail = "\n".join(built.stderr.splitlines()[-20:])
        raise BuildError(f"`{' '.join(command)}` in {TOOLS / module} failed with {built.returncode}:\n{tail}")
