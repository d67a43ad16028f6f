"""The example of Vertex AI is what it says, and its sweep ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract.finetune_process import kill_below, start_finetune
from tests.fakes.vertex_ai_server import BUCKET, PROJECT, VertexAIServer, config_for

from finetune_providers.base import DatasetFile
from finetune_providers.vertex_ai import VertexAI

EXAMPLE = Path(__file__).parents[3] / "examples" / "vertex-ai.yaml"


@pytest.fixture
def documents() -> list[Any]:
    return list(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))


def test_the_example_s_questions_are_asked_once_each(documents: list[Any]) -> None:
    data = documents[2]["data"]
    rows = [json.loads(line)["messages"] for text in data.values() for line in text.splitlines()]
    assert len({row[1]["content"] for row in rows}) == len(rows)
    assert len(data["train.jsonl"].splitlines()) == 12


async def test_the_example_s_data_and_search_space_fit_its_base_models(
    documents: list[Any], tmp_path: Path
) -> None:
    files = {}
    for name, text in documents[2]["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        files[name] = DatasetFile(tmp_path / name, "0" * 64, len(text.splitlines()))
    with VertexAIServer() as server:
        provider = VertexAI(config_for(server, tmp_path))
        (candidate,) = documents[1]["spec"]["candidates"]
        for base_model in candidate["baseModels"]:
            await provider.check([base_model])
            await provider.check_data(
                base_model, training=files["train.jsonl"], validation=files["valid.jsonl"]
            )
            rules = provider.model_rules(base_model)
            assert rules is not None
            assert set(candidate["parameters"]) == set(rules.parameters)
        await provider.aclose()
        assert server.violations == []


def test_the_example_s_sweep_ends_with_its_best_model(documents: list[Any], tmp_path: Path) -> None:
    account, sweep, data = documents
    sweep["spec"]["limits"] |= {"maxTrials": 4, "parallelTrials": 2}  # to be quick
    account["spec"] |= {"maxConcurrentJobs": 2}
    with VertexAIServer(speed=500) as server:
        server.quality = lambda native: int(native["epochCount"]) / 10
        for line in data["data"]["eval.jsonl"].splitlines():
            _, question, answer = (each["content"] for each in json.loads(line)["messages"])
            server.exam[question] = answer
        account["spec"] |= {
            "endpoint": server.url,
            "project": PROJECT,
            "dataUri": f"gs://{BUCKET}/finetune",
            "options": {"pollIntervalSeconds": "0.05"},
        }
        name = account["spec"]["credentialsSecretRef"]["name"]
        secret = {"GOOGLE_APPLICATION_CREDENTIALS_JSON": server.key}
        documents.append(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": secret}
        )
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        best, log = tmp_path / "best.json", tmp_path / "log.txt"
        process = start_finetune("run", "sweep.yaml", "-o", "json", folder=tmp_path, output=best, log=log)
        try:
            assert process.wait(120) == 0, log.read_text(encoding="utf-8")
        finally:
            kill_below(tmp_path)
        assert server.violations == []
        assert len(server.jobs) == server.count("create") == 4
        told = json.loads(best.read_text(encoding="utf-8"))["best"]
        epochs = {
            server._endpoint(job): int(job.hyperparameters["epochCount"]) for job in server.jobs.values()
        }
        assert epochs[told["fineTunedModel"]] == max(epochs.values())
        assert len(server.models_deleted) == len(server.endpoints_deleted) == 3  # all but the best
        assert server.objects == {}
        for file in tmp_path.rglob("*"):
            if file.is_file() and file.name != "sweep.yaml":
                assert server.secret.encode() not in file.read_bytes(), file
