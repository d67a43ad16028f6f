"""Provider types by name: our own, those of other packages, and what is said where one cannot be had."""

from __future__ import annotations

import inspect
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from finetune_providers import registry
from finetune_providers.base import ProviderConfig
from finetune_providers.errors import PermanentProviderError
from finetune_providers.registry import create, known_types, load

OWN = ["AzureOpenAI", "Bedrock", "Cohere", "GoogleAIStudio", "Local", "OpenAI", "VertexAI"]
EXTRAS = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]


def config(type_name: str) -> ProviderConfig:
    return ProviderConfig("p", type_name, Path("/nowhere"))


def offer(folder: Path, entry_point: str, *, package: str = "acme", **modules: str) -> None:
    """Have a package in a folder offer a provider type; `modules` are its files."""
    about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry_point}\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def take_away(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if a package were not installed, and nothing of ours that needs it imported yet."""
    for name in [each for each in sys.modules if each.startswith("finetune_providers.cohere")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)

    class Absent:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])


def test_our_own_types_are_known() -> None:
    assert set(OWN) <= set(known_types())
    assert list(known_types()) == sorted(known_types())


@pytest.mark.parametrize("type_name", OWN)
def test_every_type_of_ours_is_there_and_names_an_extra_that_exists(type_name: str) -> None:
    module_name, extra = registry._OWN[type_name]
    load(type_name)
    first, *rest = inspect.signature(sys.modules[module_name].create).parameters.values()
    assert first.name == "config"
    assert all(parameter.default is not inspect.Parameter.empty for parameter in rest)
    assert not extra or extra in EXTRAS


def test_a_type_that_is_not_known_is_answered_with_those_that_are() -> None:
    for call in (lambda: create(config("Acme")), lambda: load("Acme")):
        with pytest.raises(PermanentProviderError) as caught:
            call()
        assert (
            str(caught.value) == f"provider type 'Acme' is not known; known types: {', '.join(known_types())}"
        )
        assert caught.value.field == "spec.type"


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_away(monkeypatch, "cohere")
    with pytest.raises(
        PermanentProviderError, match="needs package cohere, which is not installed"
    ) as caught:
        create(config("Cohere"))
    assert 'install "finetune-operator[cohere]"' in str(caught.value)
    assert caught.value.field == "spec.type"


def test_a_package_in_another_version_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, "cohere")
    old = ModuleType("cohere")
    monkeypatch.setitem(sys.modules, "cohere", old)
    with pytest.raises(
        PermanentProviderError, match="needs package cohere, which is installed in another version"
    ):
        create(config("Cohere"))


def test_a_defect_of_our_own_is_not_called_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._OWN, "Cohere", ("finetune_providers.not_there", "cohere"))
    with pytest.raises(ModuleNotFoundError):
        create(config("Cohere"))


def test_another_package_s_type_is_made_with_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(
        tmp_path, "Acme = acme_provider:create", acme_provider="def create(config): return ('made', config)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "Acme" in known_types()
    assert create(config("Acme")) == ("made", config("Acme"))


def test_two_packages_that_offer_a_type_are_both_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("acme-one", "acme-two"):
        offer(tmp_path / package, "Acme = acme_x:create", package=package)
        monkeypatch.syspath_prepend(str(tmp_path / package))
    with pytest.raises(
        PermanentProviderError, match="several packages: acme-one, acme-two; uninstall all but one"
    ):
        load("Acme")


def test_a_type_of_ours_is_not_another_package_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, "Local = acme_local:create", acme_local="def create(config): return 'theirs'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registry._factory("Local").__module__.startswith("finetune_providers.")
    assert known_types().count("Local") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import not_there_at_all\n", "No module named 'not_there_at_all'"),
        ("def make(config): ...\n", "AttributeError"),
        ("def create(config:\n", "SyntaxError"),
        ("raise RuntimeError('no licence')\n", "RuntimeError: no licence"),
        ("create = 'text'\n", "no function that makes a provider"),
    ],
)
def test_a_package_that_is_broken_is_named_and_breaks_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    name = f"acme_broken_{abs(hash(text))}"
    offer(tmp_path, f"Acme = {name}:create", **{name: text})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PermanentProviderError) as caught:
        load("Acme")
    assert told in str(caught.value)
    assert f"could not be loaded from {name}:create" in str(caught.value)
    assert caught.value.field == "spec.type"
    load("Local")
