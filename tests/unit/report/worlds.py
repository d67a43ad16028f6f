"""Sweeps of every shape, for tests of reports."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from finetune_operator.report import AnsweredExample, Report
from finetune_operator.resources import (
    API_VERSION,
    FinetuneSweep,
    FinetuneTrial,
    TrialPhase,
    TrialStatus,
    parse_resource,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
START = NOW - timedelta(hours=5)

PARAMETERS: dict[str, Any] = {
    "epochs": {"int": {"min": 1, "max": 4}},
    "learningRate": {"logUniform": {"min": 1e-6, "max": 1e-3}},
    "dropout": {"uniform": {"min": 0.0, "max": 0.5}},
    "batchSize": {"values": ["4", "8", "16"]},
}
ONE = (
    {"name": "small", "providerRef": {"name": "here"}, "baseModels": ["tiny-135m"], "parameters": PARAMETERS},
)
SEVERAL = (
    {
        "name": "openai-mini",
        "providerRef": {"name": "openai-prod"},
        "baseModels": ["gpt-4.1-mini-2025-04-14", "gpt-4.1-nano-2025-04-14"],
        "parameters": {
            "epochs": {"int": {"min": 1, "max": 4}},
            "learningRateMultiplier": {"logUniform": {"min": 0.2, "max": 5}},
            "batchSize": {"values": ["4", "8", "16"]},
        },
    },
    {
        "name": "nova",
        "providerRef": {"name": "bedrock-us"},
        "baseModels": ["amazon.nova-lite-v1:0"],
        "parameters": {
            "epochs": {"int": {"min": 1, "max": 5}},
            "learningRate": {"logUniform": {"min": 1e-6, "max": 1e-4}},
        },
    },
)

HOSTILE = (
    "</script><script>window.broken=1</script>",
    "<img src=x onerror=window.broken=1>",
    "<!--<script>",
    "{{ 7*7 }}{% raw %}",
    "\u2028window.broken=1//",
    "';window.broken=1;'\"><svg onload=window.broken=1>",
    "javascript:window.broken=1",
    "]]>&lt;script&gt;",
)


def a_sweep(
    candidates: Any = ONE,
    *,
    name: str = "support-intents",
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> FinetuneSweep:
    """A sweep; `spec` replaces fields."""
    known = {
        "objective": {"metric": "accuracy", "goal": 0.95},
        "dataset": {
            "training": {"uri": "https://data.example/train.jsonl"},
            "validation": {"uri": "https://data.example/valid.jsonl"},
            "evaluation": {"uri": "https://data.example/eval.jsonl"},
        },
        "candidates": list(candidates),
        "search": {"method": "Bayesian", "seed": 7},
        "limits": {"maxTrials": 1000},
    }
    document = {
        "apiVersion": API_VERSION,
        "kind": "FinetuneSweep",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": known | spec,
        "status": {"phase": "Searching", "startedAt": "2026-11-24T07:00:00Z"} | dict(status or {}),
    }
    return parse_resource(FinetuneSweep, document)


def a_trial(
    index: int,
    score: float | None = None,
    *,
    phase: TrialPhase | None = None,
    candidate: Any = ONE[0],
    base_model: str | None = None,
    values: Mapping[str, Any] | None = None,
    **status: Any,
) -> FinetuneTrial:
    """A trial: with a score it succeeded, without it failed, unless told."""
    spec = {
        "sweepRef": {"name": "support-intents"},
        "index": index,
        "candidate": candidate["name"],
        "providerRef": candidate["providerRef"],
        "baseModel": base_model or candidate["baseModels"][0],
        "hyperparameters": dict(
            values if values is not None else {"epochs": 1 + index % 4, "learningRate": 1e-5 * (1 + index)}
        ),
        "runKey": f"ft-key-{index:04}",
        "origin": "expected improvement",
    }
    document = {
        "apiVersion": API_VERSION,
        "kind": "FinetuneTrial",
        "metadata": {"name": f"support-intents-{index}", "namespace": "default"},
        "spec": spec,
    }
    trial = parse_resource(FinetuneTrial, document)
    ended = phase or (TrialPhase.FAILED if score is None else TrialPhase.SUCCEEDED)
    fields: dict[str, Any] = {
        "phase": ended,
        "reason": str(ended),
        "score": score,
        "started_at": START + timedelta(minutes=index),
        "finished_at": START + timedelta(minutes=index + 3, seconds=index % 50) if ended.terminal else None,
        "fine_tuned_model": None if score is None else f"ft:{index}",
    }
    return trial.model_copy(update={"status": TrialStatus(**fields | status)})


def usual(trials: int = 30, *, seed: int = 1) -> Report:
    """A sweep of one candidate, whose learning rate matters and whose dropout does not; every 7th trial fails."""
    chance = random.Random(seed)
    made = []
    for index in range(trials):
        rate = 10 ** chance.uniform(-6, -3)
        values = {
            "epochs": chance.randint(1, 4),
            "learningRate": rate,
            "dropout": chance.uniform(0, 0.5),
            "batchSize": chance.choice([4, 8, 16]),
        }
        score = 0.9 - 0.2 * abs(math.log10(rate) + 4.5) + 0.02 * values["epochs"] + chance.gauss(0, 0.01)
        failed = index % 7 == 3
        made.append(
            a_trial(
                index,
                None if failed else score,
                values=values,
                cost=Decimal(f"{0.5 * values['epochs'] + 0.1:.2f}"),
                message="the provider refused the file: line 7" if failed else f"accuracy is {score:.4g}",
                reason="JobFailed" if failed else "Succeeded",
            )
        )
    baseline = {"provider": "here", "baseModel": "tiny-135m", "score": 0.31}
    sweep = a_sweep(
        status={
            "phase": "Succeeded",
            "finishedAt": "2026-11-24T11:30:00Z",
            "baselines": [baseline],
            "cost": {"spent": "44.10", "currency": "USD"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "TrialsCompleted",
                    "message": "the sweep has ended",
                }
            ],
        }
    )
    return Report(sweep, tuple(made), NOW, answers(), versions={"Python": "3.11"})


def answers() -> tuple[AnsweredExample, ...]:
    """Twenty questions, answered better, worse, equally right and equally wrong in turn."""
    kinds = ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0))
    return tuple(
        AnsweredExample(
            place,
            f"question {place}",
            "yes",
            "no" if not base else "yes",
            "yes" if best else "no",
            base,
            best,
        )
        for place, (base, best) in enumerate(kinds * 5)
    )


def several_branches() -> Report:
    """Two candidates of two providers, three base models, each with hyperparameters of its own."""
    chance = random.Random(2)
    made = []
    for index in range(36):
        candidate: Any = SEVERAL[index % 2]
        values: dict[str, Any] = {"epochs": chance.randint(1, 4)}
        if candidate["name"] == "nova":
            values["learningRate"] = 10 ** chance.uniform(-6, -4)
        else:
            values |= {
                "learningRateMultiplier": chance.uniform(0.2, 5),
                "batchSize": chance.choice([4, 8, 16]),
            }
        model = chance.choice(candidate["baseModels"])
        score = 0.5 + 0.05 * values["epochs"] + chance.gauss(0, 0.05)
        made.append(
            a_trial(index, score, candidate=candidate, base_model=model, values=values, cost=Decimal("1.25"))
        )
    return Report(a_sweep(SEVERAL), tuple(made), NOW, why_no_answers="no work folder")


def nothing_succeeded() -> Report:
    """Every trial ended without a score, each in another way."""
    phases = (TrialPhase.FAILED, TrialPhase.CANCELLED, TrialPhase.EARLY_STOPPED, TrialPhase.STALLED)
    trials = [a_trial(index, phase=phase, message="no luck") for index, phase in enumerate(phases)]
    trials.append(a_trial(4, math.nan, phase=TrialPhase.SUCCEEDED))
    return Report(a_sweep(), tuple(trials), NOW, why_no_answers="no trial has succeeded")


def one_trial() -> Report:
    """A sweep that has tried one point."""
    return Report(a_sweep(), (a_trial(0, 0.5),), NOW)


def not_begun() -> Report:
    """A sweep that nobody has looked at."""
    return Report(a_sweep(status={"phase": None, "startedAt": None}), (), NOW)


def minimized() -> Report:
    """Validation loss, for which less is better."""
    trials = tuple(a_trial(index, 2.0 / (1 + index % 5)) for index in range(12))
    return Report(a_sweep(objective={"metric": "validationLoss"}), trials, NOW)


def hostile() -> Report:
    """Everything that others may write is written by somebody who wants a script to run."""
    made = []
    for index, text in enumerate(HOSTILE):
        choice = {"style": text, "epochs": 1 + index}
        made.append(
            a_trial(
                index,
                0.1 * index,
                values=choice,
                message=text,
                reason=text,
                fine_tuned_model=text,
                metrics={text: 0.5},
            )
        )
    said = tuple(
        AnsweredExample(place, text, text, text, text, 0.0, 1.0) for place, text in enumerate(HOSTILE)
    )
    condition = {"type": "Ready", "status": "True", "reason": "X", "message": " ".join(HOSTILE)}
    parameters = PARAMETERS | {"style": {"values": [text[:64] for text in HOSTILE]}}
    candidate = ONE[0] | {"parameters": parameters}
    sweep = a_sweep((candidate,), status={"conditions": [condition]})
    return Report(sweep, tuple(made), NOW, said, versions={"Python": HOSTILE[0]})


WORLDS = {
    "usual": usual,
    "several-branches": several_branches,
    "nothing-succeeded": nothing_succeeded,
    "one-trial": one_trial,
    "not-begun": not_begun,
    "minimized": minimized,
    "hostile": hostile,
}
