"""Where the control plane's binaries are looked for, and what a build is named by. Nothing is built here."""

import shutil
import subprocess
from dataclasses import astuple
from pathlib import Path

import pytest

from controlplane import binaries
from controlplane.binaries import (
    ALL_NAMES,
    PLANE_NAMES,
    TOOLS,
    Binaries,
    Toolchain,
    build_key,
    cache_root,
    ensure_binaries,
    find_binaries,
    pinned_version,
)
from controlplane.errors import BinariesUnavailableError, BuildError

GO = Toolchain(command=Path("/nowhere/go"), version="go1.26.8")


class Places:
    """A machine's places for binaries, all of them empty at first."""

    def __init__(self, home: Path) -> None:
        self.assets = home / "assets"
        self.cache_home = home / "cache"
        self.path = home / "path"
        for folder in (self.assets, self.cache_home, self.path):
            folder.mkdir()
        self.environment = {
            "KUBEBUILDER_ASSETS": str(self.assets),
            "XDG_CACHE_HOME": str(self.cache_home),
            "PATH": str(self.path),
        }

    def cached(self, go_version: str = GO.version) -> Path:
        folder = cache_root(self.environment) / build_key(go_version)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def put(folder: Path, names: tuple[str, ...] = ALL_NAMES) -> None:
    for name in names:
        file = folder / name
        file.write_text("#!/bin/sh\n", encoding="utf-8")
        file.chmod(0o755)


def folders(found: Binaries | None) -> set[Path]:
    assert found is not None
    return {item.parent for item in astuple(found) if isinstance(item, Path)}


def test_assets_come_before_cache_and_path(places: Places) -> None:
    for folder in (places.assets, places.cached(), places.path):
        put(folder)
    assert folders(find_binaries(places.environment, GO)) == {places.assets}


def test_cache_comes_before_path(places: Places) -> None:
    put(places.cached())
    put(places.path)
    assert folders(find_binaries(places.environment, GO)) == {places.cached()}


def test_path_is_the_last_place(places: Places) -> None:
    put(places.path)
    found = find_binaries(places.environment, GO)
    assert folders(found) == {places.path}
    assert found is not None
    assert found.source == "PATH"


def test_empty_machine_has_none(places: Places) -> None:
    assert find_binaries(places.environment, GO) is None


@pytest.mark.parametrize("missing", PLANE_NAMES)
def test_incomplete_place_is_passed_over(places: Places, missing: str) -> None:
    put(places.assets, tuple(name for name in ALL_NAMES if name != missing))
    put(places.cached())
    assert folders(find_binaries(places.environment, GO)) == {places.cached()}


def test_parts_of_two_places_are_not_mixed(places: Places) -> None:
    put(places.assets, ("etcd", "kube-apiserver", "kubectl"))
    put(places.path, ("kube-controller-manager", "kubectl"))
    assert find_binaries(places.environment, GO) is None


def test_kubectl_alone_may_come_from_the_path(places: Places) -> None:
    put(places.assets, PLANE_NAMES)
    put(places.path, ("kubectl",))
    found = find_binaries(places.environment, GO)
    assert found is not None
    assert found.etcd.parent == places.assets
    assert found.kubectl == places.path / "kubectl"


def test_file_that_cannot_be_executed_does_not_count(places: Places) -> None:
    put(places.path)
    (places.path / "etcd").chmod(0o644)
    assert find_binaries(places.environment, GO) is None


def test_build_by_another_go_version_is_not_taken(places: Places) -> None:
    put(places.cached("go1.25.0"))
    assert find_binaries(places.environment, GO) is None


def test_without_go_any_build_of_the_same_modules_is_taken(places: Places) -> None:
    put(places.cached("go1.25.0"))
    assert folders(find_binaries(places.environment, None)) == {places.cached("go1.25.0")}


def test_machine_without_go_is_told_what_to_do(places: Places) -> None:
    with pytest.raises(BinariesUnavailableError, match=r"KUBEBUILDER_ASSETS .*Install Go"):
        ensure_binaries(places.environment)


def test_key_follows_the_modules_and_the_go_version(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    shutil.copytree(TOOLS, tools)
    before = build_key(GO.version, tools)
    assert before == build_key(GO.version, TOOLS)
    assert before != build_key("go1.27.0", tools)
    for changed in ("etcd/go.mod", "kubernetes/go.sum"):
        with (tools / changed).open("a", encoding="utf-8") as file:
            file.write("\n")
        after = build_key(GO.version, tools)
        assert after != before
        before = after


def test_pinned_version_is_that_of_every_staging_module() -> None:
    minor_and_patch = pinned_version().removeprefix("v1.")
    lines = (TOOLS / "kubernetes" / "go.mod").read_text(encoding="utf-8").splitlines()
    replaced = [line.split()[-1] for line in lines if line.startswith("\tk8s.io/") and "=>" in line]
    assert len(replaced) > 30
    assert set(replaced) == {f"v0.{minor_and_patch}"}


def test_modules_without_kubernetes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "kubernetes" / "go.mod").write_text("module x\n", encoding="utf-8")
    with pytest.raises(BuildError, match=r"go\.mod requires no k8s\.io/kubernetes"):
        pinned_version(tmp_path)


class FakeGo:
    """Stands in for the processes that the build starts; writes what Go would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails_at: str = "") -> None:
        self.builds: list[str] = []
        self._fails_at = fails_at
        monkeypatch.setattr(binaries, "find_toolchain", lambda _: GO)
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        self.builds.append(cwd.name)
        if cwd.name == self._fails_at:
            return subprocess.CompletedProcess(command, 1, "", "no such module")
        output = command[command.index("-o") + 1]
        if cwd.name == "etcd":
            put(Path(output).parent, ("etcd",))
        else:
            put(Path(output), ("kube-apiserver", "kube-controller-manager", "kubectl"))
        return subprocess.CompletedProcess(command, 0, "", "")


def test_missing_binaries_are_built_once(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    go = FakeGo(monkeypatch)
    said: list[str] = []
    first = ensure_binaries(places.environment, notify=said.append)
    second = ensure_binaries(places.environment, notify=said.append)
    assert go.builds == ["kubernetes", "etcd"]
    assert len(said) == 1
    assert folders(first) == folders(second) == {places.cached()}


def test_failed_build_shows_what_go_said_and_leaves_nothing(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeGo(monkeypatch, fails_at="etcd")
    with pytest.raises(BuildError, match="no such module"):
        ensure_binaries(places.environment)
    assert [file.name for file in cache_root(places.environment).iterdir()] == ["build.lock"]


def test_leftover_of_an_interrupted_build_is_removed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = cache_root(places.environment) / ".building-abc"
    leftover.mkdir(parents=True)
    put(leftover)
    assert find_binaries(places.environment, GO) is None
    FakeGo(monkeypatch)
    ensure_binaries(places.environment)
    assert not leftover.exists()
