"""Manifests of sweeps that the provider Local trains on this machine, with the tiny model: seconds a trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.contract.provider_contract import ANSWERS, conversation

Manifest = dict[str, Any]
GROUP = "finetune-operator.dev/v1alpha1"
PROVIDER = "here"
SECRET = "hub"
TOKEN = "hf_thisMustNeverBeShownAnywhere"
RATES = {"learningRate": {"logUniform": {"min": 1e-3, "max": 1e-1}}}


def lines(*, repeat: int = 1) -> str:
    """A small dataset in the canonical form."""
    rows = [
        json.dumps({"messages": [*conversation(word), {"role": "assistant", "content": answer}]})
        for word, answer in ANSWERS.items()
    ]
    return "".join(f"{row}\n" for row in rows * repeat)


def config_map(name: str = "data", **values: str) -> Manifest:
    """A ConfigMap with the datasets, or with other values."""
    data = values or {"train.jsonl": lines(repeat=4), "valid.jsonl": lines()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret() -> Manifest:
    """A hub's token, which nobody may see."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "stringData": {"HF_TOKEN": TOKEN},
    }


def provider(*, jobs: int) -> Manifest:
    """This machine, which trains several models at once."""
    spec = {
        "type": "Local",
        "credentialsSecretRef": {"name": SECRET},
        "maxConcurrentJobs": jobs,
        "local": {"device": "cpu"},
    }
    return {"apiVersion": GROUP, "kind": "FinetuneProvider", "metadata": {"name": PROVIDER}, "spec": spec}


def source(key: str = "train.jsonl", *, name: str = "data") -> dict[str, Any]:
    """A dataset in a ConfigMap."""
    return {"configMapRef": {"name": name, "key": key}}


def one_of(*values: object) -> dict[str, Any]:
    """A parameter that takes one of a few values."""
    return {"values": [str(value) for value in values]}


def sweep(
    name: str,
    model: Path,
    *,
    parameters: dict[str, Any],
    method: str = "Grid",
    trials: int = 1,
    parallel: int = 1,
    failures: int = 0,
    metric: str = "validationLoss",
    training: dict[str, Any] | None = None,
    initial: int | None = None,
) -> Manifest:
    """A sweep over one base model.

    Args:
        name: Its name.
        model: The folder of the base model.
        parameters: The search space.
        method: Of the search.
        trials: Most of them.
        parallel: Most of them at once.
        failures: Most of them that may fail.
        metric: What the trials are judged by.
        training: The training set, by default the small one.
        initial: Trials before a Bayesian search begins to learn.
    """
    datasets = {"training": training or source(), "validation": source("valid.jsonl")}
    if not metric.startswith("validation"):
        datasets["evaluation"] = source("valid.jsonl") | {"maxOutputTokens": 4}
    search = {"method": method, "seed": 5} | ({} if initial is None else {"initialTrials": initial})
    candidate = {
        "name": "tiny",
        "providerRef": {"name": PROVIDER},
        "baseModels": [str(model)],
        "parameters": parameters,
    }
    limits = {"maxTrials": trials, "parallelTrials": parallel, "maxFailedTrials": failures}
    return {
        "apiVersion": GROUP,
        "kind": "FinetuneSweep",
        "metadata": {"name": name},
        "spec": {
            "objective": {"metric": metric},
            "dataset": datasets,
            "candidates": [candidate],
            "search": search,
            "limits": limits,
        },
    }
