"""Two sweeps and their trials, the same in a state folder and in a cluster, for commands that look at them."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.contract.store_contract import MANIFESTS, SWEEP, SWEEP_MANIFEST, a_trial

from finetune_operator.folder import FolderStore
from finetune_operator.resources import (
    BestTrial,
    Condition,
    CreateJournal,
    FinetuneTrial,
    SweepStatus,
    TrialPhase,
    TrialStatus,
)
from finetune_operator.resources.sweep import SweepCost, TrialCounts

FAILED = "intents"
MODEL = "ft:smollm2:é"
BEST, IN_DOUBT = f"{SWEEP}-0", f"{SWEEP}-2"
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

_RATES = (3e-4, 1e-5, 1e-4)
_STATUSES = (
    TrialStatus(
        phase=TrialPhase.SUCCEEDED,
        score=0.8125,
        cost=Decimal("1.50"),
        fine_tuned_model=MODEL,
        started_at=START,
        finished_at=START + timedelta(minutes=12),
    ),
    TrialStatus(
        phase=TrialPhase.FAILED,
        reason="DataRefused",
        message="línea 3 has no answer ✗",
        started_at=START,
        finished_at=START + timedelta(seconds=42),
    ),
    TrialStatus(
        phase=TrialPhase.STALLED,
        reason="CreateOutcomeUnknown",
        message="whether a job was bought is not known",
        create=CreateJournal(attempt=1, state="Unknown", key="key-support-2-a1"),
    ),
)
STATUS = SweepStatus(
    phase="Searching",
    best=BestTrial(
        trial=BEST,
        candidate="small",
        provider="local",
        base_model="smollm2-135m",
        fine_tuned_model=MODEL,
        score=0.8125,
        base_score=0.5,
        hyperparameters={"epochs": 2, "learningRate": 3e-4},
    ),
    trials=TrialCounts(total=3, done=2, succeeded=1, failed=1, stalled=1),
    cost=SweepCost(spent=Decimal("1.50")),
    conditions=(
        Condition(type="Ready", status="False", reason="TrialStalled", message="support-2 needs a person"),
    ),
    started_at=START,
)
FAILED_STATUS = SweepStatus(
    phase="Failed",
    conditions=(Condition(type="Ready", status="False", reason="AllFailed", message="all trials failed"),),
    trials=TrialCounts(total=4, done=4, failed=4),
    started_at=START,
    finished_at=START + timedelta(hours=1),
)


def manifest_of(name: str) -> dict[str, Any]:
    """The manifest of one of the sweeps."""
    return {**copy.deepcopy(SWEEP_MANIFEST), "metadata": {"name": name}}


def trials_of(namespace: str) -> tuple[tuple[FinetuneTrial, TrialStatus], ...]:
    """The trials of the sweep that goes on, and what became of them."""
    made = []
    for index, rate in enumerate(_RATES):
        trial = a_trial(index, namespace=namespace)
        values = {**trial.spec.hyperparameters, "learningRate": rate}
        spec = trial.spec.model_copy(update={"hyperparameters": values})
        made.append(trial.model_copy(update={"spec": spec}))
    return tuple(zip(made, _STATUSES, strict=True))


async def write_states(folder: Path) -> None:
    """A state folder for each of the sweeps."""
    for name, status in ((SWEEP, STATUS), (FAILED, FAILED_STATUS)):
        with FolderStore.open(
            folder / name, (manifest_of(name), *MANIFESTS[1:]), clock=lambda: START
        ) as store:
            if name == SWEEP:
                for trial, its_status in trials_of("default"):
                    made = await store.create_trial(trial, owner=store.sweep)
                    await store.write_trial_status(made, its_status)
            await store.write_sweep_status(store.sweep, status)
