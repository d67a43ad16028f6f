"""A provider's secret is nowhere in what `finetune run` writes and says, nor in a report of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.hosted_world import COMPANIES, Example, load_example
from tests.fakes.azure_openai_server import Identity
from tests.fakes.canary import Canary, canaries_of, echoing, every_provider_error, told_by
from tests.unit.cli.conftest import Cli

from finetune_operator.cli.seams import RunningEngine, utc_now
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.lifecycle.store import Store
from finetune_operator.resources import dump_yaml
from finetune_providers.azure_openai import provider as azure_openai

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
def example(canary: Canary, name: str) -> Iterator[Example]:
    kind = EXAMPLES[name]
    server = echoing(COMPANIES[kind].server, canary)  # type: ignore[arg-type]
    loaded = load_example(
        f"{name}.yaml", companies={kind: dataclasses.replace(COMPANIES[kind], server=server)}
    )
    yield loaded
    loaded.close()


def engine(store: Store, work_dir: Path) -> RunningEngine:
    return Engine(store=store, work_dir=work_dir)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("refused", [True, False])
def test_no_secret_is_in_the_state_folder_or_in_a_report(
    cli: Cli,
    example: Example,
    canary: Canary,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    refused: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    server: Any = example.server
    server.refuses = refused
    example.sweep_manifest["spec"]["limits"]["maxTrials"] = 2
    manifests, state = cli.folder / "manifests.yaml", cli.folder / "state"
    manifests.write_text("---\n".join(dump_yaml(each) for each in example.manifests))
    with every_provider_error(monkeypatch) as errors:
        said = [cli("plan", str(manifests), clock=utc_now)]
        said.append(cli("run", str(manifests), "--state", str(state), make_engine=engine, clock=utc_now))
    assert (said[1].exit_code == 0) is not refused, said[1].output
    assert bool(errors) or not refused
    if refused:
        assert "[hidden]" in said[1].output
    said += [cli("report", str(state)), cli("report", str(state), "--output", "json")]
    assert said[2].exit_code == 0, said[2].output
    page = cli.folder / "report.html"
    said.append(cli("report", str(state), "--output", str(page)))
    assert said[-1].exit_code == 0, said[-1].output
    trial = f"{example.sweep}-0"
    said += [cli("resolve", trial, *answer, "--state", str(state)) for answer in ([], ["retry"])]
    told = [text for error in errors for text in told_by(error)]
    secret = next(each for each in example.manifests if each["kind"] == "Secret")
    for each in canaries_of(secret, canary):
        assert each.found_in(manifests.read_bytes())
        assert each.found_in(page.read_bytes()) == []
        assert each.found_below(state) == []
        assert each.found_in(caplog.text, *(result.output for result in said)) == []
        assert [text[:300] for text in told if each.found_in(text)] == []
