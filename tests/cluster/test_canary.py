"""A provider's secret is nowhere but in its Secret: not in the cluster, not in a log, not on a disk."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.hosted_world import COMPANIES, Example, HostedWorld, load_example
from tests.cluster.operator_account import Person, operator_kubeconfig, person
from tests.cluster.operator_process import Team
from tests.fakes.azure_openai_server import Identity
from tests.fakes.canary import Canary, canaries_of, echoing, every_provider_error, told_by

from controlplane.fixtures import Kubectl
from controlplane.plane import ControlPlane
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.resources import FinetuneSweep
from finetune_providers.azure_openai import provider as azure_openai
from finetune_providers.errors import ProviderError

__all__ = ["operator_kubeconfig", "person"]

EXAMPLES = {
    "openai": "OpenAI",
    "azure-openai": "AzureOpenAI",
    "vertex-ai": "VertexAI",
    "bedrock": "Bedrock",
    "google-ai-studio": "GoogleAIStudio",
    "cohere": "Cohere",
}


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> Canary:
    canary = Canary()
    monkeypatch.setattr(azure_openai, "credential_of", lambda config: Identity(canary.text))
    return canary


@pytest.fixture
def team(kubectl: Kubectl, namespace: str, person: Person) -> Team:
    return Team(kubectl, namespace, person)


@pytest.fixture
async def world(
    team: Team, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> AsyncIterator[HostedWorld]:
    access = ClusterAccess(kubeconfig=operator_kubeconfig)
    world = HostedWorld(team, access, namespace=namespace, work_dir=tmp_path / "work")
    await world.start()
    yield world
    await world.stop()


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """Whatever any library logs, down to the debug level, with tracebacks."""
    told: list[str] = []
    form = logging.Formatter("%(name)s %(message)s")

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(form.format(record))

    root, collector = logging.getLogger(), Collector(logging.DEBUG)
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(collector)
    yield told
    root.removeHandler(collector)
    root.setLevel(level)


@pytest.fixture
def example(canary: Canary, name: str) -> Iterator[Example]:
    kind = EXAMPLES[name]
    server = echoing(COMPANIES[kind].server, canary)  # type: ignore[arg-type]
    company = dataclasses.replace(COMPANIES[kind], server=server)
    loaded = load_example(f"{name}.yaml", companies={kind: company})
    yield loaded
    loaded.close()


def canaries_in(example: Example, canary: Canary) -> list[Canary]:
    return canaries_of(next(each for each in example.manifests if each["kind"] == "Secret"), canary)


def etcd(plane: ControlPlane) -> Mapping[str, bytes]:
    """All that the cluster has stored, as it is stored."""
    span = {"key": _text(b"/registry/"), "range_end": _text(b"/registry0")}
    request = urllib.request.Request(
        f"http://127.0.0.1:{plane.layout.ports.etcd_client}/v3/kv/range", data=json.dumps(span).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        pairs = json.load(answer)["kvs"]
    return {base64.b64decode(each["key"]).decode(): base64.b64decode(each["value"]) for each in pairs}


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


@dataclasses.dataclass
class Search:
    """Where a secret may have got to."""

    plane: ControlPlane
    logged: list[str]
    errors: list[ProviderError]
    work_dir: Path

    def places(self, canary: Canary) -> list[Any]:
        stored = etcd(self.plane)
        assert {"finetune-operator.dev", "events", "configmaps"} <= {key.split("/")[2] for key in stored}
        holders = [key for key, value in stored.items() if canary.found_in(value)]
        assert len(holders) >= 1, "not even the Secret holds it: the search is broken"
        found: list[Any] = [key for key in holders if not key.startswith("/registry/secrets/")]
        found += [line[:300] for line in self.logged if canary.found_in(line)]
        found += [text[:300] for error in self.errors for text in told_by(error) if canary.found_in(text)]
        return found + canary.found_below(self.work_dir)


@pytest.fixture
def search(
    control_plane: ControlPlane,
    everything_logged: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Search]:
    with every_provider_error(monkeypatch) as errors:
        yield Search(control_plane, everything_logged, errors, tmp_path)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_secret_of_a_sweep_that_succeeds_is_nowhere(
    world: HostedWorld, example: Example, canary: Canary, search: Search
) -> None:
    example.server.refuses = False  # type: ignore[attr-defined]
    example.sweep_manifest["spec"]["limits"]["maxTrials"] = 2
    world.team.apply(*example.manifests)
    assert (await world.team.finished(example.sweep)).status.phase == "Succeeded"
    assert any(line.startswith("finetune_operator") for line in search.logged)
    for each in canaries_in(example, canary):
        assert search.places(each) == []


@pytest.mark.parametrize("name", EXAMPLES)
async def test_secret_that_a_company_says_back_is_nowhere(
    world: HostedWorld, example: Example, canary: Canary, search: Search
) -> None:
    world.team.apply(*example.manifests)

    def told(sweep: FinetuneSweep, _: object) -> bool:
        accepted = sweep.status.condition("Accepted")
        return accepted is not None and "ncorrect API key" in accepted.message

    await world.team.until(example.sweep, told)
    accepted = (await world.team.sweep(example.sweep)).status.condition("Accepted")
    assert accepted is not None
    assert "[hidden]" in accepted.message
    assert search.errors
    for each in canaries_in(example, canary):
        assert search.places(each) == []


@pytest.mark.parametrize("name", EXAMPLES)
async def test_secret_that_is_said_back_in_mid_training_is_nowhere(
    world: HostedWorld, example: Example, canary: Canary, search: Search
) -> None:
    server: Any = example.server
    server.refuses = False
    server.training_s = 1e6
    example.sweep_manifest["spec"]["limits"] = {"maxTrials": 1, "parallelTrials": 1}
    world.team.apply(*example.manifests)
    await world.team.until(
        example.sweep, lambda _, trials: any(trial.phase == "Training" for trial in trials)
    )
    before, server.refuses = type(server).asked, True
    await world.team.until(example.sweep, lambda *_: type(server).asked >= before + 4)
    world.team.kubectl("delete", "finetunesweep", example.sweep, "--wait=false")
    await world.team.until(example.sweep, lambda *_: type(server).asked >= before + 8)
    await world.crash()
    for each in canaries_in(example, canary):
        assert search.places(each) == []
    server.refuses = False
    server.training_s = 1.0
    await world.start()
    await world.team.until_gone(example.sweep)
    for each in canaries_in(example, canary):
        assert search.places(each) == []
