"""What is measured: how many sweeps of how many trials, over which search, at what kind of company."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.scale.company import AT_ONCE_S

Raw = dict[str, Any]
SECRET, DATA = "company", "data"
API = "finetune-operator.dev/v1alpha1"
_MODEL = "gpt-4.1-mini-2025-04-14"
_LABELS = ("order", "repair", "contract")
_EXAMPLES, _QUESTIONS = 12, 4


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: What it is called in the table.
        sweeps: How many.
        trials: Of each.
        parallel: Of these at once.
        method: Of the search.
        grid: Points of the space, for a grid.
        accounts: FinetuneProviders, among which the sweeps are dealt.
        training_s: How long a job takes.
        poll_s: Seconds between two polls of an account.
        rests: Whether the cluster at rest and a restart are measured afterwards.
        within_s: Patience.
    """

    name: str
    sweeps: int
    trials: int = 10
    parallel: int = 2
    method: str = "Random"
    grid: int = 0
    accounts: int = 1
    training_s: float = AT_ONCE_S
    poll_s: float = 1.0
    rests: bool = False
    within_s: float = 3600.0

    @property
    def jobs(self) -> int:
        """How many jobs are bought."""
        return self.sweeps * self.trials


def cases(sizes: Sequence[int]) -> list[Case]:
    """All cases; each size is measured at an instant company, and up to 100 sweeps at a slow one, too."""
    found = []
    for size in sizes:
        accounts = max(1, min(10, size // 10))
        found.append(Case(f"{size} x 10, instant", size, accounts=accounts, rests=size == max(sizes)))
        if size <= 100:
            found.append(Case(f"{size} x 10, slow", size, accounts=accounts, training_s=20.0, poll_s=1.0))
    return [
        *found,
        Case("1 x 1,000, instant", 1, 1000, parallel=20),
        Case("grid of 10,000, 1 x 1,000", 1, 1000, parallel=20, method="Grid", grid=10_000),
        Case("20 x 10, Bayesian, instant", 20, method="Bayesian", accounts=2),
    ]


def common_manifests(case: Case, urls: Sequence[str], secret: str) -> list[Raw]:
    """The Secret, the data and the accounts."""
    return [
        _object("v1", "Secret", SECRET, stringData={"OPENAI_API_KEY": secret}),
        _object("v1", "ConfigMap", DATA, data=_data()),
        *(
            _object(
                API,
                "FinetuneProvider",
                f"account-{number}",
                spec={
                    "type": "OpenAI",
                    "credentialsSecretRef": {"name": SECRET},
                    "endpoint": url,
                    "options": {"pollIntervalSeconds": str(case.poll_s)},
                    "requestsPerMinute": 100_000,
                    "prices": [{"baseModel": _MODEL, "trainingPerMillionTokens": "5.00", "currency": "USD"}],
                },
            )
            for number, url in enumerate(urls)
        ),
    ]


def sweep_manifest(case: Case, number: int) -> Raw:
    """The sweep of a number."""
    candidate = {
        "name": "gpt",
        "providerRef": {"name": f"account-{number % case.accounts}"},
        "baseModels": [_MODEL],
        "parameters": _parameters(case),
    }
    spec = {
        "objective": {"metric": "accuracy"},
        "dataset": {
            "training": {"configMapRef": {"name": DATA, "key": "train.jsonl"}},
            "evaluation": {"configMapRef": {"name": DATA, "key": "eval.jsonl"}, "maxOutputTokens": 8},
        },
        "candidates": [candidate],
        "search": {"method": case.method, "seed": number},
        "limits": {"maxTrials": case.trials, "parallelTrials": case.parallel},
    }
    return _object(API, "FinetuneSweep", f"sweep-{number}", spec=spec)


def _parameters(case: Case) -> Raw:
    if case.grid:
        assert case.grid % 100 == 0
        return {
            "epochs": {"int": {"min": 1, "max": 10}},
            "batchSize": {"int": {"min": 1, "max": 10}},
            "learningRateMultiplier": {"logUniform": {"min": 0.2, "max": 5, "steps": case.grid // 100}},
        }
    return {
        "epochs": {"int": {"min": 1, "max": 10}},
        "learningRateMultiplier": {"logUniform": {"min": 0.2, "max": 5}},
    }


def _object(version: str, kind: str, name: str, **rest: Any) -> Raw:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}


def _data() -> dict[str, str]:
    """Short mails with what they are about."""
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Mail {number} about a {_LABELS[number % 3]}"},
                    {"role": "assistant", "content": _LABELS[number % 3]},
                ]
            }
        )
        for number in range(_EXAMPLES)
    ]
    return {"train.jsonl": "\n".join(lines) + "\n", "eval.jsonl": "\n".join(lines[:_QUESTIONS]) + "\n"}
