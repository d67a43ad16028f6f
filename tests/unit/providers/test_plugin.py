"""A provider in a package of its own: found by its entry point, in this process and in the command's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.finetune_process import COMMAND
from tests.contract.plugin_package import PACKAGE, install_plugin

import finetune_operator
import finetune_providers
from finetune_providers import errors
from finetune_providers.base import Capabilities, Provider, ProviderConfig
from finetune_providers.errors import PermanentProviderError
from finetune_providers.registry import create, known_types


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_plugin(tmp_path_factory.mktemp("plugin"))


def _finetune(*arguments: str, folder: Path, packages: tuple[Path, ...]) -> subprocess.CompletedProcess[str]:
    own = [Path(str(package.__file__)).parents[1] for package in (finetune_operator, finetune_providers)]
    path = os.pathsep.join(str(each) for each in (*own, *packages))
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_sweep_with_an_installed_provider_ends_with_its_best_model(installed: Path, tmp_path: Path) -> None:
    done = _finetune("run", str(PACKAGE / "sweep.yaml"), "-o", "json", folder=tmp_path, packages=(installed,))
    assert done.returncode == 0, done.stderr
    best = _best(json.loads(done.stdout))
    assert best["hyperparameters"] == {"epochs": 20, "learningRate": 0.5}
    assert best["score"] == 0.75  # the others know 3 or 4 of the 8 questions
    (model,) = tmp_path.glob(f"**/models/{best['fineTunedModel']}")
    assert set(json.loads(model.read_text("utf-8"))) == {"refund", "delivery", "login"}


def _best(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    best: Mapping[str, Any] = answer["best"]
    return best


def test_without_the_package_the_type_is_named_and_the_known_ones_are_told(tmp_path: Path) -> None:
    done = _finetune("run", str(PACKAGE / "sweep.yaml"), folder=tmp_path, packages=())
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "provider type 'Example' is not known" in said
    assert "Local" in said


def test_an_installed_provider_is_among_the_known_types(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Example" not in known_types()
    monkeypatch.syspath_prepend(str(installed))
    assert "Example" in known_types()


def test_a_type_that_two_packages_offer_is_refused(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "another_provider-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: another-provider\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[finetune_operator.providers]\nExample = another:create\n")
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PermanentProviderError, match="another-provider, finetune-example-provider"):
        create(ProviderConfig(name="words", type="Example", work_dir=tmp_path))


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken_provider-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-provider\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[finetune_operator.providers]\nBroken = not_there:create\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PermanentProviderError, match="could not be loaded from not_there:create"):
        create(ProviderConfig(name="broken", type="Broken", work_dir=tmp_path))


def test_the_entry_point_is_the_one_that_the_manifest_names() -> None:
    provider, *_ = yaml.safe_load_all((PACKAGE / "sweep.yaml").read_text("utf-8"))
    points = (PACKAGE / "pyproject.toml").read_text("utf-8").partition("finetune_operator.providers")[2]
    assert f"{provider['spec']['type']} = " in points


@pytest.mark.parametrize("owner", [Provider, Capabilities, errors], ids=["methods", "capabilities", "errors"])
def test_the_guide_names_all_that_a_provider_has_to_know(owner: Any) -> None:
    guide = (PACKAGE.parents[1] / "docs" / "adding-a-provider.md").read_text("utf-8")
    told_elsewhere = {"annotations", "metrics", "poll_interval_s", "deletes_models", "ProviderError"}
    names = {name for name in vars(owner) if not name.startswith("_")} - told_elsewhere
    assert len(names) >= 5
    assert not [name for name in sorted(names) if f"`{name}`" not in guide]
