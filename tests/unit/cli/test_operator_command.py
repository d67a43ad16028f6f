"""`finetune operator`: what it is told, and what the other commands are spared."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import Cli

from finetune_operator.cluster import operator as cluster_operator
from finetune_providers.base import ProviderConfig
from finetune_providers.errors import PermanentProviderError


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the operator was started with, in place of starting it; it ends when it is told to stop."""
    arguments: dict[str, Any] = {}

    async def run_operator(engine_factory: Any, *, stop: asyncio.Event, **options: Any) -> None:
        arguments.update(options, engine_factory=engine_factory)
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    monkeypatch.setattr(cluster_operator, "run_operator", run_operator)
    loggers = [logging.getLogger(name) for name in ("finetune_operator", "finetune_providers", "")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield arguments
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_the_namespaces_and_the_credentials_are_passed_on(cli: Cli, served: dict[str, Any]) -> None:
    (cli.folder / "config").write_text("")
    options = [
        "-n",
        "one",
        "-n",
        "two",
        "--kubeconfig",
        "config",
        "--context",
        "kind",
        "--liveness",
        "http://x",
    ]
    result = cli("operator", *options)
    assert (result.exit_code, result.output) == (0, "")
    assert served["namespaces"] == ("one", "two")
    assert served["liveness"] == "http://x"
    assert (served["access"].kubeconfig, served["access"].context) == (Path("config"), "kind")


def test_all_namespaces_are_asked_for_by_name(cli: Cli, served: dict[str, Any]) -> None:
    assert cli("operator", "--all-namespaces").exit_code == 0
    assert served["namespaces"] == ()


@pytest.mark.parametrize("options", [[], ["-A", "-n", "one"]])
def test_which_sweeps_are_served_must_be_said(cli: Cli, served: dict[str, Any], options: list[str]) -> None:
    result = cli("operator", *options)
    assert result.exit_code == 2
    assert "--namespace NAME (may be repeated) or --all-namespaces" in result.stderr
    assert served == {}


def test_a_manifest_of_a_cluster_cannot_read_the_operators_files(
    cli: Cli, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr("finetune_operator.lifecycle.engine.Engine", lambda **options: made.update(options))
    cli("operator", "-A", "--work-dir", "deep")
    served["engine_factory"]("the store")
    assert made["store"] == "the store"
    assert made["work_dir"] == Path("deep")
    rules = made["dataset_rules"]
    assert "file" not in rules.schemes
    assert "s3" in rules.schemes
    assert not rules.private_addresses


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_private_datasets_have_to_be_allowed_by_the_administrator(
    cli: Cli, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr("finetune_operator.lifecycle.engine.Engine", lambda **options: made.update(options))
    if how == "environment":
        monkeypatch.setenv("FINETUNE_ALLOW_PRIVATE_DATASETS", "true")
    cli("operator", "-A", *(["--allow-private-datasets"] if how == "flag" else []))
    served["engine_factory"]("the store")
    assert made["dataset_rules"].private_addresses
    assert "file" not in made["dataset_rules"].schemes


@pytest.mark.parametrize("options", [[], ["--trust-endpoints"]])
def test_the_operators_identity_is_lent_to_endpoints_only_where_the_administrator_says_so(
    cli: Cli, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr("finetune_operator.lifecycle.engine.Engine", lambda **options: made.update(options))
    cli("operator", "-A", *options)
    served["engine_factory"]("the store")
    named = ProviderConfig(
        name="theirs",
        type="VertexAI",
        work_dir=cli.folder,
        project="acme",
        region="us-central1",
        data_uri="gs://acme/tuning",
        endpoint="https://collects-tokens.example",
    )
    if options:
        assert made["make_provider"](named)
        return
    with pytest.raises(PermanentProviderError, match="--trust-endpoints") as caught:
        made["make_provider"](named)
    assert caught.value.field == "spec.endpoint"
    assert made["make_provider"](replace(named, endpoint=None))


def test_running_a_sweep_here_loads_no_kubernetes_client() -> None:
    program = (
        "import sys; from finetune_operator.cli import main\n"
        "main(['run', '--help'], standalone_mode=False)\n"
        "import finetune_operator.lifecycle.engine\n"
        "print('loaded:', sorted({'kopf', 'kubernetes', 'torch'} & set(sys.modules)))"
    )
    roots = os.pathsep.join(str(Path(root).resolve()) for root in ("operator", "providers"))
    shown = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": roots},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(("options", "seconds"), [([], 86_400.0), (["--release-within", "1h30m"], 5_400.0)])
def test_how_long_a_deleted_trial_waits_is_for_the_administrator_to_say(
    cli: Cli,
    served: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    seconds: float,
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr("finetune_operator.lifecycle.engine.Engine", lambda **options: made.update(options))
    cli("operator", "-A", *options)
    served["engine_factory"]("the store")
    assert made["release_within_s"] == seconds


def test_a_wait_that_is_no_duration_is_refused(cli: Cli, served: dict[str, Any]) -> None:
    result = cli("operator", "-A", "--release-within", "2 days")
    assert result.exit_code == 2
    assert "such as 48h" in result.stderr
    assert served == {}
