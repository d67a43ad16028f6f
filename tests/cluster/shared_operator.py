"""One operator's process and a namespace full of sweeps, which the tests of a file share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.operator_account import Person, person, rbac_for
from tests.cluster.operator_process import OperatorProcess, Team, apply
from tests.contract.finetune_process import kill_below
from tests.contract.local_sweep import (
    RATES,
    Manifest,
    config_map,
    one_of,
    provider,
    secret,
    source,
    sweep,
)
from tests.contract.tiny_model import write_tiny_model

from controlplane.access import create_namespace, delete_namespace, write_service_account_kubeconfig
from controlplane.fixtures import Kubectl
from controlplane.plane import ControlPlane

__all__ = ["person"]

METHODS = {"grid": 4, "random": 3, "bayesian": 4}
"""The good sweeps by their method, with their numbers of trials."""
FEW = {"epochs": one_of(1, 2), "batchSize": one_of(4, 8)}
BAD_LINES = '{"messages": [{"role": "user", "content": "is tea warm"}, {"role": "assistant", "content": ""}]}\n{"mess\n'


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """One namespace for all tests of this file."""
    name = create_namespace(control_plane)
    yield name
    delete_namespace(control_plane, name)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def started(
    control_plane: ControlPlane, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator's process, with the rights of the example."""
    control_plane.kubectl("apply", "-f", "-", stdin=rbac_for(namespace))
    kubeconfig = write_service_account_kubeconfig(control_plane, namespace, "finetune-operator")
    folder = tmp_path_factory.mktemp("operator")
    process = OperatorProcess(kubeconfig, namespace, work_dir=folder / "work", log=folder / "operator.log")
    process.start()
    try:
        yield process
        if process.running:
            process.stop()
    finally:
        kill_below(process.work_dir)


@pytest.fixture(scope="module")
def applied(control_plane: ControlPlane, namespace: str, started: OperatorProcess, tiny_model: Path) -> None:
    """What a whole team applies: sweeps of every method, and every mistake."""
    manifests = [
        *(secret(), provider(jobs=4), config_map(), config_map("bad", **{"train.jsonl": BAD_LINES})),
        sweep("grid", tiny_model, parameters=FEW, trials=4, parallel=2, metric="accuracy"),
        sweep("random", tiny_model, parameters=RATES, method="Random", trials=3, parallel=2),
        sweep("bayesian", tiny_model, parameters=RATES, method="Bayesian", trials=4, parallel=2, initial=2),
        sweep("raised", tiny_model, parameters=FEW, trials=1),
        *mistakes(tiny_model),
    ]
    apply(control_plane.kubectl, namespace, *manifests)


def mistakes(model: Path) -> list[Manifest]:
    """Sweeps that the schema lets pass."""
    broken = model.with_name("broken")
    shutil.copytree(model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    exploding = {"learningRate": one_of(1.0), "loraAlpha": one_of(1024), "batchSize": one_of(4)}
    return [
        sweep("bad-lines", model, parameters=FEW, training=source(name="bad")),
        sweep("no-data", model, parameters=FEW, training=source(name="forgotten")),
        sweep("no-key", model, parameters=FEW, training=source("forgotten.jsonl")),
        sweep("no-model", model.with_name("forgotten"), parameters=FEW),
        sweep("no-such-parameter", model, parameters={**FEW, "dropout": one_of(0.1)}),
        sweep("broken-weights", broken, parameters=FEW, trials=4),
        sweep("exploding", model, parameters=exploding, trials=4),
    ]


@pytest.fixture
def operator(started: OperatorProcess, applied: None) -> OperatorProcess:
    """The operator, at work on what was applied; none of it may have made it die."""
    if started.stopped:
        started.start()
    assert started.running, started.log_text()[-4000:]
    return started


@pytest.fixture
def team(kubectl: Kubectl, namespace: str, person: Person) -> Team:
    return Team(kubectl, namespace, person)
