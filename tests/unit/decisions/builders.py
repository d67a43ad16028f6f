"""Sweeps and trials in any state, for tests of decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from finetune_operator.decisions import CostModel, CreateTrial, Decision, Knowledge, decide
from finetune_operator.decisions.costs import ModelPrice
from finetune_operator.resources import (
    API_VERSION,
    CreateJournal,
    FinetuneSweep,
    FinetuneTrial,
    TrialPhase,
    TrialStatus,
    parse_resource,
)
from finetune_operator.resources.sweep import Baseline

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

SPEC: dict[str, Any] = {
    "objective": {"metric": "accuracy"},
    "dataset": {"training": {"uri": "https://x/t.jsonl"}, "evaluation": {"uri": "https://x/e.jsonl"}},
    "candidates": [
        {
            "name": "small",
            "providerRef": {"name": "acme"},
            "baseModels": ["tiny"],
            "parameters": {"epochs": {"int": {"min": 1, "max": 20}}},
        }
    ],
    "search": {"method": "Random", "seed": 1},
    "limits": {"maxTrials": 10, "parallelTrials": 2},
}


def a_sweep(*, status: dict[str, Any] | None = None, **changes: Any) -> FinetuneSweep:
    """A sweep; `changes` replace fields of the spec, `limits` is merged."""
    spec = {**SPEC, **changes}
    spec["limits"] = {**SPEC["limits"], **changes.get("limits", {})}
    return parse_resource(
        FinetuneSweep,
        {
            "apiVersion": API_VERSION,
            "kind": "FinetuneSweep",
            "metadata": {"name": "s", "namespace": "default", "generation": 3, "uid": "u"},
            "spec": spec,
            "status": status or {},
        },
    )


def a_trial(
    index: int,
    phase: TrialPhase = TrialPhase.SUCCEEDED,
    score: float | None = None,
    *,
    epochs: int | None = None,
    estimated: str | None = None,
    repeat_of: int | None = None,
    **status: Any,
) -> FinetuneTrial:
    """A trial in a phase; its epochs are its index + 1 unless given. `status` are further fields of it."""
    bought = phase is not TrialPhase.PENDING
    trial = parse_resource(
        FinetuneTrial,
        {
            "apiVersion": API_VERSION,
            "kind": "FinetuneTrial",
            "metadata": {"name": f"s-{index}", "namespace": "default"},
            "spec": {
                "sweepRef": {"name": "s"},
                "index": index,
                "candidate": "small",
                "providerRef": {"name": "acme"},
                "baseModel": "tiny",
                "hyperparameters": {"epochs": epochs or index + 1},
                "runKey": f"key-000{index}",
                **({"estimatedCost": estimated} if estimated else {}),
                **({} if repeat_of is None else {"repeatOf": repeat_of}),
            },
        },
    )
    journal = CreateJournal(state="Succeeded", key="k", external_id="job") if bought else None
    fields: dict[str, Any] = {"phase": phase, "score": score, "create": journal, "started_at": NOW, **status}
    return trial.model_copy(update={"status": TrialStatus(**fields)})


def money(text: str) -> Decimal:
    return Decimal(text)


MEASURED = {("acme", "tiny"): Baseline(provider="acme", base_model="tiny", score=0.1)}
PRICED = CostModel(1_000_000, {("small", "tiny"): ModelPrice(money("1.00"), 3)})
CHEAP = CostModel(1_000_000, {("small", "tiny"): ModelPrice(money("0.01"), 3)})
EXCEEDED = {"maxCost": "5.00", "atLimit": "CancelRunning"}
"""A budget that cancels what runs where it is exceeded."""


def look(sweep: FinetuneSweep, trials: list[FinetuneTrial], **knowledge: Any) -> Decision:
    """The decision on a sweep whose base model was measured already."""
    return decide(sweep, trials, Knowledge(**{"baselines": MEASURED, **knowledge}), now=NOW)


def created(decision: Decision) -> list[int]:
    """The indices of the trials that are to be created."""
    return [action.index for action in decision.actions if isinstance(action, CreateTrial)]


def reason(decision: Decision) -> str:
    """The reason of the condition Ready."""
    condition = decision.status.condition("Ready")
    assert condition is not None
    return condition.reason


def message(decision: Decision) -> str:
    """What the condition Ready says."""
    condition = decision.status.condition("Ready")
    assert condition is not None
    return condition.message
