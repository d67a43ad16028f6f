"""The status of the three kinds on the real API server, and how `kubectl get` shows it."""

import re

from controlplane.fixtures import Kubectl
from finetune_operator.resources import FinetuneSweep, FinetuneTrial, parse_resource
from samples.server import Manifest, Server, sample


def test_sweep_that_nobody_has_seen_is_of_generation_minus_one(server: Server) -> None:
    manifest = sample("sweep-minimal", name="unseen")
    made = server.create({**manifest, "status": {"observedGeneration": 1, "phase": "Succeeded"}})
    assert made["metadata"]["generation"] == 1
    assert made["status"] == {"observedGeneration": -1}
    seen = server.merge(made, {"status": {"phase": "Pending"}}, status=True)
    assert seen["status"] == {"observedGeneration": -1, "phase": "Pending"}


def test_whole_status_of_the_models_is_kept(server: Server) -> None:
    made = server.create(sample("sweep-minimal", name="reported"))
    status = _SWEEP_STATUS | {
        "trials": dict.fromkeys(
            ["total", "pending", "running", "done", "succeeded", "failed", "cancelled", "stalled"], 2
        ),
        "baselines": [{"provider": "local", "baseModel": "m", "score": 0.25}],
        "cost": {
            "reserved": "1.50",
            "spent": "12.40",
            "currency": "USD",
            "perTrial": ["12.40", "1.50"],
            "saved": "0.30",
        },
        "warmStart": [
            {
                "sweep": "last-week",
                "uid": "5f1c",
                "sameData": False,
                "observations": [
                    {
                        "candidate": "a",
                        "baseModel": "m",
                        "parameters": {"epochs": 3, "scheduler": "x"},
                        "score": 0.5,
                    }
                ],
            }
        ],
        "dataScopes": ["fts-0123456789abcdef"],
        "spaceSize": "unbounded",
        "lastIndex": 3,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-02T00:00:00Z",
    }
    seen = server.merge(made, {"status": status}, status=True)
    assert seen["status"] == status
    assert parse_resource(FinetuneSweep, seen).to_dict()["status"] == status


def test_journal_of_a_deployment_is_kept(server: Server) -> None:
    made = server.create(sample("trial", name="served-0"))
    pending = {"name": "served-0-a1b2", "state": "Pending", "at": "2026-01-01T00:00:00Z"}
    status: Manifest = {"observedGeneration": 1, "serving": pending}
    assert server.merge(made, {"status": status}, status=True)["status"] == status
    status["servingCost"] = "0.85"
    status["serving"] = pending | {
        "state": "Deleted",
        "model": "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/a",
        "activeAt": "2026-01-01T00:10:00Z",
        "deletedAt": "2026-01-01T00:40:00Z",
        "message": "deleted after the evaluation",
    }
    seen = server.merge(made, {"status": status}, status=True)
    assert seen["status"] == status
    assert parse_resource(FinetuneTrial, seen).to_dict()["status"].items() >= status.items()


_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "LimitReached",
    "message": "All 24 trials have ended.",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
_SWEEP_STATUS: Manifest = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "conditions": [_CONDITION],
    "trials": {"done": 24},
    "bestScore": "0.9417",
    "spent": "148.02 USD",
    "best": {
        "trial": "columns-7",
        "candidate": "nova",
        "provider": "bedrock-us",
        "baseModel": "amazon.nova-lite-v1:0",
        "fineTunedModel": "ft:nova:7",
        "score": 0.9417,
        "baseScore": 0.5,
        "value": 0.9,
        "cost": "4.10",
        "meanScore": 0.935,
        "repeats": 2,
        "hyperparameters": {"epochs": 3, "learningRate": 2e-05, "scheduler": "cosine"},
    },
}


def columns(table: str) -> dict[str, str]:
    """The one row of a table by its heading; columns stand at least three spaces apart."""
    heading, row = table.splitlines()
    names = list(re.finditer(r"\S+(?: \S+)*", heading))
    ends = [*(name.start() for name in names[1:]), len(row)]
    return {name[0]: row[name.start() : end].strip() for name, end in zip(names, ends, strict=True)}


def test_sweep_is_read_at_a_glance(server: Server, kubectl: Kubectl, place: str) -> None:
    made = server.create(sample("sweep-union-of-candidates", name="columns"))
    server.merge(made, {"status": _SWEEP_STATUS}, status=True)
    row = columns(kubectl("get", "finetunesweeps", "columns", f"--namespace={place}").stdout)
    assert row.pop("AGE")
    assert list(row.items()) == [
        ("NAME", "columns"),
        ("PHASE", "Succeeded"),
        ("DONE", "24"),
        ("MAX", "24"),
        ("BEST", "0.9417"),
        ("SPENT", "148.02 USD"),
        ("REASON", "LimitReached"),
        ("MODEL", "ft:nova:7"),
    ]


def test_trial_is_read_at_a_glance(server: Server, kubectl: Kubectl, place: str) -> None:
    made = server.create(sample("trial", name="columns-7"))
    status = {
        "observedGeneration": 1,
        "phase": "Succeeded",
        "reason": "Evaluated",
        "message": "200 examples were answered.",
        "create": {"attempt": 1, "state": "Succeeded", "key": "k", "externalId": "ftjob-7"},
        "cancel": {"reason": "BudgetExhausted", "message": "too much was spent", "exceeded": "150.00"},
        "fineTunedModel": "ft:nova:7",
        "score": 0.9417,
        "scoreText": "0.9417",
        "metrics": {"accuracy": 0.9417, "validationLoss": 1},
        "series": [{"step": 0, "values": {"validationLoss": 2.5}}],
        "cost": "1.25",
    }
    seen = server.merge(made, {"status": status}, status=True)
    assert seen["status"] == status
    row = columns(kubectl("get", "ftt", "columns-7", f"--namespace={place}").stdout)
    assert row.pop("AGE")
    assert list(row.items()) == [
        ("NAME", "columns-7"),
        ("SWEEP", "support-intents"),
        ("PHASE", "Succeeded"),
        ("SCORE", "0.9417"),
        ("COST", "1.25"),
        ("REASON", "Evaluated"),
    ]
    wide = columns(kubectl("get", "ftt", "columns-7", f"--namespace={place}", "--output=wide").stdout)
    assert wide["BASE MODEL"] == "gpt-4.1-mini-2025-04-14"
    assert wide["JOB"] == "ftjob-7"
    assert wide["MODEL"] == "ft:nova:7"


def test_provider_is_read_at_a_glance(server: Server, kubectl: Kubectl, place: str) -> None:
    made = server.create(sample("provider-openai", name="columns"))
    accepted = {**_CONDITION, "type": "Accepted", "status": "False", "reason": "SecretMissing"}
    offered = {**_CONDITION, "type": "Offered", "status": "True", "reason": "Closing"}
    server.merge(made, {"status": {"observedGeneration": 1, "conditions": [accepted, offered]}}, status=True)
    row = columns(kubectl("get", "ftp", "columns", f"--namespace={place}", "--output=wide").stdout)
    assert row.pop("AGE")
    assert row == {
        "NAME": "columns",
        "TYPE": "OpenAI",
        "READY": "False",
        "REASON": "SecretMissing",
        "OFFERED": "True",
    }
